#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/support/cuda_emulator/state.h"

// Runs a grid. Blocks run one after another in a few places (Config::resident_blocks); in a place, each
// thread is a fiber that runs until it waits for others. The queue of threads that can go on is taken from in
// order, or at random.

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace atrous::emu {

Config g_config;
Counters g_counters;
Fiber* g_current = nullptr;
Launch g_launch;
bool g_checked = false;
std::vector<std::unique_ptr<Block>> g_blocks;

namespace {

Context g_host;               // the host code that launched
std::vector<Fiber*> g_queue;  // a ring; its size is a power of two
std::size_t g_head = 0, g_tail = 0;
std::vector<std::uint64_t> g_order;  // of the grid's blocks
std::uint64_t g_next = 0, g_left = 0;
std::vector<Block*> g_free;  // places for the next blocks
bool g_abandoned = false;
std::uint64_t g_random = 1;
std::uint32_t g_block_generation = 0;

Fiber* take_ready() {
  if (g_head == g_tail) return nullptr;
  const std::size_t mask = g_queue.size() - 1;
  if (g_config.schedule == Schedule::random)
    std::swap(g_queue[g_head & mask], g_queue[(g_head + random_number() % (g_tail - g_head)) & mask]);
  return g_queue[g_head++ & mask];
}

void activate(Fiber* fiber) {
  g_current = fiber;
  threadIdx = fiber->index;
  blockIdx = fiber->block->index;
}

void switch_to(Context& from, Fiber* to, bool from_ends) {
  ++g_counters.switches;
  activate(to);
  switch_context(from, to->context, from_ends);
}

[[noreturn]] void return_to_host() {
  Fiber* fiber = g_current;
  g_current = nullptr;
  switch_context(fiber->context, g_host, true);
  __builtin_unreachable();
}

// A block of which threads have left, while others wait for it at a grid barrier.
const Block* left_too_early() {
  if (g_launch.at_grid_barrier == 0) return nullptr;
  for (const auto& block : g_blocks)
    if (block->threads > block->live) return block.get();
  return nullptr;
}

void report_deadlock() {
  if (const Block* block = left_too_early())
    device_fail("deadlock: block (%u,%u,%u) left the kernel and %llu threads wait for it at a grid barrier",
                block->index.x, block->index.y, block->index.z,
                static_cast<unsigned long long>(g_launch.at_grid_barrier));
  else
    device_fail("deadlock: no thread of the block can go on");
  int shown = 0;
  for (const auto& block : g_blocks)
    for (const Fiber& fiber : block->fibers) {
      if (fiber.state == Fiber::State::ready || fiber.state == Fiber::State::done) continue;
      if (shown++ == 4 || g_config.quiet) return;
      std::fprintf(stderr, "  block (%u,%u,%u) thread (%u,%u,%u) waits in %s at %s:%d\n", block->index.x,
                   block->index.y, block->index.z, fiber.index.x, fiber.index.y, fiber.index.z,
                   fiber.waits_in, fiber.file, fiber.line);
    }
}

void run_thread();

// Puts the next block of the grid into this place.
void start_block(Block& block) {
  const std::uint64_t linear = g_order[g_next++];
  block.linear = linear;
  block.index = {unsigned(linear % gridDim.x), unsigned(linear / gridDim.x % gridDim.y),
                 unsigned(linear / (std::uint64_t(gridDim.x) * gridDim.y))};
  const unsigned n = blockDim.x * blockDim.y * blockDim.z;
  block.threads = block.live = n;
  block.at_barrier = block.barriers = 0;
  block.generation = ++g_block_generation;
  start_shared(block);
  start_statistics(block);
  for (Warp& warp : block.warps) {
    warp.gone = 0;
    for (Meeting& meeting : warp.meetings) meeting.active = false;
  }
  if (n % 32) block.warps.back().gone = ~((1u << (n % 32)) - 1);
  for (unsigned i = 0; i < n; ++i) {
    Fiber& fiber = block.fibers[g_config.schedule == Schedule::reverse ? n - 1 - i : i];
    fiber.warp_syncs = 0;
    forget_copies(fiber);
    forget_wgmma(fiber);
    fiber.context.start(&run_thread);
    make_ready(fiber);
  }
  ++g_counters.blocks;
  g_counters.threads += n;
}

// What each fiber runs.
void run_thread() {
  context_started();
  g_launch.call(g_launch.params);
  Fiber& fiber = *g_current;
  Block& block = *fiber.block;
  check_no_copies_left(fiber);
  check_no_wgmma_left(fiber);
  fiber.state = Fiber::State::done;
  --block.live;
  leave_warp(fiber);
  if (block.live == 0) {
    finish_statistics(block);
    --g_left;
    g_free.push_back(&block);  // the host starts the next one there: this fiber still stands on its stack
    return_to_host();
  }
  if (block.at_barrier == block.live) release_barrier(block);
  wait_here();
}

// Places for blocks of `threads` threads.
void prepare_places(unsigned threads, std::size_t places, std::size_t dynamic_bytes) {
  static std::size_t have_threads = 0, have_stack = 0, used = 0;
  if (have_threads < threads || have_stack != g_config.stack_bytes || g_blocks.size() < places) {
    // Enough for every launch so far, unless wide blocks of one and many of another make too many together:
    // each stack is two mappings, and a process has 65,530.
    constexpr std::size_t kMostKept = 16384;
    std::size_t wanted = std::max(places, g_blocks.size());
    have_threads = std::max<std::size_t>(threads, have_threads);
    if (wanted * have_threads > kMostKept) {
      wanted = places;
      have_threads = threads;
    }
    have_stack = g_config.stack_bytes;
    for (const auto& block : g_blocks) {
      for (Fiber& fiber : block->fibers) fiber.context.free();
      release_shared(block->shared);
    }
    g_blocks.clear();
    for (std::size_t i = 0; i < wanted; ++i) {
      auto block = std::make_unique<Block>();
      block->fibers.resize(have_threads);
      for (unsigned j = 0; j < have_threads; ++j) {
        block->fibers[j].context.allocate(have_stack, j);
        block->fibers[j].block = block.get();
      }
      block->shared = reserve_shared();
      g_blocks.push_back(std::move(block));
    }
  }
  const std::size_t stale = std::min(used, g_blocks.size());  // a cooperative launch uses many places
  used = places;
  for (std::size_t i = 0; i < std::max(places, stale); ++i) {
    const auto& block = g_blocks[i];
    block->warps.resize((threads + 31) / 32);
    block->dynamic_bytes = dynamic_bytes;
    block->threads = 0;
    for (Fiber& fiber : block->fibers) fiber.state = Fiber::State::done;
    for (unsigned j = 0; j < threads; ++j) {
      Fiber& fiber = block->fibers[j];
      fiber.linear = j;
      fiber.warp = j / 32;
      fiber.lane = j % 32;
      fiber.index = {j % blockDim.x, j / blockDim.x % blockDim.y, j / (blockDim.x * blockDim.y)};
    }
  }
  std::size_t size = 1;
  while (size <= std::size_t(threads) * places) size *= 2;
  g_queue.assign(size, nullptr);
  g_head = g_tail = 0;
}

void order_blocks(std::uint64_t total) {
  g_order.resize(total);
  for (std::uint64_t i = 0; i < total; ++i)
    g_order[i] = g_config.schedule == Schedule::reverse ? total - 1 - i : i;
  if (g_config.schedule == Schedule::random)
    for (std::uint64_t i = total; i > 1; --i) std::swap(g_order[i - 1], g_order[random_number() % i]);
}

// A page fault inside a kernel ends the launch.
void on_fault(int signal_number, siginfo_t* info, void*) {
  if (!g_current) {
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    return;
  }
  const auto* at = static_cast<const char*>(info->si_addr);
  const Allocation* allocation = find_allocation(at);
  if (std::size_t(g_current->context.stack - at) <= 4096)
    device_fail("the thread needs more than %zu bytes of stack", g_config.stack_bytes);
  else if (allocation)
    device_fail("illegal address %p (%td bytes from the start of allocation #%llu of %zu bytes)",
                info->si_addr, at - allocation->data, static_cast<unsigned long long>(allocation->number),
                allocation->bytes);
  else
    device_fail("illegal address %p (no device allocation)", info->si_addr);
  abandon_launch(cudaErrorIllegalAddress);
}

// While one of these lives, faults are ours; before and after, the test framework's.
class CatchFaults {
 public:
  CatchFaults() {
    static char stack[64 * 1024];
    stack_t alternate{};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, &stack_);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &segv_);
    sigaction(SIGBUS, &action, &bus_);
  }
  ~CatchFaults() {
    sigaction(SIGSEGV, &segv_, nullptr);
    sigaction(SIGBUS, &bus_, nullptr);
    sigaltstack(&stack_, nullptr);
  }
  CatchFaults(const CatchFaults&) = delete;
  CatchFaults& operator=(const CatchFaults&) = delete;

 private:
  stack_t stack_{};
  struct sigaction segv_ {
  }, bus_{};
};

}  // namespace

void initialise() {
  static bool done = false;
  if (done) return;
  done = true;
  if (const char* text = std::getenv("ATROUS_EMU_SCHEDULE"))
    g_config.schedule = !std::strcmp(text, "reverse")  ? Schedule::reverse
                        : !std::strcmp(text, "random") ? Schedule::random
                                                       : Schedule::forward;
  if (const char* text = std::getenv("ATROUS_EMU_SEED")) g_config.seed = std::strtoull(text, nullptr, 0);
}

Config& config() {
  initialise();
  return g_config;
}
Counters& counters() { return g_counters; }
bool checked_build() { return g_checked; }
unsigned lane_id() { return g_current->lane; }

// xorshift
std::uint64_t random_number() {
  g_random ^= g_random << 13;
  g_random ^= g_random >> 7;
  g_random ^= g_random << 17;
  return g_random;
}

void make_ready(Fiber& fiber) {
  fiber.state = Fiber::State::ready;
  g_queue[g_tail++ & (g_queue.size() - 1)] = &fiber;
}

void wait_here() {
  Fiber* fiber = g_current;
  Fiber* next = take_ready();
  if (!next) {
    report_deadlock();
    abandon_launch(cudaErrorLaunchFailure);
  }
  if (next == fiber)
    activate(fiber);
  else
    switch_to(fiber->context, next, fiber->state == Fiber::State::done);
}

void yield_now() {
  if (!g_current) return;
  make_ready(*g_current);
  wait_here();
}

void abandon_launch(cudaError_t error) {
  g_launch.error = error;
  g_abandoned = true;
  return_to_host();
}

void release_barrier(Block& block) {
  block.at_barrier = 0;
  ++block.barriers;
  ++g_counters.barriers;
  for (unsigned i = 0; i < block.threads; ++i) {
    Fiber& fiber = block.fibers[g_config.schedule == Schedule::reverse ? block.threads - 1 - i : i];
    if (fiber.state == Fiber::State::at_barrier) make_ready(fiber);
  }
}

// What was accessed before a grid barrier is ordered before what comes after it, whichever blocks: for device
// memory that is as if another launch began.
void release_grid_barrier() {
  g_launch.at_grid_barrier = 0;
  ++g_launch.generation;
  for (const auto& block : g_blocks) {
    ++block->barriers;
    for (unsigned i = 0; i < block->threads; ++i) {
      Fiber& fiber = block->fibers[g_config.schedule == Schedule::reverse ? block->threads - 1 - i : i];
      if (fiber.state == Fiber::State::at_grid_barrier) make_ready(fiber);
    }
  }
  ++g_counters.barriers;
}

void run_grid(const char* name, dim3 grid, dim3 block, std::size_t shared_bytes, bool cooperative,
              void (*call)(const void*), const char* params, std::size_t params_bytes) {
  const CatchFaults catch_faults;
  ++g_counters.launches;
  const std::uint64_t total = std::uint64_t(grid.x) * grid.y * grid.z;
  const unsigned threads = block.x * block.y * block.z;
  const std::uint64_t alive = cooperative ? total : std::uint64_t(std::max(1, g_config.resident_blocks));
  g_launch = {
      name, call, params, params_bytes, g_launch.generation + 1, cudaSuccess, cooperative, total * threads,
      0};
  gridDim = grid;
  blockDim = block;
  const auto places = std::size_t(std::min(total, alive));
  prepare_places(threads, places, shared_bytes);
  g_random = g_config.seed * 0x9e3779b97f4a7c15ull + g_launch.generation * 0xbf58476d1ce4e5b9ull;
  if (g_random == 0) g_random = 1;
  order_blocks(total);
  g_next = 0;
  g_left = total;
  g_abandoned = false;
  start_launch_report();
  const unsigned errors_before = errors_reported();
  {
    const DeviceMemoryOpen open;
    g_free.clear();
    for (std::size_t i = 0; i < places; ++i) g_free.push_back(g_blocks[i].get());
    while (g_left > 0 && !g_abandoned) {
      for (Block* place : g_free)
        if (g_next < total) start_block(*place);
      g_free.clear();
      Fiber* next = take_ready();
      if (next) {
        switch_to(g_host, next, false);
      } else {
        report_deadlock();
        g_launch.error = cudaErrorLaunchFailure;
        g_abandoned = true;
      }
    }
  }
  if (g_launch.error == cudaSuccess && errors_reported() != errors_before)
    g_launch.error = cudaErrorLaunchFailure;
  if (g_launch.error != cudaSuccess) failed(g_launch.error);
  g_launch.name = "";
  g_launch.params = nullptr;
  g_launch.params_bytes = 0;
}

}  // namespace atrous::emu
