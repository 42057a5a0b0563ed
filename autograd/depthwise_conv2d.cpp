#include "atrous/autograd/depthwise_conv2d.h"

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

namespace atrous {
namespace {

kernels::DepthwiseConv2dDims checked_dims(const Variable& x, const Variable& weight, const Variable& bias,
                                          const Conv2dOptions& options) {
  constexpr Op op = Op::depthwise_conv2d;
  check_rank(op, "x", x, 4, "[N, H, W, C]");
  check_rank(op, "weight", weight, 4, "[R, S, C, M]");
  check_match(op, "x", x, "weight", weight);
  check_sliding(op, options.stride, options.padding, options.rate);
  ATROUS_CHECK(ShapeError, weight.dim(2) == x.dim(3), op_name(op), "weight ", weight.shape(), " expects ",
               weight.dim(2), " input channels; x ", x.shape(), " has ", x.dim(3));
  ATROUS_CHECK(ShapeError, weight.value().numel() > 0, op_name(op), "weight ", weight.shape(), " is empty");
  const std::int64_t k = weight.dim(2) * weight.dim(3);
  if (bias.defined()) {
    check_match(op, "x", x, "bias", bias);
    ATROUS_CHECK(ShapeError, bias.shape() == Shape({k}), op_name(op), "bias ", bias.shape(), " must be [", k,
                 "], a number for each output channel of weight ", weight.shape());
  }
  const Padding& p = options.padding;
  const std::int64_t out_h =
      window_positions(x.dim(1), p.top, p.bottom, weight.dim(0), options.rate.h, options.stride.h);
  const std::int64_t out_w =
      window_positions(x.dim(2), p.left, p.right, weight.dim(1), options.rate.w, options.stride.w);
  ATROUS_CHECK(ShapeError, out_h > 0 && out_w > 0, op_name(op), "weight ", weight.shape(), " at rate ",
               options.rate, " with padding ", p, " leaves no output pixel of x ", x.shape());
  return {.batch = x.dim(0),
          .in_h = x.dim(1),
          .in_w = x.dim(2),
          .channels = x.dim(3),
          .multiplier = weight.dim(3),
          .out_h = out_h,
          .out_w = out_w,
          .window_h = weight.dim(0),
          .window_w = weight.dim(1),
          .stride = options.stride,
          .padding = p,
          .rate = options.rate};
}

template <class T>
Tensor workspace(const Tensor& beside, std::int64_t size) {
  return Tensor::empty({size}, dtype_of<T>(), beside.device());
}

template <class T>
void backward_input(const kernels::DepthwiseConv2dDims& dims, const Tensor& dy, const Tensor& weight,
                    Tensor dx) {
  Tensor scratch =
      workspace<T>(dy, kernels::depthwise_conv2d_backward_input_workspace_size<T>(dims, dy.device()));
  kernels::depthwise_conv2d_backward_input<T>(dy.stream(), dims, dy.span<T>(), weight.span<T>(),
                                              scratch.span<T>(), dx.span<T>());
}

template <class T>
void backward_weight(const kernels::DepthwiseConv2dDims& dims, const Tensor& x, const Tensor& dy,
                     Tensor dweight) {
  Tensor scratch =
      workspace<T>(dy, kernels::depthwise_conv2d_backward_weight_workspace_size<T>(dims, dy.device()));
  kernels::depthwise_conv2d_backward_weight<T>(dy.stream(), dims, x.span<T>(), dy.span<T>(),
                                               scratch.span<T>(), dweight.span<T>());
}

template <class T>
void backward_bias(const kernels::DepthwiseConv2dDims& dims, const Tensor& dy, Tensor dbias) {
  const kernels::Conv2dDims sizes{
      .batch = dims.batch, .out_h = dims.out_h, .out_w = dims.out_w, .out_channels = dims.out_channels()};
  Tensor scratch = workspace<T>(dy, kernels::conv2d_backward_bias_workspace_size<T>(sizes));
  kernels::conv2d_backward_bias<T>(dy.stream(), sizes, dy.span<T>(), scratch.span<T>(), dbias.span<T>());
}

}  // namespace

Variable depthwise_conv2d(const Variable& x, const Variable& weight, const Variable& bias,
                          const Conv2dOptions& options) {
  const kernels::DepthwiseConv2dDims dims = checked_dims(x, weight, bias, options);  // throws here
  Tensor y = Tensor::empty({dims.batch, dims.out_h, dims.out_w, dims.out_channels()}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    Tensor scratch = workspace<T>(y, kernels::depthwise_conv2d_forward_workspace_size<T>(dims, y.device()));
    kernels::Conv2dEpilogue<T> epilogue;
    if (bias.defined()) epilogue.bias = bias.value().span<T>();
    kernels::depthwise_conv2d_forward<T>(x.stream(), dims, x.value().span<T>(), weight.value().span<T>(),
                                         epilogue, scratch.span<T>(), y.span<T>());
  });
  // Each gradient reads the other factor only.
  const Tensor kept_x = weight.requires_grad() ? x.value() : Tensor();
  const Tensor kept_weight = x.requires_grad() ? weight.value() : Tensor();
  return record(Op::depthwise_conv2d, y, {x, weight, bias},
                [dims, kept_x, kept_weight](const Tensor& dy, Gradients& grads) {
                  visit_float(dy.dtype(), [&]<class T>() {
                    if (grads.needed(0)) backward_input<T>(dims, dy, kept_weight, grads.empty(0));
                    if (grads.needed(1)) backward_weight<T>(dims, kept_x, dy, grads.empty(1));
                    if (grads.needed(2)) backward_bias<T>(dims, dy, grads.empty(2));
                  });
                });
}

}  // namespace atrous
