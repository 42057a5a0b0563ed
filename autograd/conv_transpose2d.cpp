#include "atrous/autograd/conv_transpose2d.h"

#include <algorithm>

#include "atrous/autograd/check.h"
#include "atrous/autograd/conv2d_options.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/conv_transpose2d/conv_transpose2d.h"

namespace atrous {
namespace {

using kernels::Conv2dDims;

// The convolution that this one is the transpose of: from y (its in_*) to x (its out_*).
Conv2dDims checked_dims(const Variable& x, const Variable& weight, const Variable& bias,
                        const ConvTranspose2dOptions& o) {
  constexpr Op op = Op::conv_transpose2d;
  const char* name = op_name(op);
  check_rank(op, "x", x, 4, "[N, H, W, C]");
  check_rank(op, "weight", weight, 4, "[R, S, K, C]");
  check_match(op, "x", x, "weight", weight);
  check_sliding(op, o.stride, o.padding, o.rate);
  const PerAxis extra = o.output_padding;
  ATROUS_CHECK(ValueError,
               extra.h >= 0 && extra.w >= 0 && extra.h < std::max(o.stride.h, o.rate.h) &&
                   extra.w < std::max(o.stride.w, o.rate.w),
               name, "output padding ", extra, " must be smaller than the stride ", o.stride, " or the rate ",
               o.rate);
  ATROUS_CHECK(ShapeError, weight.value().numel() > 0, name, "weight ", weight.shape(), " has an empty axis");
  ATROUS_CHECK(ShapeError, x.dim(3) == weight.dim(3), name, "weight ", weight.shape(), " expects ",
               weight.dim(3), " input channels; x ", x.shape(), " has ", x.dim(3));
  if (bias.defined()) {
    check_rank(op, "bias", bias, 1, "[K]");
    check_match(op, "x", x, "bias", bias);
    ATROUS_CHECK(ShapeError, bias.dim(0) == weight.dim(2), name, "bias ", bias.shape(),
                 " must have one element for each output channel of weight ", weight.shape());
  }
  const auto size = [](std::int64_t in, std::int64_t stride, std::int64_t before, std::int64_t after,
                       std::int64_t taps, std::int64_t rate, std::int64_t more) {
    return in < 1 ? 0 : (in - 1) * stride - before - after + window_extent(taps, rate) + more;
  };
  const Padding& p = o.padding;
  Conv2dDims d{.batch = x.dim(0),
               .in_h = size(x.dim(1), o.stride.h, p.top, p.bottom, weight.dim(0), o.rate.h, extra.h),
               .in_w = size(x.dim(2), o.stride.w, p.left, p.right, weight.dim(1), o.rate.w, extra.w),
               .in_channels = weight.dim(2),
               .out_h = x.dim(1),
               .out_w = x.dim(2),
               .out_channels = weight.dim(3),
               .window_h = weight.dim(0),
               .window_w = weight.dim(1),
               .stride = o.stride,
               .padding = p,
               .rate = o.rate,
               .allow_tf32 = o.allow_tf32};
  ATROUS_CHECK(ShapeError, d.in_h > 0 && d.in_w > 0, name, "padding ", p, " leaves no output pixel of x ",
               x.shape(), " and weight ", weight.shape());
  // What keeps out_* the window positions of in_* when the output padding holds another stride.
  d.padding.bottom -= extra.h;
  d.padding.right -= extra.w;
  return d;
}

template <class T>
Tensor workspace(const Tensor& beside, std::int64_t size) {
  return Tensor::empty({size}, dtype_of<T>(), beside.device());
}

template <class T>
void backward_input(const Conv2dDims& d, const Tensor& dy, const Tensor& weight, Tensor dx) {
  Tensor scratch = workspace<T>(dy, kernels::conv2d_forward_workspace_size<T>(d, dy.device()));
  kernels::conv2d_forward<T>(dy.stream(), d, dy.span<T>(), weight.span<T>(), {}, scratch.span<T>(),
                             dx.span<T>());
}

template <class T>
void backward_weight(const Conv2dDims& d, const Tensor& x, const Tensor& dy, Tensor dweight) {
  Tensor scratch = workspace<T>(dy, kernels::conv2d_backward_weight_workspace_size<T>(d, dy.device()));
  kernels::conv2d_backward_weight<T>(dy.stream(), d, dy.span<T>(), x.span<T>(), scratch.span<T>(),
                                     dweight.span<T>());
}

template <class T>
void backward_bias(const Conv2dDims& d, const Tensor& dy, Tensor dbias) {
  const Conv2dDims sizes{.batch = d.batch, .out_h = d.in_h, .out_w = d.in_w, .out_channels = d.in_channels};
  Tensor scratch = workspace<T>(dy, kernels::conv2d_backward_bias_workspace_size<T>(sizes, dy.device()));
  kernels::conv2d_backward_bias<T>(dy.stream(), sizes, dy.span<T>(), scratch.span<T>(), dbias.span<T>());
}

}  // namespace

Variable conv_transpose2d(const Variable& x, const Variable& weight, const Variable& bias,
                          const ConvTranspose2dOptions& options) {
  const Conv2dDims d = checked_dims(x, weight, bias, options);  // throws here
  Tensor y = Tensor::empty({d.batch, d.in_h, d.in_w, d.in_channels}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    Tensor scratch = workspace<T>(y, kernels::conv_transpose2d_forward_workspace_size<T>(d, y.device()));
    kernels::conv_transpose2d_forward<T>(x.stream(), d, x.value().span<T>(), weight.value().span<T>(),
                                         bias.defined() ? bias.value().span<T>() : Span<const T>(),
                                         scratch.span<T>(), y.span<T>());
  });
  // Each gradient reads the other factor only.
  const Tensor kept_x = weight.requires_grad() ? x.value() : Tensor();
  const Tensor kept_weight = x.requires_grad() ? weight.value() : Tensor();
  return record(Op::conv_transpose2d, y, {x, weight, bias},
                [d, kept_x, kept_weight](const Tensor& dy, Gradients& grads) {
                  visit_float(dy.dtype(), [&]<class T>() {
                    if (grads.needed(0)) backward_input<T>(d, dy, kept_weight, grads.empty(0));
                    if (grads.needed(1)) backward_weight<T>(d, kept_x, dy, grads.empty(1));
                    if (grads.needed(2)) backward_bias<T>(d, dy, grads.empty(2));
                  });
                });
}

}  // namespace atrous
