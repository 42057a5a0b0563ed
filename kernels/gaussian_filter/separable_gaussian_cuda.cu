#include "atrous/kernels/for_each_cuda.cuh"
#include "atrous/kernels/gaussian_filter/separable_gaussian.h"
#include "atrous/kernels/gaussian_filter/separable_gaussian_body.h"

namespace atrous::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostTaps = 1024;                // of one side, in shared memory
constexpr std::int64_t kMostBlocks = 132 * 8;  // each finds all weights, so that they are worth it

// A thread owns elements i, i + threads of the grid, ... Floor: bytes of `from` and `to`; neighbours' taps
// come from the cache.
template <class T>
__global__ void __launch_bounds__(kThreads) gaussian_axis_kernel(std::int64_t n, GaussianAlongAxis<T> axis) {
  ATROUS_SHARED(T, weights, [kMostTaps]);
  for (int k = int(threadIdx.x); k <= int(axis.radius); k += kThreads) weights[k] = axis.weight(k);
  __syncthreads();
  const std::int64_t stride = std::int64_t(gridDim.x) * kThreads;
  for (std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += stride)
    axis.element(i, [&](std::int64_t k) { return weights[k]; });
}

template <class T>
void along_axis(Stream stream, std::int64_t n, const GaussianAlongAxis<T>& axis) {
  if (n == 0) return;
  if (axis.radius >= kMostTaps) return for_each(stream, n, axis);
  const std::int64_t blocks = (n + kThreads - 1) / kThreads;
  ATROUS_LAUNCH((gaussian_axis_kernel<T>), unsigned(blocks < kMostBlocks ? blocks : kMostBlocks), kThreads, 0,
                stream, n, axis);
}

}  // namespace

template <class T>
void separable_gaussian(Stream stream, const SeparableGaussianDims& dims, Span<const T> pre,
                        Span<const T> post, Span<const T> values, Span<T> rows, Span<T> out) {
  along_axis(stream, values.size(), gaussian_along_x<T>(dims, pre, values, rows));
  along_axis(stream, values.size(), gaussian_along_y<T>(dims, post, rows, out));
}
ATROUS_INSTANTIATE_F32_F64(separable_gaussian);

}  // namespace atrous::kernels::cuda
