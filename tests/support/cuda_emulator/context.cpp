#include "tests/support/cuda_emulator/context.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

#include "tests/support/cuda_emulator/sanitizer.h"

// void switch_stack(void** save, void* load): pushes what a call preserves, stores the stack pointer in
// *save, and pops the same from `load`. On x86-64 it leaves by a jump in place of a return, which the
// processor would predict to the wrong place.
extern "C" void atrous_emu_switch_stack(void** save, void* load);
#if defined(__x86_64__)
asm(R"(
.text
.globl atrous_emu_switch_stack
.type atrous_emu_switch_stack,@function
atrous_emu_switch_stack:
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
.size atrous_emu_switch_stack,.-atrous_emu_switch_stack
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl atrous_emu_switch_stack
.type atrous_emu_switch_stack,%function
atrous_emu_switch_stack:
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
.size atrous_emu_switch_stack,.-atrous_emu_switch_stack
)");
#else
#error "the emulator's switch of stacks is written for x86-64 and aarch64"
#endif

namespace atrous::emu {
namespace {

constexpr std::size_t kPage = 4096;

#if ATROUS_EMU_ASAN
Context* g_leaving = nullptr;  // the context that made the last switch
#endif

}  // namespace

void Context::allocate(std::size_t bytes, unsigned number) {
  void* memory = mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kPage, PROT_NONE);
  stack = static_cast<char*>(memory) + kPage;
  stack_bytes = bytes;
  top_ = stack + bytes - 64 * (number * 5 % 64);
}

void Context::free() {
  if (stack) munmap(stack - kPage, stack_bytes + kPage);
  stack = nullptr;
}

// The frame that switch_stack pops: preserved registers, then where to go.
void Context::start(void (*entry)()) {
  auto* frame = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(top_) & ~std::uintptr_t(15));
#if defined(__x86_64__)
  *--frame = nullptr;  // stands for a return address: keeps the stack aligned to 16 bytes at the entry
  *--frame = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--frame = nullptr;
#else
  frame -= 20;
  std::memset(frame, 0, 160);
  frame[11] = reinterpret_cast<void*>(entry);  // x30
#endif
  stack_pointer = frame;
  sanitizer_state = nullptr;
  unpoison(stack, stack_bytes);
}

void switch_context(Context& from, Context& to, [[maybe_unused]] bool from_ends) {
#if ATROUS_EMU_ASAN
  g_leaving = &from;
  __sanitizer_start_switch_fiber(from_ends ? nullptr : &from.sanitizer_state, to.stack, to.stack_bytes);
#endif
  atrous_emu_switch_stack(&from.stack_pointer, to.stack_pointer);
#if ATROUS_EMU_ASAN
  __sanitizer_finish_switch_fiber(from.sanitizer_state, nullptr, nullptr);
#endif
}

void context_started() {
#if ATROUS_EMU_ASAN
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (g_leaving->top_) return;
  g_leaving->stack = static_cast<char*>(const_cast<void*>(bottom));  // a stack of the system's
  g_leaving->stack_bytes = bytes;
#endif
}

}  // namespace atrous::emu
