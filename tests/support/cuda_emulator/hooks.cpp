#include <cstdint>
#include <cstring>

#include "tests/support/cuda_emulator/state.h"

// What the compiler calls in code that it compiles with -fsanitize=thread: a function for each load and
// store. The sanitizer's own runtime is not linked; these check the accesses of kernels, and cost host code a
// call and a comparison.

// NOLINTBEGIN: the names are the compiler's
using namespace atrous::emu;
#define PC __builtin_return_address(0)

namespace atrous::emu {

// Atomics and accesses of headers, which are the kernel's own.
void note_atomic(const void* p, unsigned bytes) {
  if (!g_current) return;
  if (g_config.yield_at_atomics && (random_number() & 255) < g_config.yield_at_atomics) yield_now();
  if (g_checked) check_access(p, bytes, true, true, PC);
}
void after_atomic() {
  if (g_current && g_config.yield_at_atomics && (random_number() & 255) < g_config.yield_at_atomics)
    yield_now();
}
void note_vector(const void* p, unsigned bytes, bool write) {
  if (g_checked)
    check_access(p, bytes, write, false, PC);
  else if (reinterpret_cast<std::uintptr_t>(p) % bytes)
    device_fail("misaligned %u-byte %s", bytes, write ? "write" : "read");
}
void note_access(const void* p, unsigned bytes, bool write) {
  if (g_checked) check_access(p, bytes, write, false, PC);
}
void raw_copy(void* dst, const void* src, std::size_t bytes) { std::memcpy(dst, src, bytes); }

}  // namespace atrous::emu

extern "C" {

void __tsan_init() { g_checked = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

#define ATROUS_HOOKS(N)                                                            \
  void __tsan_read##N(void* p) { check_access(p, N, false, false, PC); }           \
  void __tsan_write##N(void* p) { check_access(p, N, true, false, PC); }           \
  void __tsan_unaligned_read##N(void* p) { check_access(p, N, false, false, PC); } \
  void __tsan_unaligned_write##N(void* p) { check_access(p, N, true, false, PC); } \
  void __tsan_volatile_write##N(void* p) { check_access(p, N, true, false, PC); }  \
  void __tsan_volatile_read##N(void* p) {                                          \
    yield_now();                                                                   \
    check_access(p, N, false, false, PC);                                          \
  }                                                                                \
  void __tsan_read_write##N(void* p) {                                             \
    check_access(p, N, false, false, PC);                                          \
    check_access(p, N, true, false, PC);                                           \
  }
ATROUS_HOOKS(1)
ATROUS_HOOKS(2)
ATROUS_HOOKS(4)
ATROUS_HOOKS(8)
ATROUS_HOOKS(16)

void __tsan_read_range(void* p, unsigned long n) { check_access(p, unsigned(n), false, false, PC); }
void __tsan_write_range(void* p, unsigned long n) { check_access(p, unsigned(n), true, false, PC); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void* __tsan_memcpy(void* to, const void* from, unsigned long n) {
  if (n) check_access(from, unsigned(n), false, false, PC), check_access(to, unsigned(n), true, false, PC);
  return std::memcpy(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, unsigned long n) {
  if (n) check_access(from, unsigned(n), false, false, PC), check_access(to, unsigned(n), true, false, PC);
  return std::memmove(to, from, n);
}
void* __tsan_memset(void* to, int value, unsigned long n) {
  if (n) check_access(to, unsigned(n), true, false, PC);
  return std::memset(to, value, n);
}

// std::atomic and static variables of functions, in host code of the files.
#define ATROUS_ATOMIC_HOOKS(B, T)                                                                      \
  T __tsan_atomic##B##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); } \
  void __tsan_atomic##B##_store(volatile T* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##B##_exchange(volatile T* p, T v, int) {                                             \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                \
  }                                                                                                    \
  T __tsan_atomic##B##_fetch_add(volatile T* p, T v, int) {                                            \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                                    \
  T __tsan_atomic##B##_fetch_sub(volatile T* p, T v, int) {                                            \
    return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                                    \
  int __tsan_atomic##B##_compare_exchange_strong(volatile T* p, T* expected, T v, int, int) {          \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);     \
  }                                                                                                    \
  int __tsan_atomic##B##_compare_exchange_weak(volatile T* p, T* expected, T v, int, int) {            \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);     \
  }
ATROUS_ATOMIC_HOOKS(8, std::uint8_t)
ATROUS_ATOMIC_HOOKS(16, std::uint16_t)
ATROUS_ATOMIC_HOOKS(32, std::uint32_t)
ATROUS_ATOMIC_HOOKS(64, std::uint64_t)

}  // extern "C"
// NOLINTEND
