#pragma once

#include <cstddef>
#include <cstdint>

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
  bool abort_on_error = false;    ///< default: record, make the launch fail, go on
  bool protect_device_memory = false;  ///< the host touching device memory outside of kernels faults
  bool stats = false;                  ///< checked build: count sectors and bank conflicts per access site
  std::size_t static_shared_limit = 48 * 1024;
  std::size_t shared_limit = 227 * 1024;  ///< of sm_90; 163 KiB on sm_80, 99 KiB on sm_86 and sm_89
  std::size_t stack_bytes = 64 * 1024;
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

/// Accesses of whole warps, of the first blocks of each launch while Config::stats is set.
struct StatTotals {
  std::uint64_t device_requests, sectors, ideal_sectors, shared_requests, wavefronts, ideal_wavefronts;
};
StatTotals take_stat_totals();
/// Per access site, with source lines.
void print_stats();

}  // namespace atrous::emu
