#pragma once

#include <limits>

#include "atrous/kernels/cuda.cuh"

// Reductions over the threads of a warp and of a block, in an order that is always the same.

namespace atrous::kernels::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;
/// A variable, because std::numeric_limits' functions are not for device code.
template <class A>
inline constexpr A kMinusInfinity = -std::numeric_limits<A>::infinity();

struct Sum {
  template <class V>
  __device__ __forceinline__ V operator()(V a, V b) const {
    return a + b;
  }
};

struct Largest {
  template <class V>
  __device__ __forceinline__ V operator()(V a, V b) const {
    return b > a ? b : a;
  }
};

/// join over each group of `lanes` neighbouring lanes (a power of two), in all of them: neighbours first,
/// then pairs of them. Every lane of the warp takes part.
template <class V, class Join>
__device__ __forceinline__ V lanes_reduce(V value, int lanes, const Join& join) {
  for (int distance = 1; distance < lanes; distance *= 2)
    value = join(value, __shfl_xor_sync(kAllLanes, value, distance));
  return value;
}

template <class V, class Join>
__device__ __forceinline__ V warp_reduce(V value, const Join& join) {
  ATROUS_UNROLL
  for (int distance = 1; distance < 32; distance *= 2)
    value = join(value, __shfl_xor_sync(kAllLanes, value, distance));
  return value;
}

/// join over a block of `Threads` threads, in all of them: within warps, then warp after warp. May be called
/// again at once.
template <int Threads, class V, class Join>
__device__ __forceinline__ V block_reduce(V value, const Join& join) {
  ATROUS_SHARED(V, of_warps, [Threads / 32]);
  value = warp_reduce(value, join);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  V all = of_warps[0];
  ATROUS_UNROLL
  for (int w = 1; w < Threads / 32; ++w) all = join(all, of_warps[w]);
  __syncthreads();
  return all;
}

/// The sum over lanes before this one, of the warp.
template <class V>
__device__ __forceinline__ V lanes_before(V value) {
  V sum = value;
  ATROUS_UNROLL
  for (int distance = 1; distance < 32; distance *= 2) {
    const V other = __shfl_up_sync(kAllLanes, sum, unsigned(distance));
    if (int(threadIdx.x % 32) >= distance) sum += other;
  }
  return sum - value;
}

/// The sum over threads before this one, of a block of `Threads`; `total` is that of the block.
template <int Threads, class V>
__device__ __forceinline__ V threads_before(V value, V& total) {
  ATROUS_SHARED(V, of_warps, [Threads / 32]);
  const V before = lanes_before(value);
  if (threadIdx.x % 32 == 31) of_warps[threadIdx.x / 32] = before + value;
  __syncthreads();
  V sum = before;
  total = 0;
  for (unsigned w = 0; w < Threads / 32; ++w) {
    if (w < threadIdx.x / 32) sum += of_warps[w];
    total += of_warps[w];
  }
  __syncthreads();
  return sum;
}

}  // namespace atrous::kernels::cuda
