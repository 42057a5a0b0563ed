#pragma once

#include "atrous/core/span.h"
#include "atrous/kernels/reduce/block_reduce.cuh"
#include "atrous/kernels/reduce/scan.h"

// For each of n integers the sum of those before it: the sums of tiles, those before each tile, then each
// tile by itself.

namespace atrous::kernels::cuda {

/// Elements blockIdx.x * kScanTile + round * kScanThreads + threadIdx.x, round by round.
__device__ __forceinline__ std::int64_t scan_element(int round) {
  return std::int64_t(blockIdx.x) * kScanTile + round * kScanThreads + threadIdx.x;
}

template <class In>
__global__ void __launch_bounds__(kScanThreads)
    scan_tile_sums_kernel(std::int64_t n, In in, std::int32_t* of_tiles) {
  std::int32_t sum = 0;
  for (int round = 0; round < kScanRounds; ++round) {
    const std::int64_t i = scan_element(round);
    if (i < n) sum += in(i);
  }
  sum = block_reduce<kScanThreads>(sum, Sum());
  if (threadIdx.x == 0) of_tiles[blockIdx.x] = sum;
}

// One block. of_tiles becomes what is before each tile; total, if it is not null, the sum of all.
template <int Threads>  // a template, as nvcc takes no inline kernels
__global__ void __launch_bounds__(Threads)
    scan_tiles_kernel(std::int32_t* of_tiles, std::int64_t tiles, std::int32_t* total) {
  std::int32_t before = 0;
  for (std::int64_t first = 0; first < tiles; first += Threads) {
    const std::int64_t i = first + threadIdx.x;
    const std::int32_t value = i < tiles ? of_tiles[i] : 0;
    std::int32_t here;
    const std::int32_t sum = before + threads_before<Threads>(value, here);
    if (i < tiles) of_tiles[i] = sum;
    before += here;
  }
  if (threadIdx.x == 0 && total) *total = before;
}

template <class In, class Out>
__global__ void __launch_bounds__(kScanThreads)
    scan_kernel(std::int64_t n, In in, Out out, const std::int32_t* before_tiles) {
  std::int32_t before = before_tiles[blockIdx.x];
  for (int round = 0; round < kScanRounds; ++round) {
    const std::int64_t i = scan_element(round);
    const std::int32_t value = i < n ? in(i) : 0;
    std::int32_t here;
    const std::int32_t sum = before + threads_before<kScanThreads>(value, here);
    if (i < n) out(i, value, sum);
    before += here;
  }
}

/// out(i, in(i), sum of in(j) over j < i) for every i in 0..n-1, n >= 1; the sum of all in total[0] unless
/// that is null. Sums are below 2^31. in() may read what out() writes for the same i.
///   of_tiles  [scan_tiles(n)], scratch
template <class In, class Out>
void exclusive_scan(Stream stream, std::int64_t n, const In& in, const Out& out, Span<std::int32_t> of_tiles,
                    std::int32_t* total = nullptr) {
  const std::int64_t tiles = scan_tiles(n);
  ATROUS_LAUNCH((scan_tile_sums_kernel<In>), unsigned(tiles), kScanThreads, 0, stream, n, in,
                of_tiles.data());
  ATROUS_LAUNCH((scan_tiles_kernel<kScanThreads>), 1, kScanThreads, 0, stream, of_tiles.data(), tiles, total);
  ATROUS_LAUNCH((scan_kernel<In, Out>), unsigned(tiles), kScanThreads, 0, stream, n, in, out,
                static_cast<const std::int32_t*>(of_tiles.data()));
}

}  // namespace atrous::kernels::cuda
