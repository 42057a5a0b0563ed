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
          .taps_h = weight.dim(0),
          .taps_w = weight.dim(1),
          .out_h = out_h,
          .out_w = out_w,
          .stride = options.stride,
          .rate = options.rate,
          .padding = p};
}

Tensor workspace_for(const Tensor& like, std::int64_t size) {
  return Tensor::empty({size}, like.dtype(), like.device());
}

}  // namespace

Variable depthwise_conv2d(const Variable& x, const Variable& weight, const Variable& bias,
                          const Conv2dOptions& options) {
  const kernels::DepthwiseConv2dDims dims = checked_dims(x, weight, bias, options);
  Tensor y = Tensor::empty({dims.batch, dims.out_h, dims.out_w, dims.out_channels()}, x.dtype(), x.device());
  Tensor workspace = workspace_for(y, kernels::depthwise_conv2d_forward_workspace_size(dims));
  visit_float(x.dtype(), [&]<class T>() {
    kernels::depthwise_conv2d_forward<T>(x.stream(), dims, x.value().span<T>(), weight.value().span<T>(),
                                         bias.defined() ? bias.value().span<T>() : Span<const T>(),
                                         y.span<T>(), workspace.span<T>());
  });

  const Tensor kept_x = weight.requires_grad() ? x.value() : Tensor();
  const Tensor kept_weight = x.requires_grad() ? weight.value() : Tensor();
  return record(
      Op::depthwise_conv2d, y, {x, weight, bias},
      [dims, kept_x, kept_weight](const Tensor& dy, Gradients& grads) {
        visit_float(dy.dtype(), [&]<class T>() {
          if (grads.needed(0)) {
            Tensor dx = grads.empty(0);
            Tensor scratch = workspace_for(dy, kernels::depthwise_conv2d_backward_input_workspace_size(dims));
            kernels::depthwise_conv2d_backward_input<T>(
                dy.stream(), dims, dy.span<T>(), kept_weight.span<T>(), dx.span<T>(), scratch.span<T>());
          }
          if (grads.needed(1)) {
            Tensor dweight = grads.empty(1);
            Tensor scratch =
                workspace_for(dy, kernels::depthwise_conv2d_backward_weight_workspace_size(dims));
            kernels::depthwise_conv2d_backward_weight<T>(dy.stream(), dims, kept_x.span<T>(), dy.span<T>(),
                                                         dweight.span<T>(), scratch.span<T>());
          }
          if (grads.needed(2)) {
            Tensor dbias = grads.empty(2);
            Tensor scratch = workspace_for(dy, kernels::depthwise_conv2d_backward_bias_workspace_size(dims));
            kernels::depthwise_conv2d_backward_bias<T>(dy.stream(), dims, dy.span<T>(), dbias.span<T>(),
                                                       scratch.span<T>());
          }
        });
      });
}

}  // namespace atrous
