#pragma once

#include <cstddef>

// Stacks and the switch between them: about a dozen instructions, where the system's swapcontext makes two
// system calls.

namespace atrous::emu {

/// A stack on which a function can be started over and over, and the place where it was left.
struct Context {
  void* stack_pointer = nullptr;  // of a context that is not running
  char* stack = nullptr;          // lowest address; below it a page that faults
  std::size_t stack_bytes = 0;
  void* sanitizer_state = nullptr;

  /// Reserves memory for the stack. `number` spreads the tops of many stacks over the sets of the processor's
  /// caches.
  void allocate(std::size_t bytes, unsigned number);
  void free();
  /// The next switch to this context calls `entry`, which never returns.
  void start(void (*entry)());
  bool holds(const void* p) const { return std::size_t(static_cast<const char*>(p) - stack) < stack_bytes; }

  void* top_ = nullptr;  // null for a stack of the system's
};

/// Leaves `from` and goes on where `to` was left. `from_ends`: it will only ever be started again.
void switch_context(Context& from, Context& to, bool from_ends);
/// The first thing that a started context calls.
void context_started();

}  // namespace atrous::emu
