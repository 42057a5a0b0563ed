#pragma once

#include <cstdint>

#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/kernel.h"
#include "atrous/kernels/window.h"

// Depthwise convolution: every input channel has filters of its own, `multiplier` of them, and channels are
// never mixed. Output channel k is made from input channel k / multiplier. Little arithmetic for each byte
// read, so its speed is that of memory: floats with multiplier 1 and 16 channels or more take
// depthwise_conv2d_fast.h, which reads an input once for several outputs, everything else the plain loops of
// depthwise_conv2d_body.h; on a CUDA device windows of 3x3 do the same in depthwise_conv2d_rows.cuh. The bias
// has the gradient of conv2d's (conv2d_backward_bias).

namespace atrous::kernels {

/// Sizes of one depthwise convolution. out_h and out_w are window_positions() of the axis.
struct DepthwiseConv2dDims {
  std::int64_t batch = 0, in_h = 0, in_w = 0, channels = 0, multiplier = 1;
  std::int64_t out_h = 0, out_w = 0;
  std::int64_t window_h = 1, window_w = 1;
  PerAxis stride = 1;
  Padding padding = 0;
  PerAxis rate = 1;

  ATROUS_HD constexpr std::int64_t out_channels() const { return channels * multiplier; }
  ATROUS_HD constexpr std::int64_t out_pixels() const { return batch * out_h * out_w; }
  ATROUS_HD constexpr std::int64_t in_pixels() const { return batch * in_h * in_w; }
  ATROUS_HD constexpr std::int64_t taps() const { return window_h * window_w; }
};

/// Elements of T that the kernels below need as `workspace` on a device. Its content is undefined before and
/// after; it is aligned as Accumulator<T> is.
template <class T>
std::int64_t depthwise_conv2d_forward_workspace_size(const DepthwiseConv2dDims& dims, Device device = kCpu);
template <class T>
std::int64_t depthwise_conv2d_backward_input_workspace_size(const DepthwiseConv2dDims& dims,
                                                            Device device = kCpu);
template <class T>
std::int64_t depthwise_conv2d_backward_weight_workspace_size(const DepthwiseConv2dDims& dims,
                                                             Device device = kCpu);

/// y[n,oh,ow,k] = activation(bias[k] + sum over r,s of
///                x[n, oh*stride.h + r*rate.h - padding.top, ow*stride.w + s*rate.w - padding.left, k/M] *
///                weight[r,s,k])
///
///   x       [N, H, W, C]; reads outside of it count as zero
///   weight  [R, S, C, M], which is [R, S, K] with K = C*M
///   y       [N, OH, OW, K], overwritten
ATROUS_KERNEL(depthwise_conv2d_forward, const DepthwiseConv2dDims& dims, Span<const T> x,
              Span<const T> weight, const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y);

/// dx[n,h,w,c] = sum over r,s and the outputs oh,ow whose tap (r,s) reads (h,w), and over m, of
///               dy[n,oh,ow,c*M+m] * weight[r,s,c,m]
ATROUS_KERNEL(depthwise_conv2d_backward_input, const DepthwiseConv2dDims& dims, Span<const T> dy,
              Span<const T> weight, Span<T> workspace, Span<T> dx);

/// dweight[r,s,k] = sum over n,oh,ow of x[n, as in forward, k/M] * dy[n,oh,ow,k], as a number of partial sums
/// over rows of dy (cut by the shape alone), then over those.
ATROUS_KERNEL(depthwise_conv2d_backward_weight, const DepthwiseConv2dDims& dims, Span<const T> x,
              Span<const T> dy, Span<T> workspace, Span<T> dweight);

}  // namespace atrous::kernels
