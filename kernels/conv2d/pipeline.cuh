#pragma once

#include "atrous/kernels/conv2d/gemm_tile.cuh"

// What the convolution's tiled kernels share beside the tile: the ring of stages between copies and
// multiplication, and small helpers of index arithmetic.

namespace atrous::kernels::cuda {

inline constexpr int kStages = 4;

/// q / d for q * d < 2^32 in one multiplication.
class SmallDivisor {
 public:
  __device__ __forceinline__ explicit SmallDivisor(int d) : d_(d), factor_(0xffffffffu / unsigned(d) + 1) {}
  __device__ __forceinline__ int divide(int q) const {
    return d_ == 1 ? q : int((std::uint64_t(unsigned(q)) * factor_) >> 32);
  }

 private:
  int d_;
  unsigned factor_;
};

/// Two neighbouring elements of shared memory, the first at an even place.
__device__ __forceinline__ void put_pair(float* to, float a, float b) {
  store8(to, make_uint2(__float_as_uint(a), __float_as_uint(b)));
}
__device__ __forceinline__ void put_pair(bf16* to, bf16 a, bf16 b) {
  *reinterpret_cast<std::uint32_t*>(to) = std::uint32_t(b.bits) << 16 | a.bits;
}
/// The same, rounding sums.
__device__ __forceinline__ void put_sums(float* to, float a, float b) { put_pair(to, a, b); }
__device__ __forceinline__ void put_sums(bf16* to, float a, float b) {
  *reinterpret_cast<std::uint32_t*>(to) = pack_bf16(a, b);
}

inline bool at_chunks(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

/// Multiplies steps [first, last) into `tile`: copy(step, a, b) puts the factors of a step into a stage, by
/// cp.async or by stores, three steps ahead. One barrier a step. Afterwards the stages are free.
template <class Tile, class Copy>
__device__ __forceinline__ void multiply_steps(Tile& tile, typename Tile::Element* stages, int first,
                                               int last, const Copy& copy) {
  constexpr int kA = Tile::ALayout::kBytes / int(sizeof(typename Tile::Element));
  constexpr int kStage = kA + Tile::BLayout::kBytes / int(sizeof(typename Tile::Element));
  const auto fetch = [&](int step) {
    typename Tile::Element* stage = stages + (step - first) % kStages * kStage;
    if (step < last) copy(step, stage, stage + kA);
    cp_async_commit();  // an empty group too: waiting counts groups
  };
  for (int step = first; step < first + kStages - 1; ++step) fetch(step);
  for (int step = first; step < last; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // the copies of all threads have landed, and the stage of the step before is free
    fetch(step + kStages - 1);
    const typename Tile::Element* stage = stages + (step - first) % kStages * kStage;
    tile.multiply(stage, stage + kA);
  }
  cp_async_wait<0>();
  __syncthreads();
}

}  // namespace atrous::kernels::cuda
