#pragma once

#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

// The depthwise convolution of floats with multiplier 1, by the vector kernels of depthwise_conv2d_simd.h.
// Two ways, chosen by the sizes alone: windows of 3x3 whose outputs share inputs (every rate at stride 1,
// stride 2 at rate 1) and of 5x5 at stride 1 go in tiles that read each input once for several outputs; every
// other window, the gradient by the input of a strided convolution and that of a 5x5 weight go tap by tap.
// Taps that lie in the padding cost nothing.

namespace atrous::kernels::fast {

/// Whether these sizes are served; others take the plain loops.
bool takes(const DepthwiseConv2dDims& dims);
/// Floats that forward and backward_input need.
std::int64_t packed_size(const DepthwiseConv2dDims& dims);
/// Floats that backward_weight needs.
std::int64_t partial_size(const DepthwiseConv2dDims& dims);

void depthwise_forward(const DepthwiseConv2dDims& dims, Span<const float> x, Span<const float> weight,
                       const Conv2dEpilogue<float>& epilogue, Span<float> workspace, Span<float> y);
void depthwise_backward_input(const DepthwiseConv2dDims& dims, Span<const float> dy, Span<const float> weight,
                              Span<float> workspace, Span<float> dx);
void depthwise_backward_weight(const DepthwiseConv2dDims& dims, Span<const float> x, Span<const float> dy,
                               Span<float> workspace, Span<float> dweight);

}  // namespace atrous::kernels::fast
