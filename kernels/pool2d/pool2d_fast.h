#pragma once

#include "atrous/kernels/pool2d/pool2d.h"

// Pooling of floats by the vector kernels of pool2d_simd.h. The functions return false, having done nothing,
// for sizes that are left to the plain loops.

namespace atrous::kernels::fast {

bool max_pool_forward(const Pool2dDims& dims, Span<const float> x, Span<float> y, MaxTaps taps);
bool max_pool_backward(const Pool2dDims& dims, Span<const float> dy, MaxTaps taps, Span<float> dx);
bool avg_pool_forward(const Pool2dDims& dims, Span<const float> x, Span<float> y);
bool avg_pool_backward(const Pool2dDims& dims, Span<const float> dy, Span<float> dx);
bool global_avg_pool_forward(std::int64_t batch, std::int64_t height, std::int64_t width,
                             std::int64_t channels, Span<const float> x, Span<float> y);
bool global_avg_pool_backward(std::int64_t batch, std::int64_t pixels, std::int64_t channels,
                              Span<const float> dy, Span<float> dx);

}  // namespace atrous::kernels::fast
