#pragma once

#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/kernel.h"

// The transposed convolution is conv2d_backward_input under another name: its input x is the gradient dy of a
// convolution, its output y is that convolution's dx. So its own gradients are conv2d_forward (by x) and
// conv2d_backward_weight (by the weight), and dims are those of that convolution: in_* describe y, out_* x.

namespace atrous::kernels {

template <class T>
std::int64_t conv_transpose2d_forward_workspace_size(const Conv2dDims& dims, Device device = kCpu) {
  return conv2d_backward_input_workspace_size<T>(dims, device);
}

/// y[n,i,j,k] = bias[k] + sum over r,s,c of x[n,h,w,c] * weight[r,s,k,c],
///              where h*stride.h + r*rate.h - padding.top = i and the same for columns
///
///   x       [batch, out_h, out_w, out_channels]
///   weight  [window_h, window_w, in_channels, out_channels]
///   bias    [in_channels], or empty for none
///   y       [batch, in_h, in_w, in_channels], overwritten
ATROUS_KERNEL(conv_transpose2d_forward, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
              Span<const T> bias, Span<T> workspace, Span<T> y);

}  // namespace atrous::kernels
