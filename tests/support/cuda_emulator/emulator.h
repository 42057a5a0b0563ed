#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

// The emulator's controls, for tests: how threads are scheduled, what was reported, what was counted.
//
// One thread of the operating system runs every CUDA thread as a fiber, so a run is repeatable for a given
// schedule and seed.

namespace atrous::emu {

/// The order of threads, warps and blocks.
enum class Schedule { forward, reverse, random };

/// Read at each launch. ATROUS_EMU_SCHEDULE (forward, reverse, random) and ATROUS_EMU_SEED in the environment
/// set the first two.
struct Config {
  Schedule schedule = Schedule::forward;
  std::uint64_t seed = 1;
  unsigned yield_at_atomics = 0;  ///< out of 256: chance to switch fibers at an atomic or volatile access
  unsigned yield_at_access = 0;   ///< out of 65536: chance to switch at any access (checked build)
  int resident_blocks = 1;        ///< blocks alive at once; more than one lets blocks interleave
  bool lazy_streams = false;      ///< queue stream work, and run it only when something synchronises
  bool abort_on_error =
      false;           ///< stop the program at the first report, for a debugger; default: the launch fails
  bool quiet = false;  ///< do not print reports: a test expects them
  bool protect_device_memory = false;  ///< the host touching device memory outside of kernels faults
  bool stats = false;                  ///< checked build: count sectors and bank conflicts per access site
  int multiprocessors = 132;
  int capability = 80;  ///< 10 * major + minor of the device; 90: kernels of sm_90a are used as well
  std::size_t static_shared_limit = 48 * 1024;
  std::size_t shared_limit = 227 * 1024;  ///< of sm_90; 163 KiB on sm_80, 99 KiB on sm_86 and sm_89
  std::size_t stack_bytes = 64 * 1024;
  std::size_t device_bytes = std::size_t(16) << 30;  ///< memory of the device
};
Config& config();

/// Whether the kernels of this program were compiled with the access hooks.
bool checked_build();

struct Report {
  unsigned errors = 0;
  char first[512] = {0};
};
/// What was found since the last call.
Report take_report();

struct Counters {
  std::uint64_t switches, barriers, collectives, launches, blocks, threads, accesses;
};
Counters& counters();

/// How warps reached memory: the first 64 blocks of each launch, counted in the checked build while
/// Config::stats is set. Device memory moves in sectors of 32 bytes; shared memory serves a request in as
/// many wavefronts as its busiest bank has words.
struct AccessStats {
  std::uint64_t device_requests, sectors, ideal_sectors;  ///< ideal: the bytes asked for, without gaps
  std::uint64_t shared_requests, wavefronts,
      ideal_wavefronts;  ///< ideal: no two words of a request in one bank
  double sector_ratio() const { return ideal_sectors ? double(sectors) / double(ideal_sectors) : 1; }
  double wavefront_ratio() const {
    return ideal_wavefronts ? double(wavefronts) / double(ideal_wavefronts) : 1;
  }
};
/// What was counted since the last call.
AccessStats take_access_stats();
/// The same, as it was last taken, line by line of the sources: text for a message.
std::string take_access_sites();

/// The statistics of what `run` launches.
template <class Run>
AccessStats stats_of(const Run& run) {
  take_access_stats();
  config().stats = true;
  run();
  config().stats = false;
  return take_access_stats();
}

/// Functions of atrous::kernels::cuda that have launched something, by demangled name.
std::set<std::string> covered_functions();

}  // namespace atrous::emu
