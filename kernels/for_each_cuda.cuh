#pragma once

#include <cstdint>

#include "atrous/kernels/cuda.cuh"

// How a body of <family>_body.h is run over every output element on a CUDA device.

namespace atrous::kernels::cuda {

inline constexpr unsigned kForEachThreads = 256;
inline constexpr std::int64_t kForEachBlocks =
    1 << 20;  // more elements than these hold: each thread takes several

// A thread owns elements i, i + threads of the grid, ...; neighbours in a warp own neighbours in memory.
// Two blocks at least: up to 128 registers, or the assembler spills a few to have more blocks.
template <class Body>
__global__ void __launch_bounds__(kForEachThreads, 2) for_each_kernel(std::int64_t n, Body body) {
  const std::int64_t stride = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) body(i);
}

/// Runs body(i) for every i in 0..n-1, a thread an element. The bodies do not depend on each other.
template <class Body>
void for_each(Stream stream, std::int64_t n, const Body& body) {
  if (n <= 0) return;
  const std::int64_t blocks = (n + kForEachThreads - 1) / kForEachThreads;
  const unsigned grid = unsigned(blocks < kForEachBlocks ? blocks : kForEachBlocks);
  ATROUS_LAUNCH((for_each_kernel<Body>), grid, kForEachThreads, 0, stream, n, body);
}

}  // namespace atrous::kernels::cuda
