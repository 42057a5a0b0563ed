#pragma once

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/support/cuda_emulator/context.h"
#include "tests/support/cuda_emulator/emulator.h"
#include "tests/support/cuda_emulator/launch.h"
#include "tests/support/cuda_emulator/streams.h"

// What the rooms of the emulator share: the threads, warps and blocks of the launch that runs. Only the
// emulator's own sources include this file.

namespace atrous::emu {

struct Block;

/// A copy by cp.async between its issue and the wait for its group.
struct AsyncCopy {
  void* dst;
  const void* src;
  unsigned bytes, src_bytes;
  bool landed;
};

/// One lane's share of a product of its warpgroup, between request and wait.
struct WgmmaRequest {
  float* d;
  int columns;
  bool transposed;
  std::uint64_t a, b;  // descriptors
};

/// A CUDA thread.
struct Fiber {
  enum class State : std::uint8_t { ready, at_barrier, at_grid_barrier, at_mbarrier, in_warp_function, done };

  Context context;
  Block* block = nullptr;
  uint3 index{};        // threadIdx
  unsigned linear = 0;  // in the block
  unsigned warp = 0, lane = 0;
  unsigned warp_syncs = 0;  // warp functions it has been through: orders accesses within a warp
  State state = State::done;
  const char* waits_in = "";  // and where, for reports
  const char* file = "";
  int line = 0;
  int predicate = 0;  // of __syncthreads_count
  bool copied = false;
  std::vector<AsyncCopy> open_copies;              // not committed yet
  std::deque<std::vector<AsyncCopy>> copy_groups;  // committed, not waited for
  std::vector<WgmmaRequest> wgmma_open;
  std::deque<std::vector<WgmmaRequest>> wgmma_groups;
  std::unordered_map<const void*, std::uint32_t> times_at;  // statistics: executions of each access site
  unsigned times_since = 0;                                 // and since which barrier of the block
};

/// A warp function that some lanes have reached.
struct Meeting {
  bool active = false;
  unsigned mask = 0, arrived = 0;
  Combine combine = nullptr;
  const char* what = "";
  const char* file = "";
  int line = 0;
  void* lanes[32];
};
struct Warp {
  unsigned gone = 0;  // lanes that have returned or never were
  Meeting meetings[32];
};

/// A barrier in shared memory: its phase ends when nobody and no byte is missing.
struct MBarrier {
  std::uint32_t arrivals, pending;
  std::int64_t bytes;
  std::uint64_t phase;
  std::vector<Fiber*> waiting;
};

struct SharedArray {
  const void* site;
  char* data;
  std::size_t bytes;
};
/// One access of one thread, for the statistics.
struct AccessRecord {
  const void* pc;
  std::uint32_t barriers, occurrence, lane;
  std::uintptr_t address;
  std::uint32_t bytes;
  bool shared;
};

/// A place where blocks run, one after the other.
struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  uint3 index{};             // blockIdx
  std::uint64_t linear = 0;  // in the grid
  unsigned threads = 0, live = 0;
  unsigned at_barrier = 0, barriers = 0;  // threads that wait; barriers passed
  const char* barrier_file = "";
  int barrier_line = 0;
  char* shared = nullptr;  // static arrays from the start, dynamic memory up to the end, where a page faults
  std::size_t static_bytes = 0, dynamic_bytes = 0;
  std::vector<SharedArray> arrays;
  std::unordered_map<const void*, MBarrier> mbarriers;
  std::uint32_t generation = 0;  // differs for every block that ever ran
  bool sampled = false;          // the statistics look at it
  bool copies_pending = false;
  std::vector<std::vector<AccessRecord>> records;  // a list a warp
};

/// The launch that runs.
struct Launch {
  const char* name = "";
  void (*call)(const void*) = nullptr;
  const char* params = nullptr;
  std::size_t params_bytes = 0;
  std::uint32_t generation = 0;  // of this launch, and after each grid barrier of the part behind it
  cudaError_t error = cudaSuccess;
  bool cooperative = false;
  std::uint64_t threads = 0, at_grid_barrier = 0;  // of the whole grid
};

extern Config g_config;
extern Counters g_counters;
extern Fiber* g_current;  // null outside of kernels
extern Launch g_launch;
extern bool g_checked;
extern std::vector<std::unique_ptr<Block>> g_blocks;

// ---- scheduler.cpp
void initialise();
std::uint64_t random_number();
void make_ready(Fiber& fiber);
/// Runs other threads until this one is made ready again.
void wait_here();
void yield_now();
void release_barrier(Block& block);
void release_grid_barrier();
void run_grid(const char* name, dim3 grid, dim3 block, std::size_t shared_bytes, bool cooperative,
              void (*call)(const void*), const char* params, std::size_t params_bytes);
/// Ends the launch from inside a thread.
[[noreturn]] void abandon_launch(cudaError_t error);

// ---- warp.cpp: a lane has returned; those who wait for it no longer do.
void leave_warp(Fiber& fiber);

// ---- shared_memory.cpp
inline constexpr std::size_t kSharedBytes = 256 * 1024;
char* reserve_shared();
void release_shared(char* memory);
void start_shared(Block& block);
/// Whether the bytes lie in one array of the block.
bool inside_shared(const Block& block, const void* p, std::size_t bytes);
/// Whether the address is in the shared memory of any block.
bool is_shared(const void* p);

// ---- async_copy.cpp
void forget_copies(Fiber& fiber);
void check_no_copies_left(Fiber& fiber);

// ---- wgmma.cpp
void forget_wgmma(Fiber& fiber);
void check_no_wgmma_left(Fiber& fiber);

// ---- device_memory.cpp
/// What the checker knows of 4 bytes (access_checker.cpp).
struct Cell {
  std::uint32_t generation = 0;  // of the launch, or of the block for shared memory: older cells do not count
  std::uint32_t writer = 0, writer_barriers = 0, writer_syncs = 0;
  std::uint32_t reader = 0, reader_barriers = 0, reader_syncs = 0;
  std::uint8_t written = 0, read = 0;  // which of the bytes
  std::uint8_t atomic = 0;             // the write was an atomic
  std::uint8_t readers = 0;            // 0: one thread; 1: several of a block; 2: of several blocks
};
struct Free {
  void operator()(void* p) const { std::free(p); }
};
struct Allocation {
  char* data;
  std::size_t bytes;
  char* pages;
  std::size_t pages_bytes;
  std::uint64_t number;
  // Checked build, made at the first access; calloc's pages cost nothing until they are touched.
  std::unique_ptr<std::uint8_t[], Free> initialised;  // by byte
  std::unique_ptr<Cell[], Free> cells;                // by 4 bytes
};
bool is_device(const void* p);
/// The allocation that starts at or before the address, whether or not it reaches it.
Allocation* find_allocation(const void* p);
std::uint64_t allocation_version();  // changes whenever the allocations do
bool inside_device(const void* p, std::size_t bytes);
/// Whether the host memory comes from cudaHostAlloc.
bool is_pinned(const void* p, std::size_t bytes);
void mark_initialised(const void* p, std::size_t bytes);
/// With Config::protect_device_memory, the host may touch device memory only while one of these lives.
struct DeviceMemoryOpen {
  DeviceMemoryOpen();
  ~DeviceMemoryOpen();
};

// ---- access_checker.cpp
void check_access(const void* p, unsigned bytes, bool write, bool atomic, const void* pc);
void start_pending_copy(const AsyncCopy& copy);
void finish_pending_copy(const AsyncCopy& copy, const void* pc);
void clear_pending_copies(Block& block);
/// Checked build: accesses of the async proxy to shared memory, `offset` bytes into it.
void check_async_read(const Block& block, std::size_t offset, unsigned bytes, const char* what);
void mark_async_write(const Block& block, std::size_t offset, unsigned bytes);

// ---- statistics.cpp
void start_statistics(Block& block);
void record_access(const void* pc, std::uintptr_t address, unsigned bytes, bool shared);
void finish_statistics(Block& block);

// ---- report.cpp
void fail_at(const void* pc, const char* format, ...) __attribute__((format(printf, 2, 3)));
std::string source_line(const void* pc);
unsigned errors_reported();
const char* first_report_of_launch();
void start_launch_report();

// ---- runtime_api.cpp
cudaError_t failed(cudaError_t error);  // remembers it for cudaGetLastError
std::size_t allowed_dynamic_shared(const void* kernel);
/// Blocks that the whole device holds at once.
std::uint64_t resident_blocks(unsigned threads, std::size_t shared_bytes);
// ---- coverage.cpp
void note_callers();
void note_kernel(const void* kernel);

}  // namespace atrous::emu
