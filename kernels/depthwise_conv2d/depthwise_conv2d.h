#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"
#include "atrous/kernels/window.h"

// Depthwise convolution: every input channel has filters of its own, `multiplier` of them, and channels are
// never mixed. Next to no arithmetic for each byte read, so its speed is that of memory. Output channel k is
// made from input channel k / multiplier.

namespace atrous::kernels {

struct DepthwiseConv2dDims {
  std::int64_t batch, in_h, in_w, channels, multiplier, taps_h, taps_w, out_h, out_w;
  PerAxis stride, rate;
  Padding padding;

  std::int64_t out_channels() const { return channels * multiplier; }
  std::int64_t taps() const { return taps_h * taps_w; }
};

/// y[n,oh,ow,k] = bias[k] + sum over r,s of
///                x[n, oh*stride + r*rate - padding.top, ow*stride + s*rate - padding.left, k/M] *
///                weight[r,s,k]
///
///   x       [N, H, W, C]; reads outside it count as zero
///   weight  [R, S, C, M], read as [R, S, K] with K = C*M
///   bias    [K], or empty for none
///   y       [N, OH, OW, K]
ATROUS_KERNEL(depthwise_conv2d_forward, const DepthwiseConv2dDims& dims, Span<const T> x,
              Span<const T> weight, Span<const T> bias, Span<T> y, Span<T> workspace);
std::int64_t depthwise_conv2d_forward_workspace_size(const DepthwiseConv2dDims& dims);

/// dx[n,h,w,c] = sum over r,s and the outputs oh,ow whose tap (r,s) reads (h,w), and over m, of
///               dy[n,oh,ow,c*M+m] * weight[r,s,c,m]
ATROUS_KERNEL(depthwise_conv2d_backward_input, const DepthwiseConv2dDims& dims, Span<const T> dy,
              Span<const T> weight, Span<T> dx, Span<T> workspace);
std::int64_t depthwise_conv2d_backward_input_workspace_size(const DepthwiseConv2dDims& dims);

/// dweight[r,s,k] = sum over n,oh,ow of x[n, as in forward, k/M] * dy[n,oh,ow,k], as a fixed number of
/// partial sums over rows of dy (cut by the shape alone), then over those.
ATROUS_KERNEL(depthwise_conv2d_backward_weight, const DepthwiseConv2dDims& dims, Span<const T> x,
              Span<const T> dy, Span<T> dweight, Span<T> workspace);
std::int64_t depthwise_conv2d_backward_weight_workspace_size(const DepthwiseConv2dDims& dims);

/// dbias[k] = sum over n,oh,ow of dy[n,oh,ow,k]
ATROUS_KERNEL(depthwise_conv2d_backward_bias, const DepthwiseConv2dDims& dims, Span<const T> dy,
              Span<T> dbias, Span<T> workspace);
std::int64_t depthwise_conv2d_backward_bias_workspace_size(const DepthwiseConv2dDims& dims);

}  // namespace atrous::kernels
