#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "atrous/core/cuda_check.h"
#include "atrous/core/device.h"
#include "atrous/core/dtype.h"

// The one header that a CUDA source includes for CUDA itself. nvcc compiles it for the device; the tests
// compile the same sources with the host compiler, where each CUDA thread becomes a fiber of
// tests/support/cuda_emulator (ATROUS_CUDA_EMULATED). So a kernel is launched, and gets its shared memory,
// through these macros, and writes neither <<< nor the bare __shared__.
//
//   ATROUS_LAUNCH((resize_rows<T, 4>), grid, block, shared_bytes, stream, args...);
//       starts a kernel on a Stream of atrous; throws CudaError that names the kernel if it could not start
//   ATROUS_SHARED(float, tile, [8][33]);   a static shared array
//   ATROUS_DYN_SHARED(bytes);              the dynamic shared memory: unsigned char*, aligned to 128 bytes
//   ATROUS_UNROLL, ATROUS_NO_UNROLL        before a loop

#if !defined(ATROUS_CUDA_EMULATED)

#define ATROUS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                        \
  do {                                                                                                       \
    ::atrous::detail::use_device((stream).device.index);                                                     \
    kernel<<<(grid), (block), (shared_bytes), static_cast<cudaStream_t>((stream).handle)>>>(__VA_ARGS__);    \
    ::atrous::detail::check_launch(#kernel, static_cast<cudaStream_t>((stream).handle), __FILE__, __LINE__); \
  } while (false)
#define ATROUS_SHARED(T, name, dims) __shared__ T name dims
#define ATROUS_DYN_SHARED(name)                                        \
  extern __shared__ __align__(128) unsigned char atrous_dyn_shared_[]; \
  unsigned char* name = atrous_dyn_shared_
#define ATROUS_UNROLL _Pragma("unroll")
#define ATROUS_NO_UNROLL _Pragma("unroll 1")

#else

#define ATROUS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                        \
  do {                                                                                                       \
    ::atrous::detail::use_device((stream).device.index);                                                     \
    ::atrous::emu::launch(#kernel, kernel, (grid), (block), (shared_bytes),                                  \
                          static_cast<cudaStream_t>((stream).handle), __VA_ARGS__);                          \
    ::atrous::detail::check_launch(#kernel, static_cast<cudaStream_t>((stream).handle), __FILE__, __LINE__); \
  } while (false)
#define ATROUS_SHARED(T, name, dims)                  \
  static char name##_site_;                           \
  using name##_array_ = T dims;                       \
  name##_array_& name = *static_cast<name##_array_*>( \
      ::atrous::emu::static_shared(&name##_site_, sizeof(name##_array_), alignof(name##_array_), #name))
#define ATROUS_DYN_SHARED(name) \
  unsigned char* name = static_cast<unsigned char*>(::atrous::emu::dynamic_shared())
#define ATROUS_UNROLL
#define ATROUS_NO_UNROLL

#endif

namespace atrous::kernels::cuda {

/// 16 and 8 bytes in one access; the address is a multiple of that.
__device__ __forceinline__ uint4 load16(const void* p) {
#if defined(ATROUS_CUDA_EMULATED)
  return emu::load_vector<uint4>(p);
#else
  return *static_cast<const uint4*>(p);
#endif
}
__device__ __forceinline__ void store16(void* p, uint4 v) {
#if defined(ATROUS_CUDA_EMULATED)
  emu::store_vector(p, v);
#else
  *static_cast<uint4*>(p) = v;
#endif
}
__device__ __forceinline__ uint2 load8(const void* p) {
#if defined(ATROUS_CUDA_EMULATED)
  return emu::load_vector<uint2>(p);
#else
  return *static_cast<const uint2*>(p);
#endif
}
__device__ __forceinline__ void store8(void* p, uint2 v) {
#if defined(ATROUS_CUDA_EMULATED)
  emu::store_vector(p, v);
#else
  *static_cast<uint2*>(p) = v;
#endif
}

/// Two bf16 in a word, the first in the low half.
__device__ __forceinline__ float2 unpack_bf16(std::uint32_t pair) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}
/// Rounds to nearest, ties to even. A NaN stays one, with bits of its own on a device.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
#if defined(ATROUS_CUDA_EMULATED)
  return std::uint32_t(bf16(high).bits) << 16 | bf16(low).bits;
#else
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#endif
}

/// v between 0 and `ceiling` in two instructions; NaN stays NaN.
__device__ __forceinline__ float clamp_or_nan(float v, float ceiling) {
#if defined(ATROUS_CUDA_EMULATED)
  return v <= 0 ? 0 : v >= ceiling ? ceiling : v;
#else
  asm("max.NaN.f32 %0, %0, 0f00000000;" : "+f"(v));
  asm("min.NaN.f32 %0, %0, %1;" : "+f"(v) : "f"(ceiling));
  return v;
#endif
}

}  // namespace atrous::kernels::cuda
