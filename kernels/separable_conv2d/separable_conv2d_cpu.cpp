#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/separable_conv2d/separable_conv2d.h"

namespace atrous::kernels {
namespace {

Conv2dDims pointwise_dims(const SeparableConv2dDims& dims) {
  const DepthwiseConv2dDims& d = dims.depthwise;
  Conv2dDims p;
  p.batch = d.batch, p.in_h = p.out_h = d.out_h, p.in_w = p.out_w = d.out_w;
  p.in_channels = d.out_channels(), p.out_channels = dims.out_channels;
  return p;
}

// What lies between the halves, in elements: cut so that scratch behind it is aligned.
std::int64_t between_size(const DepthwiseConv2dDims& d) {
  return (d.out_pixels() * d.out_channels() + 31) / 32 * 32;
}

}  // namespace

bool separable_conv2d_pays(const SeparableConv2dDims& dims, Dtype dtype, Device device) {
  return !device.is_cpu() && dtype == Dtype::bf16 && dims.depthwise.multiplier == 1 &&
         dims.depthwise.channels % 8 == 0 && dims.out_channels % 8 == 0 && dims.out_channels <= 256;
}

template <class T>
std::int64_t separable_conv2d_forward_workspace_size(const SeparableConv2dDims& dims, Device device) {
  if (!device.is_cpu()) return 0;
  return between_size(dims.depthwise) + depthwise_conv2d_forward_workspace_size<T>(dims.depthwise) +
         conv2d_forward_workspace_size<T>(pointwise_dims(dims));
}
ATROUS_INSTANTIATE(separable_conv2d_forward_workspace_size);

namespace cpu {

template <class T>
void separable_conv2d_forward(Stream stream, const SeparableConv2dDims& dims, Span<const T> x,
                              Span<const T> depthwise, const Conv2dEpilogue<T>& between,
                              Span<const T> pointwise, const Conv2dEpilogue<T>& epilogue, Span<T> workspace,
                              Span<T> y) {
  const DepthwiseConv2dDims& d = dims.depthwise;
  const Span<T> z = workspace.part(0, d.out_pixels() * d.out_channels());
  const std::int64_t start = between_size(d), scratch = depthwise_conv2d_forward_workspace_size<T>(d);
  depthwise_conv2d_forward<T>(stream, d, x, depthwise, between, workspace.part(start, scratch), z);
  const Conv2dDims p = pointwise_dims(dims);
  conv2d_forward<T>(stream, p, z, pointwise, epilogue,
                    workspace.part(workspace.size() - conv2d_forward_workspace_size<T>(p),
                                   conv2d_forward_workspace_size<T>(p)),
                    y);
}
ATROUS_INSTANTIATE(separable_conv2d_forward);

}  // namespace cpu
}  // namespace atrous::kernels
