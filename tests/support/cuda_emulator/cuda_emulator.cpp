// cuda_emu.cpp - runtime of the CPU emulator: fibers, scheduler, device memory, streams,
// and the access checker behind the __tsan_* hooks.  This file itself is compiled WITHOUT
// -fsanitize=thread; kernel sources are compiled with it in the checked build.
#include "tests/support/cuda_emulator/emulator.h"
#include "tests/support/cuda_emulator/include/cuda_runtime.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define EMU_ASAN 1
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define EMU_ASAN 0
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif
#if defined(EMU_FORCE_UCONTEXT) || (!defined(__x86_64__) && !defined(__aarch64__))
#define EMU_UCONTEXT 1  // portable and slow: two system calls a switch
#include <ucontext.h>
#else
#define EMU_UCONTEXT 0
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// ------------------------------------------------------------------ context switch
#if EMU_UCONTEXT
#elif defined(__x86_64__)
extern "C" void emu_ctx_switch(void** save, void* load);
asm(R"(
.text
.globl emu_ctx_switch
.type emu_ctx_switch,@function
emu_ctx_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
.size emu_ctx_switch,.-emu_ctx_switch
)");
static void* prime_stack(void* top, void (*entry)()) {
  auto* p = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15));
  *--p = nullptr;  // fake return address keeps 16-byte alignment at entry
  *--p = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--p = nullptr;  // callee-saved registers
  return p;
}
#elif defined(__aarch64__)
extern "C" void emu_ctx_switch(void** save, void* load);
asm(R"(
.text
.globl emu_ctx_switch
.type emu_ctx_switch,%function
emu_ctx_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size emu_ctx_switch,.-emu_ctx_switch
)");
static void* prime_stack(void* top, void (*entry)()) {
  auto* p = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15));
  p -= 20;
  std::memset(p, 0, 160);
  p[11] = reinterpret_cast<void*>(entry);  // x30
  return p;
}
#endif

namespace atrous::emu {
struct SiteStats {
  const void* pc;
  uint64_t requests, sectors, ideal_sectors, smem_requests, smem_wavefronts;
};
void device_lock_public(bool on);
void yield_now();
namespace {

// ------------------------------------------------------------------ state
enum class St : uint8_t { ready, bar, warp, done };
struct Block;
struct CpAsync {
  void* dst;
  const void* src;
  unsigned bytes, src_bytes;
  bool landed;
};
struct Fiber {
  void* sp = nullptr;
#if EMU_UCONTEXT
  ucontext_t uc;
#endif
  char* stack = nullptr;
  void* top = nullptr;
  Block* blk = nullptr;
  uint3 tid{};
  unsigned lin = 0, warp = 0, lane = 0, wepoch = 0;
  St st = St::done;
  int line = 0;
  const char* what = "";
  const char* file = "";
  int pred = 0;
  bool cp_used = false;
  struct Cold {
    std::vector<CpAsync> cp_open;
    std::deque<std::vector<CpAsync>> cp_groups;
    std::unordered_map<const void*, uint32_t> occ;  // stats: occurrences per site
  };
  std::unique_ptr<Cold> cold = std::make_unique<Cold>();
#if EMU_ASAN
  void* fake = nullptr;
#endif
};
struct Pending {
  unsigned mask = 0, arrived = 0;
  bool active = false;
  Combine combine = nullptr;
  const char* what = "";
  const char* file = "";
  int line = 0;
  void* lanes[32];
};
struct Warp {
  unsigned gone = 0;
  Pending pend[32];
};
struct SharedVar {
  const void* key;
  char* p;
  size_t bytes;
  const char* name;
};
struct AccessRec {
  const void* pc;
  uint32_t occ;
  uint32_t lane;
  uintptr_t addr;
  uint32_t size;
  bool smem;
};
struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  uint3 bid{};
  uint64_t linear = 0;
  unsigned n = 0, live = 0, arrived = 0, epoch = 0;
  int count_acc = 0;
  const char* bar_file = "";
  int bar_line = 0;
  const char* bar_what = "";
  char* smem = nullptr;  // arena, static part grows from the start, dynamic part ends at a guard page
  size_t stat_used = 0, dyn = 0;
  std::vector<SharedVar> vars;
  uint32_t gen = 0;
  bool sample = false, async_used = false;
  std::vector<std::vector<AccessRec>> recs;  // per warp
};
constexpr size_t kPage = 4096, kSmemBytes = 256 * 1024, kArena = size_t(64) << 30, kRed = 64;

// One cell per 4 bytes of device or shared memory (checked build).
struct Cell {
  uint32_t gen = 0;  // launch (global) or block generation (shared); stale cells are ignored
  uint32_t w_tid = 0, w_ep = 0, w_wep = 0;
  uint32_t r_tid = 0, r_ep = 0, r_wep = 0;
  uint8_t wmask = 0, rmask = 0, atomic = 0, multi = 0;
};
struct Alloc {
  char* p;
  size_t bytes;
  char* map;
  size_t map_bytes;
  uint64_t id;
  std::vector<uint8_t> init;
  std::vector<Cell> cells;
};

Config g_cfg;
Report g_rep;
Counters g_cnt;
bool g_checked = false;
cudaError_t g_last = cudaSuccess;
Fiber* cur = nullptr;
const char* g_kernel = "";
void (*g_call)(const void*) = nullptr;
const char* g_params = nullptr;
size_t g_params_bytes = 0;
std::vector<Block*> g_restart;
bool g_abandon = false;
std::vector<std::unique_ptr<Block>> g_blocks;
std::vector<Fiber*> g_q;
size_t g_head = 0, g_tail = 0, g_qmask = 0;
std::vector<uint64_t> g_order;
uint64_t g_next_block = 0, g_left = 0;
void* g_main_sp = nullptr;
#if EMU_UCONTEXT
ucontext_t g_main_uc;
#endif
sigjmp_buf g_trap;
volatile bool g_in_kernel = false;
cudaError_t g_launch_err = cudaSuccess;
uint32_t g_gen = 0, g_block_gen = 0;
uint64_t g_rng = 1;
char* g_arena = nullptr;
size_t g_arena_top = 0;
uint64_t g_alloc_id = 0;
std::map<char*, Alloc> g_allocs;
std::map<const void*, int> g_dyn_attr;
std::map<const void*, SiteStats> g_sites;
StatTotals g_tot{};
char* g_smem_lo = nullptr;
char* g_smem_hi = nullptr;

uint64_t rnd() {
  g_rng ^= g_rng << 13;
  g_rng ^= g_rng >> 7;
  g_rng ^= g_rng << 17;
  return g_rng;
}

void push(Fiber* f) {
  f->st = St::ready;
  g_q[g_tail++ & g_qmask] = f;
}
Fiber* pop() {
  if (g_head == g_tail) return nullptr;
  if (g_cfg.schedule == Schedule::random) {
    size_t i = g_head + rnd() % (g_tail - g_head);
    std::swap(g_q[g_head & g_qmask], g_q[i & g_qmask]);
  }
  return g_q[g_head++ & g_qmask];
}

[[noreturn]] void fiber_main();
void to_main();
void device_lock(bool on) {  // outside kernels and copies, host code cannot touch device memory
  if (!g_cfg.protect_device_memory) return;
  static int open = 0;
  open += on ? -1 : 1;
  if (open < 0) open = 0;
  for (auto& [k, a] : g_allocs) mprotect(a.map, a.map_bytes, open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
}

#if EMU_ASAN
void* g_main_fake = nullptr;
const void* g_main_bottom = nullptr;
size_t g_main_size = 0;
bool g_from_main = false;
#endif
void activate(Fiber* f) {
  cur = f;
  threadIdx = f->tid;
  blockIdx = f->blk->bid;
}

void switch_to(Fiber* from, Fiber* to) {  // from may be null: leaving main
  ++g_cnt.switches;
  activate(to);
#if EMU_UCONTEXT
  swapcontext(from ? &from->uc : &g_main_uc, &to->uc);
#else
#if EMU_ASAN
  g_from_main = !from;
  __sanitizer_start_switch_fiber(!from                  ? &g_main_fake
                                 : from->st == St::done ? nullptr
                                                        : &from->fake,
                                 to->stack, g_cfg.stack_bytes);
#endif
  emu_ctx_switch(from ? &from->sp : &g_main_sp, to->sp);
#if EMU_ASAN
  __sanitizer_finish_switch_fiber(cur ? cur->fake : g_main_fake, nullptr, nullptr);
#endif
#endif
}

void report_deadlock() {
  device_fail("deadlock: no thread of the block can go on");
  int shown = 0;
  for (auto& b : g_blocks)
    for (auto& f : b->fibers)
      if (f.lin < b->n && (f.st == St::bar || f.st == St::warp) && shown++ < 4)
        std::fprintf(stderr, "  block (%u,%u,%u) thread (%u,%u,%u) waits at %s %s:%d\n", b->bid.x, b->bid.y,
                     b->bid.z, f.tid.x, f.tid.y, f.tid.z, f.what, f.file, f.line);
  g_launch_err = cudaErrorLaunchFailure;
}

void switch_next(Fiber* from) {
  Fiber* n = pop();
  if (!n) {
    report_deadlock();
    g_abandon = true;
    to_main();
  }
  if (n == from) {
    activate(n);
    return;
  }
  switch_to(from, n);
}

void to_main() {
  Fiber* f = cur;
  cur = nullptr;
#if EMU_UCONTEXT
  setcontext(&g_main_uc);
#else
#if EMU_ASAN
  __sanitizer_start_switch_fiber(nullptr, g_main_bottom, g_main_size);
#endif
  emu_ctx_switch(&f->sp, g_main_sp);
#endif
  __builtin_unreachable();
}

void release_barrier(Block& b) {
  b.arrived = 0;
  ++b.epoch;
  ++g_cnt.barriers;
  size_t n = b.n;
  for (size_t i = 0; i < n; ++i) {
    Fiber& f = b.fibers[g_cfg.schedule == Schedule::reverse ? n - 1 - i : i];
    if (f.st == St::bar) push(&f);
  }
}

void finish_collective(Warp& w, Pending& p, Block& b, unsigned warp, Fiber* self) {
  if (p.combine) p.combine(p.lanes, p.arrived);
  p.active = false;
  ++g_cnt.collectives;
  for (unsigned i = 0; i < 32; ++i)
    if (p.arrived >> i & 1) {
      Fiber& f = b.fibers[warp * 32 + i];
      ++f.wepoch;
      if (&f != self) push(&f);
    }
  (void)w;
}

void flush_stats(Block& b);
std::vector<uint8_t>& shared_pending(Block& b);

void start_block(Block& b) {
  uint64_t lin = g_order[g_next_block++];
  b.linear = lin;
  b.bid = {unsigned(lin % gridDim.x), unsigned(lin / gridDim.x % gridDim.y),
           unsigned(lin / (uint64_t(gridDim.x) * gridDim.y))};
  unsigned n = blockDim.x * blockDim.y * blockDim.z;
  b.n = b.live = n;
  b.arrived = 0;
  b.epoch = 0;
  b.gen = ++g_block_gen;
  b.vars.clear();
  b.stat_used = 0;
  if (b.async_used) {
    auto& v = shared_pending(b);
    std::fill(v.begin(), v.end(), 0);
    b.async_used = false;
  }
  POISON(b.smem, kSmemBytes);
  UNPOISON(b.smem + kSmemBytes - ((b.dyn + 127) & ~size_t(127)), (b.dyn + 127) & ~size_t(127));
  std::memset(b.smem + kSmemBytes - ((b.dyn + 127) & ~size_t(127)), 0xff, (b.dyn + 127) & ~size_t(127));
  POISON(b.smem + kSmemBytes - ((b.dyn + 127) & ~size_t(127)) + b.dyn,
         ((b.dyn + 127) & ~size_t(127)) - b.dyn);
  b.sample = g_cfg.stats && lin < 64;
  if (b.sample) {
    b.recs.assign((n + 31) / 32, {});
  }
  for (auto& w : b.warps) {
    w.gone = 0;
    for (auto& p : w.pend) p.active = false;
  }
  if (n % 32) b.warps.back().gone = ~((1u << (n % 32)) - 1);
  for (unsigned i = 0; i < n; ++i) {
    Fiber& f = b.fibers[g_cfg.schedule == Schedule::reverse ? n - 1 - i : i];
    f.wepoch = 0;
    if (f.cp_used) {
      f.cold->cp_open.clear();
      f.cold->cp_groups.clear();
      f.cp_used = false;
    }
    if (b.sample) f.cold->occ.clear();
#if EMU_UCONTEXT
    getcontext(&f.uc);
    f.uc.uc_stack.ss_sp = f.stack;
    f.uc.uc_stack.ss_size = g_cfg.stack_bytes;
    f.uc.uc_link = nullptr;
    makecontext(&f.uc, reinterpret_cast<void (*)()>(fiber_main), 0);
#else
    f.sp = prime_stack(f.top, reinterpret_cast<void (*)()>(&fiber_main));
#if EMU_ASAN
    f.fake = nullptr;
    UNPOISON(f.stack, g_cfg.stack_bytes);
#endif
#endif
    push(&f);
  }
  ++g_cnt.blocks;
  g_cnt.threads += n;
}

void fiber_main() {
#if EMU_ASAN
  {
    const void* ob;
    size_t os;
    __sanitizer_finish_switch_fiber(nullptr, &ob, &os);
    if (g_from_main) {
      g_main_bottom = ob;
      g_main_size = os;
    }
  }
#endif
  g_call(g_params);
  Fiber* f = cur;
  Block& b = *f->blk;
  Warp& w = b.warps[f->warp];
  if (f->cp_used && (!f->cold->cp_open.empty() || !f->cold->cp_groups.empty()))
    device_fail("thread exits with cp.async copies nobody waited for");
  f->st = St::done;
  --b.live;
  w.gone |= 1u << f->lane;
  for (auto& p : w.pend)
    if (p.active && p.arrived == (p.mask & ~w.gone)) finish_collective(w, p, b, f->warp, nullptr);
  if (b.live && b.arrived == b.live) release_barrier(b);
  if (!b.live) {
    if (b.sample) flush_stats(b);
    --g_left;
    g_restart.push_back(&b);  // the main context reuses the slot: this fiber still stands on its stack
    to_main();
  }
  switch_next(f);
  __builtin_unreachable();
}

Alloc* find_alloc(const void* p) {
  auto it = g_allocs.upper_bound(const_cast<char*>(static_cast<const char*>(p)));
  if (it == g_allocs.begin()) return nullptr;
  return &std::prev(it)->second;
}

void on_fault(int sig, siginfo_t* si, void*) {
  if (!g_in_kernel) {
    auto* a = static_cast<char*>(si->si_addr);
    if (g_arena && a >= g_arena && a < g_arena + kArena)
      std::fprintf(stderr, "emu: host code touched device memory at %p\n", si->si_addr);
    signal(sig, SIG_DFL);
    raise(sig);
    return;
  }
  Alloc* al = find_alloc(si->si_addr);
  if (al)
    device_fail("illegal address %p (%td bytes from the start of allocation #%llu of %zu bytes)", si->si_addr,
                static_cast<char*>(si->si_addr) - al->p, (unsigned long long)al->id, al->bytes);
  else
    device_fail("illegal address %p (no device allocation)", si->si_addr);
  g_launch_err = cudaErrorIllegalAddress;
  siglongjmp(g_trap, 1);
}

void init_once() {
  static bool done = false;
  if (done) return;
  done = true;
  g_arena = static_cast<char*>(
      mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  g_arena_top = kPage;
  static char alt[65536];
  stack_t ss{};
  ss.ss_sp = alt;
  ss.ss_size = sizeof alt;
  sigaltstack(&ss, nullptr);
  struct sigaction sa {};
  sa.sa_sigaction = on_fault;
  sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &sa, nullptr);
  sigaction(SIGBUS, &sa, nullptr);
  if (const char* e = std::getenv("ATROUS_EMU_SCHEDULE"))
    g_cfg.schedule = !std::strcmp(e, "reverse")  ? Schedule::reverse
                     : !std::strcmp(e, "random") ? Schedule::random
                                                 : Schedule::forward;
  if (const char* e = std::getenv("ATROUS_EMU_SEED")) g_cfg.seed = std::strtoull(e, nullptr, 0);
}

void ensure_blocks(unsigned n, int k, size_t dyn) {
  static unsigned have_n = 0;
  static size_t have_stack = 0;
  if (have_n < n || have_stack != g_cfg.stack_bytes || int(g_blocks.size()) < k) {
    unsigned nn = std::max(n, have_n);
    for (auto& b : g_blocks) {
      for (auto& f : b->fibers) munmap(f.stack - kPage, have_stack + kPage);
      munmap(b->smem - kPage, kSmemBytes + 2 * kPage);
    }
    g_blocks.clear();
    g_smem_lo = g_smem_hi = nullptr;
    for (int i = 0; i < k; ++i) {
      auto b = std::make_unique<Block>();
      b->fibers.resize(nn);
      for (unsigned j = 0; j < nn; ++j) {
        char* m = static_cast<char*>(mmap(nullptr, g_cfg.stack_bytes + kPage, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        mprotect(m, kPage, PROT_NONE);
        Fiber& f = b->fibers[j];
        f.stack = m + kPage;
        f.blk = b.get();
        f.top = f.stack + g_cfg.stack_bytes - 64 * (j * 5 % 64);  // spread stack tops over cache sets
      }
      char* s = static_cast<char*>(mmap(nullptr, kSmemBytes + 2 * kPage, PROT_NONE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
      mprotect(s + kPage, kSmemBytes, PROT_READ | PROT_WRITE);
      b->smem = s + kPage;
      g_smem_lo = g_smem_lo ? std::min(g_smem_lo, b->smem) : b->smem;
      g_smem_hi = std::max(g_smem_hi, b->smem + kSmemBytes);
      g_blocks.push_back(std::move(b));
    }
    have_n = nn;
    have_stack = g_cfg.stack_bytes;
  }
  for (auto& b : g_blocks) {
    b->warps.resize((n + 31) / 32);
    b->dyn = dyn;
    b->n = 0;
    for (auto& f : b->fibers) f.st = St::done;
    for (unsigned j = 0; j < n; ++j) {
      Fiber& f = b->fibers[j];
      f.lin = j;
      f.warp = j / 32;
      f.lane = j % 32;
      f.st = St::done;
      f.tid = {j % blockDim.x, j / blockDim.x % blockDim.y, j / (blockDim.x * blockDim.y)};
    }
  }
  size_t cap = 1;
  while (cap < size_t(n) * g_blocks.size() + 1) cap *= 2;
  g_q.assign(cap, nullptr);
  g_qmask = cap - 1;
  g_head = g_tail = 0;
}

void run_grid(const char* name, dim3 g, dim3 blk, size_t smem, void (*call)(const void*), const char* data,
              size_t bytes) {
  ++g_cnt.launches;
  unsigned n = blk.x * blk.y * blk.z;
  uint64_t total = uint64_t(g.x) * g.y * g.z;
  g_kernel = name;
  gridDim = g;
  blockDim = blk;
  g_call = call;
  g_params = data;
  g_params_bytes = bytes;
  ensure_blocks(n, int(std::min<uint64_t>(total, std::max(1, g_cfg.resident_blocks))), smem);
  ++g_gen;
  g_rng = g_cfg.seed * 0x9e3779b97f4a7c15ull + g_gen * 0xbf58476d1ce4e5b9ull;
  if (!g_rng) g_rng = 1;
  g_order.resize(total);
  for (uint64_t i = 0; i < total; ++i) g_order[i] = g_cfg.schedule == Schedule::reverse ? total - 1 - i : i;
  if (g_cfg.schedule == Schedule::random)
    for (uint64_t i = total; i > 1; --i) std::swap(g_order[i - 1], g_order[rnd() % i]);
  g_next_block = 0;
  g_left = total;
  g_launch_err = cudaSuccess;
  unsigned before = g_rep.errors;
  device_lock(false);
  if (sigsetjmp(g_trap, 0) == 0) {
    g_in_kernel = true;
    g_abandon = false;
    g_restart.clear();
    for (auto& b : g_blocks) g_restart.push_back(b.get());
    while (g_left && !g_abandon) {
      for (auto* b : g_restart)
        if (g_next_block < total) start_block(*b);
      g_restart.clear();
      switch_to(nullptr, pop());
    }
  }
  g_in_kernel = false;
  cur = nullptr;
  g_call = nullptr;
  device_lock(true);
  if (g_launch_err == cudaSuccess && g_rep.errors != before) g_launch_err = cudaErrorLaunchFailure;
  if (g_launch_err != cudaSuccess) g_last = g_launch_err;
  g_kernel = "";
}

// ------------------------------------------------------------------ access checker (checked build)
std::map<const void*, int> g_seen_pc;
void describe_pc(const void* pc, char* out, size_t n) {
  Dl_info di{};
  out[0] = 0;
  if (!pc || !dladdr(pc, &di)) return;
  char cmd[1024];
  std::snprintf(
      cmd, sizeof cmd, "addr2line -e '%s' -s %p 2>/dev/null", di.dli_fname,
      reinterpret_cast<void*>(static_cast<const char*>(pc) - 1 - static_cast<const char*>(di.dli_fbase)));
  if (FILE* f = popen(cmd, "r")) {
    if (std::fgets(out, int(n), f)) out[std::strcspn(out, "\n")] = 0;
    pclose(f);
  }
}
void fail_at(const void* pc, const char* fmt, ...) __attribute__((format(printf, 2, 3)));
void fail_at(const void* pc, const char* fmt, ...) {
  if (g_seen_pc[pc]++ > 0) {
    ++g_rep.errors;
    return;
  }
  char msg[384], loc[256];
  va_list ap;
  va_start(ap, fmt);
  std::vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  describe_pc(pc, loc, sizeof loc);
  device_fail("%s at %s", msg, loc);
}

bool ordered(uint32_t ptid, uint32_t pep, uint32_t pwep, uint32_t tid) {
  if (ptid == tid) return true;
  if (ptid >> 10 != tid >> 10) return false;           // other block of the same launch
  if (pep != cur->blk->epoch) return true;             // a __syncthreads lies between
  return ptid >> 5 == tid >> 5 && pwep < cur->wepoch;  // a warp-wide sync lies between
}

void race(Cell* cells, size_t off, unsigned n, bool write, bool atomic, uint32_t gen, const void* pc,
          const char* space) {
  const uint32_t tid = uint32_t((cur->blk->linear & 0x3fffff) << 10 | cur->lin);
  const uint32_t ep = cur->blk->epoch, wep = cur->wepoch;
  for (size_t o = off & ~size_t(3); o < off + n; o += 4) {
    Cell& c = cells[o / 4];
    unsigned lo = o < off ? unsigned(off - o) : 0, hi = std::min<size_t>(4, off + n - o);
    uint8_t mask = uint8_t(((1u << hi) - 1) & ~((1u << lo) - 1));
    if (c.gen != gen) {
      c = Cell{};
      c.gen = gen;
    }
    if ((c.wmask & mask) && !ordered(c.w_tid, c.w_ep, c.w_wep, tid) && !(atomic && c.atomic))
      fail_at(pc, "race on %s memory: %s after an unordered write by thread %u of block %u", space,
              write ? "write" : "read", c.w_tid & 1023, c.w_tid >> 10);
    if (write && (c.rmask & mask)) {
      bool bad = !ordered(c.r_tid, c.r_ep, c.r_wep, tid);
      if (c.multi == 2 || (c.multi == 1 && c.r_ep == ep && (c.r_tid >> 10) == (tid >> 10) && c.r_wep >= wep))
        bad = true;
      if (bad)
        fail_at(pc, "race on %s memory: write after an unordered read by thread %u of block %u%s", space,
                c.r_tid & 1023, c.r_tid >> 10, c.multi ? " and others" : "");
    }
    if (write) {
      c.w_tid = tid;
      c.w_ep = ep;
      c.w_wep = wep;
      c.wmask = mask;
      c.atomic = atomic;
      c.rmask = 0;
      c.multi = 0;
    } else {
      if (c.rmask && c.r_tid != tid) {
        if (c.r_tid >> 10 != tid >> 10)
          c.multi = 2;
        else if (c.multi != 2)
          c.multi = c.r_ep == ep ? 1 : 0;
        c.rmask |= mask;
      } else
        c.rmask = mask;
      c.r_tid = tid;
      c.r_ep = ep;
      c.r_wep = wep;
    }
  }
}

std::vector<Cell>& shared_cells(Block& b) {
  static std::map<Block*, std::vector<Cell>> m;
  auto& v = m[&b];
  if (v.empty()) v.resize(kSmemBytes / 4);
  return v;
}
std::vector<uint32_t>& shared_init(Block& b) {  // generation in which each byte was written
  static std::map<Block*, std::vector<uint32_t>> m;
  auto& v = m[&b];
  if (v.empty()) v.resize(kSmemBytes);
  return v;
}

std::vector<uint8_t>& shared_pending(
    Block& b) {  // bytes a cp.async has been told to write and nobody has waited for
  static std::map<Block*, std::vector<uint8_t>> m;
  auto& v = m[&b];
  if (v.empty()) v.resize(kSmemBytes);
  return v;
}

extern "C" {
extern char __executable_start, _end;
}

void record(const void* pc, uintptr_t a, unsigned n, bool smem) {
  Block& b = *cur->blk;
  b.recs[cur->warp].push_back({pc, cur->cold->occ[pc]++, cur->lane, a, n, smem});
}

void access(const void* p, unsigned n, bool write, bool atomic, const void* pc) {
  const auto a = reinterpret_cast<uintptr_t>(p);
  const uintptr_t ga = a - reinterpret_cast<uintptr_t>(g_arena);
  if (!cur) return;
  if (a - reinterpret_cast<uintptr_t>(cur->stack) < g_cfg.stack_bytes) return;  // own local memory
  ++g_cnt.accesses;
  if (g_arena && ga < kArena) {
    static Alloc* last = nullptr;
    static uint64_t last_version = 0;
    if (!last || last_version != g_alloc_id || static_cast<const char*>(p) < last->p ||
        static_cast<const char*>(p) >= last->p + last->bytes) {
      last = find_alloc(p);
      last_version = g_alloc_id;
    }
    Alloc* al = last;
    const size_t off = al ? size_t(static_cast<const char*>(p) - al->p) : 0;
    if (!al || off + n > al->bytes) {
      last = nullptr;
      fail_at(pc,
              "%s of %u bytes outside device memory: %td bytes past the end of allocation #%llu (%zu bytes)",
              write ? "write" : "read", n, al ? ptrdiff_t(off + n) - ptrdiff_t(al->bytes) : 0,
              al ? (unsigned long long)al->id : 0ull, al ? al->bytes : 0);
      return;
    }
    if (n <= 16 && (n & (n - 1)) == 0 && a % n)
      fail_at(pc, "misaligned %u-byte %s", n, write ? "write" : "read");
    if (al->init.empty()) {
      al->init.assign(al->bytes, 1);
    }
    if (al->cells.empty()) al->cells.resize(al->bytes / 4 + 1);
    if (!write || atomic)
      for (unsigned i = 0; i < n; ++i)
        if (!al->init[off + i]) {
          fail_at(pc, "read of device memory nothing wrote: byte %zu of allocation #%llu", off + i,
                  (unsigned long long)al->id);
          break;
        }
    if (write) std::memset(&al->init[off], 1, n);
    race(al->cells.data(), off, n, write, atomic, g_gen, pc, "device");
    if (cur->blk->sample) record(pc, a, n, false);
  } else if (a >= reinterpret_cast<uintptr_t>(g_smem_lo) && a < reinterpret_cast<uintptr_t>(g_smem_hi)) {
    Block& b = *cur->blk;
    const auto* q = static_cast<const char*>(p);
    if (q < b.smem || q >= b.smem + kSmemBytes) {
      fail_at(pc, "access to another block's shared memory");
      return;
    }
    const char* dyn0 = b.smem + kSmemBytes - ((b.dyn + 127) & ~size_t(127));
    bool in = q >= dyn0 && q + n <= dyn0 + b.dyn;
    for (auto& v : b.vars)
      if (q >= v.p && q + n <= v.p + v.bytes) in = true;
    if (!in) {
      fail_at(pc, "%s of %u bytes outside the block's shared arrays", write ? "write" : "read", n);
      return;
    }
    if (n <= 16 && (n & (n - 1)) == 0 && a % n)
      fail_at(pc, "misaligned %u-byte shared %s", n, write ? "write" : "read");
    const size_t off = size_t(q - b.smem);
    if (b.async_used) {
      auto& pend = shared_pending(b);
      for (unsigned i = 0; i < n; ++i)
        if (pend[off + i]) {
          fail_at(pc, "%s of shared memory a cp.async is still writing", write ? "write" : "read");
          break;
        }
    }
    auto& init = shared_init(b);
    if (!write || atomic)
      for (unsigned i = 0; i < n; ++i)
        if (init[off + i] != b.gen) {
          fail_at(pc, "read of shared memory nothing wrote");
          break;
        }
    if (write)
      for (unsigned i = 0; i < n; ++i) init[off + i] = b.gen;
    race(shared_cells(b).data(), off, n, write, atomic, b.gen, pc, "shared");
    if (b.sample) record(pc, a, n, true);
  } else {
    if (!write && static_cast<const char*>(p) >= g_params &&
        static_cast<const char*>(p) + n <= g_params + g_params_bytes)
      return;
    if (p >= static_cast<void*>(&__executable_start) && p < static_cast<void*>(&_end)) return;  // constants
    for (auto& b : g_blocks)
      for (auto& f : b->fibers)
        if (a - reinterpret_cast<uintptr_t>(f.stack) < g_cfg.stack_bytes) {
          fail_at(pc, "access to another thread's local memory");
          return;
        }
    Dl_info di{};
    if (dladdr(p, &di)) return;
    fail_at(pc, "kernel %s host memory", write ? "writes" : "reads");
  }
  if (g_cfg.yield_at_access && (rnd() & 0xffff) < g_cfg.yield_at_access) yield_now();
}

void flush_stats(Block& b) {
  for (auto& r : b.recs) {
    std::stable_sort(r.begin(), r.end(),
                     [](auto& x, auto& y) { return x.pc != y.pc ? x.pc < y.pc : x.occ < y.occ; });
    for (size_t i = 0; i < r.size();) {
      size_t j = i;
      while (j < r.size() && r[j].pc == r[i].pc && r[j].occ == r[i].occ) ++j;
      SiteStats& s = g_sites[r[i].pc];
      s.pc = r[i].pc;
      if (!r[i].smem) {
        std::vector<uintptr_t> sec, bytes;
        for (size_t k = i; k < j; ++k) {
          for (uintptr_t q = r[k].addr / 32; q <= (r[k].addr + r[k].size - 1) / 32; ++q) sec.push_back(q);
          for (uintptr_t q = r[k].addr; q < r[k].addr + r[k].size; ++q) bytes.push_back(q);
        }
        auto uniq = [](auto& v) {
          std::sort(v.begin(), v.end());
          v.erase(std::unique(v.begin(), v.end()), v.end());
          return v.size();
        };
        uint64_t ns = uniq(sec), ni = (uniq(bytes) + 31) / 32;
        s.requests++;
        s.sectors += ns;
        s.ideal_sectors += ni;
        g_tot.device_requests++;
        g_tot.sectors += ns;
        g_tot.ideal_sectors += ni;
      } else {
        // 4-byte accesses: whole warp per wavefront; 8: half; 16: quarter
        uint64_t wf = 0, ideal = 0;
        unsigned lanes = r[i].size >= 16 ? 8 : r[i].size >= 8 ? 16 : 32;
        for (unsigned g0 = 0; g0 < 32; g0 += lanes) {
          std::vector<uintptr_t> words;
          for (size_t k = i; k < j; ++k)
            if (r[k].lane >= g0 && r[k].lane < g0 + lanes)
              for (uintptr_t q = r[k].addr / 4; q <= (r[k].addr + r[k].size - 1) / 4; ++q) words.push_back(q);
          if (words.empty()) continue;
          std::sort(words.begin(), words.end());
          words.erase(std::unique(words.begin(), words.end()), words.end());
          unsigned per[32] = {0}, mx = 0;
          for (auto q : words) mx = std::max(mx, ++per[q % 32]);
          wf += mx;
          ideal += 1;
        }
        s.smem_requests++;
        s.smem_wavefronts += wf;
        g_tot.shared_requests++;
        g_tot.wavefronts += wf;
        g_tot.ideal_wavefronts += ideal;
      }
      i = j;
    }
    r.clear();
  }
}
}  // namespace

// ------------------------------------------------------------------ public and inline-facing parts
void device_lock_public(bool on) { device_lock(on); }
Config& config() {
  init_once();
  return g_cfg;
}
bool checked_build() { return g_checked; }
Report take_report() {
  Report r = g_rep;
  g_rep = Report{};
  g_seen_pc.clear();
  return r;
}
Counters& counters() { return g_cnt; }
StatTotals take_stat_totals() {
  StatTotals t = g_tot;
  g_tot = {};
  return t;
}
void print_stats() {
  for (auto& [pc, s] : g_sites) {
    char loc[256];
    describe_pc(pc, loc, sizeof loc);
    if (s.requests)
      std::printf("  %-28s device: %8llu requests, %.2f sectors each, ideal %.2f\n", loc,
                  (unsigned long long)s.requests, double(s.sectors) / double(s.requests),
                  double(s.ideal_sectors) / double(s.requests));
    if (s.smem_requests)
      std::printf("  %-28s shared: %8llu requests, %.2f wavefronts each\n", loc,
                  (unsigned long long)s.smem_requests, double(s.smem_wavefronts) / double(s.smem_requests));
  }
  g_sites.clear();
}

void device_fail(const char* fmt, ...) {
  char msg[400];
  va_list ap;
  va_start(ap, fmt);
  std::vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  char full[512];
  if (cur)
    std::snprintf(full, sizeof full, "emu: %.300s [kernel %.80s, block (%u,%u,%u), thread (%u,%u,%u)]", msg,
                  g_kernel, cur->blk->bid.x, cur->blk->bid.y, cur->blk->bid.z, cur->tid.x, cur->tid.y,
                  cur->tid.z);
  else
    std::snprintf(full, sizeof full, "emu: %.400s [%.80s]", msg, g_kernel);
  if (!g_rep.errors++) std::memcpy(g_rep.first, full, sizeof full);
  if (g_rep.errors <= 8) std::fprintf(stderr, "%s\n", full);
  if (g_cfg.abort_on_error) std::abort();
}
void yield_now() {
  if (!cur) return;
  Fiber* f = cur;
  push(f);
  switch_next(f);
}
unsigned lane_id() { return cur->lane; }

void* static_shared(const void* key, size_t bytes, size_t align, const char* name) {
  Block& b = *cur->blk;
  for (auto& v : b.vars)
    if (v.key == key) return v.p;
  if (align < 16) align = 16;
  b.stat_used = (b.stat_used + align - 1) & ~(align - 1);
  char* p = b.smem + b.stat_used;
  size_t total = 0;
  for (auto& v : b.vars) total += v.bytes;
  if (total + bytes > g_cfg.static_shared_limit || total + bytes + b.dyn > g_cfg.shared_limit)
    device_fail("shared array %s: static shared memory over the limit", name);
  UNPOISON(p, bytes);
  std::memset(p, 0xff, bytes);
  b.vars.push_back({key, p, bytes, name});
  b.stat_used += bytes + kRed;
  return p;
}
void* dynamic_shared() {
  Block& b = *cur->blk;
  return b.smem + kSmemBytes - ((b.dyn + 127) & ~size_t(127));
}

static void block_barrier(const char* what, const char* file, int line) {
  Fiber* f = cur;
  if (!f) {
    std::fprintf(stderr, "emu: barrier outside a kernel\n");
    std::abort();
  }
  Block& b = *f->blk;
  if (b.arrived == 0) {
    b.bar_file = file;
    b.bar_line = line;
    b.bar_what = what;
  } else if (line != b.bar_line || (file != b.bar_file && std::strcmp(file, b.bar_file)))
    device_fail("threads of one block wait at different barriers: %s:%d and %s:%d", b.bar_file, b.bar_line,
                file, line);
  f->st = St::bar;
  f->what = what;
  f->file = file;
  f->line = line;
  if (++b.arrived == b.live) release_barrier(b);
  switch_next(f);
}
void syncthreads(const char* file, int line) { block_barrier("__syncthreads", file, line); }
int syncthreads_count(int pred, int kind, const char* file, int line) {
  Fiber* f = cur;
  Block& b = *f->blk;
  f->pred = pred != 0;
  block_barrier("__syncthreads_count", file, line);
  int n = 0, live = 0;
  for (unsigned i = 0; i < b.n; ++i)
    if (b.fibers[i].st != St::done) {
      n += b.fibers[i].pred;
      ++live;
    }
  block_barrier("__syncthreads_count", file, line);  // nobody changes pred before all have counted
  return kind == 0 ? n : kind == 1 ? n == live : n != 0;
}

void warp_collective(unsigned mask, void* mine, Combine c, const char* what, const char* file, int line) {
  Fiber* f = cur;
  Block& b = *f->blk;
  Warp& w = b.warps[f->warp];
  const unsigned bit = 1u << f->lane;
  if (!(mask & bit)) {
    device_fail("%s: the calling lane %u is not in its mask %08x at %s:%d", what, f->lane, mask, file, line);
    mask |= bit;
  }
  Pending* slot = nullptr;
  Pending* free_slot = nullptr;
  for (auto& p : w.pend) {
    if (!p.active) {
      if (!free_slot) free_slot = &p;
      if (&p > &w.pend[1] && free_slot) break;
      continue;
    }
    if (p.mask == mask) {
      slot = &p;
      break;
    }
    if (p.mask & mask)
      device_fail("%s mask %08x overlaps the mask %08x of a pending %s (%s:%d) at %s:%d", what, mask, p.mask,
                  p.what, p.file, p.line, file, line);
  }
  if (!slot) {
    slot = free_slot;
    slot->active = true;
    slot->mask = mask;
    slot->arrived = 0;
    slot->combine = c;
    slot->what = what;
    slot->file = file;
    slot->line = line;
  } else if (slot->combine != c || slot->line != line) {
    device_fail("lanes of one warp meet in different warp functions: %s %s:%d and %s %s:%d", slot->what,
                slot->file, slot->line, what, file, line);
  }
  slot->lanes[f->lane] = mine;
  slot->arrived |= bit;
  if (slot->arrived == (mask & ~w.gone)) {
    finish_collective(w, *slot, b, f->warp, f);
    f->st = St::ready;
    return;
  }
  f->st = St::warp;
  f->what = what;
  f->file = file;
  f->line = line;
  switch_next(f);
}

void note_atomic(const void* p, unsigned n) {
  if (!cur) return;
  if (g_cfg.yield_at_atomics && (rnd() & 255) < g_cfg.yield_at_atomics) yield_now();
  if (g_checked) access(p, n, true, true, __builtin_return_address(0));
}
void after_atomic() {
  if (cur && g_cfg.yield_at_atomics && (rnd() & 255) < g_cfg.yield_at_atomics) yield_now();
}
void note_vector(const void* p, unsigned n, bool write) {
  if (reinterpret_cast<uintptr_t>(p) % n) {
    device_fail("misaligned %u-byte %s", n, write ? "write" : "read");
    return;
  }
  if (g_checked) access(p, n, write, false, __builtin_return_address(0));
}
void raw_copy(void* d, const void* s, size_t n) { std::memcpy(d, s, n); }
void note_access(const void* p, unsigned n, bool write) {
  if (g_checked) access(p, n, write, false, __builtin_return_address(0));
}
void require_shared(const void* p, unsigned bytes, unsigned align, const char* what) {
  auto* q = static_cast<const char*>(p);
  Block& b = *cur->blk;
  if (q < b.smem || q + bytes > b.smem + kSmemBytes)
    device_fail("%s: the address is not in shared memory", what);
  else if (reinterpret_cast<uintptr_t>(p) % align)
    device_fail("%s: the address is not %u-byte aligned", what, align);
}

// cp.async: the copy may land at any moment between its issue and the wait for its group.  The bytes move
// at the wait (a forgotten wait shows), or, under the random schedule, half of the copies move at once (a
// buffer overwritten too early shows).  The checked build treats the bytes as being written all that time.
static void land(const CpAsync& c) {
  if (c.src_bytes) std::memcpy(c.dst, c.src, c.src_bytes);
  std::memset(static_cast<char*>(c.dst) + c.src_bytes, 0, c.bytes - c.src_bytes);
}
void cp_async(void* dst, const void* src, unsigned bytes, unsigned src_bytes) {
  require_shared(dst, bytes, bytes, "cp.async");
  if (reinterpret_cast<uintptr_t>(src) % bytes)
    device_fail("cp.async: the source is not %u-byte aligned", bytes);
  const void* pc = __builtin_return_address(0);
  CpAsync c{dst, src, bytes, src_bytes, false};
  if (g_checked) {
    if (src_bytes) access(src, src_bytes, false, false, pc);
    access(dst, bytes, true, false, pc);
    Block& b = *cur->blk;
    b.async_used = true;
    std::memset(&shared_pending(b)[size_t(static_cast<char*>(dst) - b.smem)], 1, bytes);
  }
  if (g_cfg.schedule == Schedule::random && (rnd() & 1)) {
    land(c);
    c.landed = true;
  }
  cur->cp_used = true;
  cur->cold->cp_open.push_back(c);
}
void cp_async_commit() {
  cur->cp_used = true;
  cur->cold->cp_groups.push_back(std::move(cur->cold->cp_open));
  cur->cold->cp_open.clear();
}
void cp_async_wait(unsigned keep) {
  while (cur->cold->cp_groups.size() > keep) {
    for (auto& c : cur->cold->cp_groups.front()) {
      if (!c.landed) land(c);
      if (g_checked) {
        Block& b = *cur->blk;
        const size_t off = size_t(static_cast<char*>(c.dst) - b.smem);
        std::memset(&shared_pending(b)[off], 0, c.bytes);
        // a write by this thread, now: marks the bytes written and orders later readers by the next barrier
        for (unsigned i = 0; i < c.bytes; ++i) shared_init(b)[off + i] = b.gen;
        race(shared_cells(b).data(), off, c.bytes, true, false, b.gen, __builtin_return_address(0), "shared");
      }
    }
    cur->cold->cp_groups.pop_front();
  }
}
}  // namespace atrous::emu

// ------------------------------------------------------------------ streams and memory API
struct QueuedOp {
  int kind;
  std::function<void()> run;
  CUevent_st* ev;
  uint64_t ver;
};
struct CUstream_st {
  std::deque<QueuedOp> q;
};
struct CUevent_st {
  double seconds = 0;
  uint64_t recorded = 0, done = 0;
  CUstream_st* on = nullptr;
};
namespace {
using namespace atrous::emu;
CUstream_st g_null;
std::vector<CUstream_st*> g_streams{&g_null};
bool blocked(CUstream_st* s) {
  return !s->q.empty() && s->q.front().kind == 2 && s->q.front().ev->done < s->q.front().ver;
}
void step(CUstream_st* s) {
  QueuedOp op = std::move(s->q.front());
  s->q.pop_front();
  if (op.kind == 0)
    op.run();
  else if (op.kind == 1)
    op.ev->done = op.ver;
}
void drain_all() {
  for (;;) {
    std::vector<CUstream_st*> can;
    for (auto* s : g_streams)
      if (!s->q.empty() && !blocked(s)) can.push_back(s);
    if (can.empty()) break;
    step(can[g_cfg.schedule == Schedule::random ? rnd() % can.size() : 0]);
  }
}
void drain(CUstream_st* s) {
  while (!s->q.empty()) {
    if (blocked(s)) {
      CUstream_st* o = s->q.front().ev->on;
      if (!o || o == s || o->q.empty()) {
        s->q.pop_front();
        continue;
      }
      if (blocked(o))
        drain(o);
      else
        step(o);
      continue;
    }
    step(s);
  }
}
void submit(cudaStream_t st, std::function<void()> f) {
  if (!g_cfg.lazy_streams) {
    f();
    return;
  }
  if (!st) {
    drain_all();
    f();
    return;
  }  // legacy default stream waits for all others
  st->q.push_back({0, std::move(f), nullptr, 0});
}
struct Unlock {
  Unlock() { atrous::emu::device_lock_public(false); }
  ~Unlock() { atrous::emu::device_lock_public(true); }
};
void mark_init(void* p, size_t n) {
  if (Alloc* a = find_alloc(p))
    if (!a->init.empty() && static_cast<char*>(p) >= a->p && static_cast<char*>(p) + n <= a->p + a->bytes)
      std::memset(&a->init[size_t(static_cast<char*>(p) - a->p)], 1, n);
}
bool device_range_ok(const void* p, size_t n) {
  Alloc* a = find_alloc(p);
  return a && static_cast<const char*>(p) >= a->p && static_cast<const char*>(p) + n <= a->p + a->bytes;
}
bool in_arena(const void* p) {
  return g_arena && static_cast<const char*>(p) >= g_arena && static_cast<const char*>(p) < g_arena + kArena;
}
bool copy_ok(void* d, const void* s, size_t n, cudaMemcpyKind k) {
  bool dd = in_arena(d), sd = in_arena(s);
  if (dd && !device_range_ok(d, n)) return false;
  if (sd && !device_range_ok(s, n)) return false;
  switch (k) {
    case cudaMemcpyHostToHost:
      return !dd && !sd;
    case cudaMemcpyHostToDevice:
      return dd && !sd;
    case cudaMemcpyDeviceToHost:
      return !dd && sd;
    case cudaMemcpyDeviceToDevice:
      return dd && sd;
    default:
      return true;
  }
}
cudaError_t fail(cudaError_t e) {
  g_last = e;
  return e;
}
}  // namespace

void atrous::emu::launch_raw(const char* name, const void* fn, dim3 g, dim3 b, size_t smem, cudaStream_t s,
                             void (*call)(const void*), const void* data, size_t bytes) {
  init_once();
  uint64_t n = uint64_t(b.x) * b.y * b.z;
  int attr = 0;
  if (auto it = g_dyn_attr.find(fn); it != g_dyn_attr.end()) attr = it->second;
  if (n == 0 || n > 1024 || b.z > 64 || !g.x || !g.y || !g.z || g.x > 0x7fffffffu || g.y > 65535 ||
      g.z > 65535 || smem > g_cfg.shared_limit || (smem > g_cfg.static_shared_limit && smem > size_t(attr))) {
    std::fprintf(stderr,
                 "emu: %s: invalid launch configuration (grid %u,%u,%u block %u,%u,%u dynamic shared %zu)\n",
                 name, g.x, g.y, g.z, b.x, b.y, b.z, smem);
    g_last = cudaErrorInvalidConfiguration;
    return;
  }
  auto pack = std::make_shared<std::vector<char>>(static_cast<const char*>(data),
                                                  static_cast<const char*>(data) + bytes);
  submit(s, [=] { run_grid(name, g, b, smem, call, pack->data(), bytes); });
}
cudaError_t cudaMallocBytes(void** p, size_t bytes) {
  init_once();
  size_t user = (bytes + 255) & ~size_t(255);
  if (!user) {
    *p = nullptr;
    return cudaSuccess;
  }
  size_t map = (user + kPage - 1) & ~(kPage - 1);
  if (g_arena_top + map + kPage > kArena) return fail(cudaErrorMemoryAllocation);
  char* m = g_arena + g_arena_top;
  g_arena_top += map + kPage;  // never reused: use-after-free faults
  mprotect(m, map, PROT_READ | PROT_WRITE);
  Alloc a;
  a.map = m;
  a.map_bytes = map;
  a.p = m + (map - user);
  a.bytes = bytes;
  a.id = ++g_alloc_id;
  UNPOISON(m, map);
  std::memset(m, 0xff, map);
  if (g_checked) a.init.assign(bytes, 0);
  POISON(m, map);
  UNPOISON(a.p, bytes);
  *p = a.p;
  g_allocs.emplace(a.p, std::move(a));
  atrous::emu::device_lock_public(true);
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  drain_all();
  auto it = g_allocs.find(static_cast<char*>(p));
  if (it == g_allocs.end()) return fail(cudaErrorInvalidDevicePointer);
  mprotect(it->second.map, it->second.map_bytes, PROT_NONE);
  madvise(it->second.map, it->second.map_bytes, MADV_DONTNEED);
  ++g_alloc_id;
  g_allocs.erase(it);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t st) {
  if (!copy_ok(d, s, n, k)) return fail(cudaErrorInvalidValue);
  submit(st, [=] {
    Unlock u;
    std::memmove(d, s, n);
    mark_init(d, n);
  });
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind k) {
  drain_all();
  return cudaMemcpyAsync(d, s, n, k, nullptr);
}
cudaError_t cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t st) {
  if (!device_range_ok(d, n)) return fail(cudaErrorInvalidValue);
  submit(st, [=] {
    Unlock u;
    std::memset(d, v, n);
    mark_init(d, n);
  });
  return cudaSuccess;
}
cudaError_t cudaMemset(void* d, int v, size_t n) { return cudaMemsetAsync(d, v, n, nullptr); }
cudaError_t cudaStreamCreate(cudaStream_t* s) {
  *s = new CUstream_st;
  g_streams.push_back(*s);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  drain(s);
  g_streams.erase(std::find(g_streams.begin(), g_streams.end(), s));
  delete s;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  if (s)
    drain(s);
  else
    drain_all();
  return cudaPeekAtLastError();
}
cudaError_t cudaEventCreate(cudaEvent_t* e) {
  *e = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  drain_all();
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  if (!s) s = &g_null;
  e->on = s;
  ++e->recorded;
  e->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  if (!g_cfg.lazy_streams || s == &g_null) {
    if (s == &g_null) drain_all();
    e->done = e->recorded;
  } else
    s->q.push_back({1, nullptr, e, e->recorded});
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  if (s && g_cfg.lazy_streams && e->recorded) s->q.push_back({2, nullptr, e, e->recorded});
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  while (e->done < e->recorded && e->on && !e->on->q.empty()) {
    if (blocked(e->on))
      drain(e->on);
    else
      step(e->on);
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  drain_all();
  return cudaPeekAtLastError();
}
cudaError_t cudaGetLastError() {
  cudaError_t e = g_last;
  g_last = cudaSuccess;
  return e;
}
cudaError_t cudaPeekAtLastError() { return g_last; }
const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInitializationError:
      return "cudaErrorInitializationError";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevicePointer:
      return "cudaErrorInvalidDevicePointer";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
  }
  return "unknown error";
}
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDevicePointer:
      return "invalid device pointer";
    // What went wrong in the kernel, which a real device does not tell.
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
      return g_rep.errors ? g_rep.first : "unspecified launch failure";
    default:
      return cudaGetErrorName(e);
  }
}
cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute attribute, int v) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (size_t(v) > g_cfg.shared_limit) return fail(cudaErrorInvalidValue);
  g_dyn_attr[f] = v;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice); }
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return fail(cudaErrorInvalidDevice);
  init_once();
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = int(g_cfg.static_shared_limit);
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = 132;
      break;
    case cudaDevAttrL2CacheSize:
      *value = 60 << 20;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = 2048;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = int(g_cfg.shared_limit) + 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = int(g_cfg.shared_limit);
      break;
  }
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return fail(cudaErrorInvalidDevice);
  init_once();
  *p = {"atrous emulator",  size_t(1) << 34,           9,       0, 132, 1024, 32, g_cfg.static_shared_limit,
        g_cfg.shared_limit, g_cfg.shared_limit + 1024, 60 << 20};
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  *free_bytes = *total = size_t(1) << 34;
  return cudaSuccess;
}
cudaError_t cudaHostAllocBytes(void** p, size_t bytes) {
  *p = std::malloc(bytes);
  return *p ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  drain_all();
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return cudaStreamCreate(s); }
cudaError_t cudaStreamQuery(cudaStream_t s) {
  return (s ? s : &g_null)->q.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return cudaEventCreate(e); }
cudaError_t cudaEventQuery(cudaEvent_t e) { return e->done >= e->recorded ? cudaSuccess : cudaErrorNotReady; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  if (!from->recorded || !to->recorded) return fail(cudaErrorInvalidResourceHandle);
  *milliseconds = float(to->seconds - from->seconds) * 1e3f;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorOf(int* blocks, int threads, size_t shared_bytes) {
  init_once();
  const size_t by_shared = shared_bytes ? g_cfg.shared_limit / shared_bytes : 32,
               by_threads = size_t(2048 / threads);
  *blocks = int(std::min({by_shared, by_threads, size_t(32)}));
  return cudaSuccess;
}

// ------------------------------------------------------------------ assert() in a kernel: ends the launch,
// not the program
extern "C" [[noreturn]] void __assert_fail(const char* text, const char* file, unsigned line,
                                           const char* function) noexcept {
  if (cur) {
    device_fail("assertion `%s` failed at %s:%u", text, file, line);
    g_launch_err = cudaErrorLaunchFailure;
    siglongjmp(g_trap, 1);
  }
  std::fprintf(stderr, "%s:%u: %s: assertion `%s` failed\n", file, line, function, text);
  std::abort();
}

// ------------------------------------------------------------------ compiler hooks (-fsanitize=thread,
// without its runtime)
#define PC __builtin_return_address(0)
extern "C" {
void __tsan_init() { g_checked = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
#define HOOK(N)                                                              \
  void __tsan_read##N(void* p) { access(p, N, false, false, PC); }           \
  void __tsan_write##N(void* p) { access(p, N, true, false, PC); }           \
  void __tsan_unaligned_read##N(void* p) { access(p, N, false, false, PC); } \
  void __tsan_unaligned_write##N(void* p) { access(p, N, true, false, PC); } \
  void __tsan_read_write##N(void* p) {                                       \
    access(p, N, false, false, PC);                                          \
    access(p, N, true, false, PC);                                           \
  }                                                                          \
  void __tsan_volatile_read##N(void* p) {                                    \
    yield_now();                                                             \
    access(p, N, false, false, PC);                                          \
  }                                                                          \
  void __tsan_volatile_write##N(void* p) { access(p, N, true, false, PC); }
HOOK(1) HOOK(2) HOOK(4) HOOK(8) HOOK(16) void __tsan_read_range(void* p, unsigned long n) {
  access(p, unsigned(n), false, false, PC);
}
void __tsan_write_range(void* p, unsigned long n) { access(p, unsigned(n), true, false, PC); }
// std::atomic and function-local statics in host parts of an instrumented file: one OS thread, plain accesses
// do
#define HOOK_ATOMIC(B, T)                                                              \
  T __tsan_atomic##B##_load(const volatile T* p, int) { return *p; }                   \
  void __tsan_atomic##B##_store(volatile T* p, T v, int) { *p = v; }                   \
  T __tsan_atomic##B##_exchange(volatile T* p, T v, int) {                             \
    T o = *p;                                                                          \
    *p = v;                                                                            \
    return o;                                                                          \
  }                                                                                    \
  T __tsan_atomic##B##_fetch_add(volatile T* p, T v, int) {                            \
    T o = *p;                                                                          \
    *p = T(o + v);                                                                     \
    return o;                                                                          \
  }                                                                                    \
  T __tsan_atomic##B##_fetch_sub(volatile T* p, T v, int) {                            \
    T o = *p;                                                                          \
    *p = T(o - v);                                                                     \
    return o;                                                                          \
  }                                                                                    \
  int __tsan_atomic##B##_compare_exchange_strong(volatile T* p, T* e, T v, int, int) { \
    if (*p == *e) {                                                                    \
      *p = v;                                                                          \
      return 1;                                                                        \
    }                                                                                  \
    *e = *p;                                                                           \
    return 0;                                                                          \
  }
HOOK_ATOMIC(8, uint8_t)
HOOK_ATOMIC(16, uint16_t) HOOK_ATOMIC(32, uint32_t)
    HOOK_ATOMIC(64, uint64_t) void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void* __tsan_memcpy(void* d, const void* s, unsigned long n) {
  if (cur && n) {
    access(s, unsigned(n), false, false, PC);
    access(d, unsigned(n), true, false, PC);
  }
  return std::memcpy(d, s, n);
}
void* __tsan_memmove(void* d, const void* s, unsigned long n) {
  if (cur && n) {
    access(s, unsigned(n), false, false, PC);
    access(d, unsigned(n), true, false, PC);
  }
  return std::memmove(d, s, n);
}
void* __tsan_memset(void* d, int v, unsigned long n) {
  if (cur && n) access(d, unsigned(n), true, false, PC);
  return std::memset(d, v, n);
}
}
