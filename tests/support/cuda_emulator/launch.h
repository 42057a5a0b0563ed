#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/support/cuda_emulator/language.h"
#include "tests/support/cuda_emulator/runtime_api.h"

// What the inline parts of the emulated CUDA call: launches, shared memory, barriers, accesses.

namespace atrous::emu {

// The parameters of one launch are copied when it is made; kernels may read the copy (CUDA's parameter
// space).
// A cooperative launch has all its blocks alive at once, so that they can meet at a grid barrier.
void launch_raw(const char* name, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                cudaStream_t stream, bool cooperative, void (*call)(const void*), const void* params,
                std::size_t params_bytes);
void* static_shared(const void* site, std::size_t bytes, std::size_t align, const char* name);
void* dynamic_shared();
void syncthreads(const char* file, int line);
void grid_barrier(const char* file, int line);
int syncthreads_count(int predicate, int kind, const char* file, int line);

// A warp function: every lane of `mask` brings `mine`; the last to arrive runs `combine` over all.
using Combine = void (*)(void* const* lanes, unsigned mask);
void warp_collective(unsigned mask, void* mine, Combine combine, const char* what, const char* file,
                     int line);
unsigned lane_id();

void note_atomic(const void* p, unsigned bytes);  // checks, and may switch fibers
void after_atomic();  // may switch: others see the new value before this thread goes on
void note_access(const void* p, unsigned bytes, bool write);
void note_vector(const void* p, unsigned bytes, bool write);   // also reports misalignment in the fast build
void raw_copy(void* dst, const void* src, std::size_t bytes);  // not seen by the hooks
void require_shared(const void* p, unsigned bytes, unsigned align, const char* what);

void cp_async(void* dst, const void* src, unsigned bytes, unsigned src_bytes);
void cp_async_commit();
void cp_async_wait(unsigned keep);

// Reports an error of the running kernel, whose launch then fails.
void device_fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

template <bool Cooperative = false, class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes,
            cudaStream_t stream, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "number of kernel arguments");
  static_assert((std::is_trivially_copyable_v<std::decay_t<P>> && ...),
                "kernel parameters must be trivially copyable");
  struct Pack {
    void (*kernel)(P...);
    std::tuple<std::decay_t<P>...> params;
  };
  const Pack pack{kernel, {static_cast<std::decay_t<P>>(std::forward<A>(args))...}};
  launch_raw(
      name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream, Cooperative,
      [](const void* p) {
        const Pack* own = static_cast<const Pack*>(p);
        std::apply(own->kernel, own->params);
      },
      &pack, sizeof pack);
}

// 16 and 8 bytes kept whole: the host compiler splits a struct copy into scalars, which would spoil the
// access statistics and hide misalignment.
template <class V>
V load_vector(const void* p) {
  if (ATROUS_EMU_HOOKS || reinterpret_cast<std::uintptr_t>(p) % sizeof(V)) note_vector(p, sizeof(V), false);
  V v;
  if constexpr (ATROUS_EMU_HOOKS)
    raw_copy(&v, p, sizeof(V));
  else
    __builtin_memcpy(&v, p, sizeof(V));
  return v;
}
template <class V>
void store_vector(void* p, const V& v) {
  if (ATROUS_EMU_HOOKS || reinterpret_cast<std::uintptr_t>(p) % sizeof(V)) note_vector(p, sizeof(V), true);
  if constexpr (ATROUS_EMU_HOOKS)
    raw_copy(p, &v, sizeof(V));
  else
    __builtin_memcpy(p, &v, sizeof(V));
}

}  // namespace atrous::emu
