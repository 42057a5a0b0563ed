#pragma once

#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

// A separable convolution for inference, in one step: the depthwise half with its bias and activation (the
// folded batch norm between the halves), then the pointwise half with its own. On a CUDA device bf16 maps go
// through one kernel that never stores what lies between the halves: half of the memory traffic of two. On
// the CPU it is the two kernels. Training keeps what lies between, and so calls the two itself.

namespace atrous::kernels {

struct SeparableConv2dDims {
  DepthwiseConv2dDims depthwise;
  std::int64_t out_channels = 0;
};

/// Whether separable_conv2d_forward is to be preferred to the two kernels one after the other, by shape,
/// dtype and device. On a CUDA device: bf16, whole vectors of 8 channels on both sides, and at most 256
/// outputs (each 128 of them make the depthwise half anew). On the CPU it is the same two kernels, with a
/// workspace for what lies between: no.
bool separable_conv2d_pays(const SeparableConv2dDims& dims, Dtype dtype, Device device);

/// Elements of T that separable_conv2d_forward needs as `workspace` on a device.
template <class T>
std::int64_t separable_conv2d_forward_workspace_size(const SeparableConv2dDims& dims, Device device = kCpu);

/// y[p,k] = activation(bias[k] + sum over c of z[p,c] * pointwise[c,k]), z the result of
/// depthwise_conv2d_forward on x with `depthwise` and its epilogue, rounded to T
///
///   x          [N, H, W, C]
///   depthwise  [R, S, C, M]
///   pointwise  [C*M, K]
///   y          [N, OH, OW, K], overwritten
ATROUS_KERNEL(separable_conv2d_forward, const SeparableConv2dDims& dims, Span<const T> x,
              Span<const T> depthwise, const Conv2dEpilogue<T>& between, Span<const T> pointwise,
              const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y);

}  // namespace atrous::kernels
