#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// The Gaussian sum over the pixels of an image whose only features are their places: it falls into a sum over
// rows and one over columns. Exact but for taps beyond 5 standard deviations, which are worth 6e-7 of the
// sum, and for zeros outside of the image.

namespace atrous::kernels {

struct SeparableGaussianDims {
  std::int64_t height, width, classes;
  double sigma_x, sigma_y;  // pixels
};

/// Taps on each side: 5 standard deviations, rounded up, at most `size` - 1.
std::int64_t separable_gaussian_radius(double sigma, std::int64_t size);

/// out[y,x] = post[y,x] sum over v of exp(-(y-v)^2 / (2 sigma_y^2)) sum over u of exp(-(x-u)^2 / (2
/// sigma_x^2)) pre[v,u] values[v,u]
///   values, out  [height, width, classes]; out is overwritten and may not be values
///   pre, post    [height, width], or empty for ones
///   rows         [height, width, classes], scratch
ATROUS_KERNEL(separable_gaussian, const SeparableGaussianDims& dims, Span<const T> pre, Span<const T> post,
              Span<const T> values, Span<T> rows, Span<T> out);

}  // namespace atrous::kernels
