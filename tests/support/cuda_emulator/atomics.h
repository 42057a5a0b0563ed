#pragma once

#include <type_traits>

#include "tests/support/cuda_emulator/launch.h"

// Atomics. One thread of the operating system runs all fibers, so plain memory is atomic between two
// switches.

// The emulator's own accesses inside instrumented files are not the kernel's.
#define ATROUS_EMU_UNSEEN __attribute__((no_sanitize("thread"), no_sanitize("address"), noinline))

namespace atrous::emu {
template <class T, class F>
ATROUS_EMU_UNSEEN T read_modify_write(T* p, F next) {
  note_atomic(p, sizeof(T));
  const T old = *static_cast<volatile T*>(p);
  *static_cast<volatile T*>(p) = next(old);
  after_atomic();
  return old;
}
}  // namespace atrous::emu

// clang-format off
template <class T> T atomicAdd(T* p, std::type_identity_t<T> v) { return atrous::emu::read_modify_write(p, [v](T o) { return T(o + v); }); }
template <class T> T atomicSub(T* p, std::type_identity_t<T> v) { return atrous::emu::read_modify_write(p, [v](T o) { return T(o - v); }); }
template <class T> T atomicMax(T* p, std::type_identity_t<T> v) { return atrous::emu::read_modify_write(p, [v](T o) { return o < v ? v : o; }); }
template <class T> T atomicMin(T* p, std::type_identity_t<T> v) { return atrous::emu::read_modify_write(p, [v](T o) { return v < o ? v : o; }); }
template <class T> T atomicOr(T* p, std::type_identity_t<T> v) { return atrous::emu::read_modify_write(p, [v](T o) { return T(o | v); }); }
template <class T> T atomicAnd(T* p, std::type_identity_t<T> v) { return atrous::emu::read_modify_write(p, [v](T o) { return T(o & v); }); }
template <class T> T atomicExch(T* p, std::type_identity_t<T> v) { return atrous::emu::read_modify_write(p, [v](T) { return v; }); }
template <class T> T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) { return atrous::emu::read_modify_write(p, [expected, v](T o) { return o == expected ? v : o; }); }
// clang-format on
