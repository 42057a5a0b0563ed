#include "atrous/autograd/conv2d.h"

#include "atrous/autograd/check.h"
#include "atrous/autograd/conv2d_dims.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/conv2d/conv2d.h"

namespace atrous {

using kernels::Conv2dDims;

Conv2dDims conv2d_dims(Op op, const Variable& x, const Variable& weight, const Variable& bias,
                       const Conv2dOptions& o) {
  const char* name = op_name(op);
  check_rank(op, "x", x, 4, "[N, H, W, C]");
  check_rank(op, "weight", weight, 4, "[R, S, C, K]");
  check_match(op, "x", x, "weight", weight);
  check_sliding(op, o.stride, o.padding, o.rate);
  ATROUS_CHECK(ShapeError, weight.value().numel() > 0, name, "weight ", weight.shape(), " has an empty axis");
  ATROUS_CHECK(ShapeError, x.dim(3) == weight.dim(2), name, "weight ", weight.shape(), " expects ",
               weight.dim(2), " input channels; x ", x.shape(), " has ", x.dim(3));
  if (bias.defined()) {
    check_rank(op, "bias", bias, 1, "[K]");
    check_match(op, "x", x, "bias", bias);
    ATROUS_CHECK(ShapeError, bias.dim(0) == weight.dim(3), name, "bias ", bias.shape(),
                 " must have one element for each output channel of weight ", weight.shape());
  }
  const Conv2dDims d = kernels::with_output_size({.batch = x.dim(0),
                                                  .in_h = x.dim(1),
                                                  .in_w = x.dim(2),
                                                  .in_channels = x.dim(3),
                                                  .out_channels = weight.dim(3),
                                                  .window_h = weight.dim(0),
                                                  .window_w = weight.dim(1),
                                                  .stride = o.stride,
                                                  .padding = o.padding,
                                                  .rate = o.rate,
                                                  .exact = o.exact,
                                                  .allow_tf32 = o.allow_tf32 && !o.exact});
  ATROUS_CHECK(ShapeError, d.out_h > 0 && d.out_w > 0, name, "window ", PerAxis(d.window_h, d.window_w),
               " at rate ", o.rate, " with padding ", o.padding, " leaves no output pixel: x ", x.shape());
  return d;
}

namespace {

template <class T>
Tensor workspace(const Tensor& beside, std::int64_t size) {
  return Tensor::empty({size}, dtype_of<T>(), beside.device());
}

// conv2d, and the statistics of its result if they are asked for.
Variable convolve(const Variable& x, const Variable& weight, const Variable& bias,
                  const Conv2dOptions& options, ChannelStatistics* statistics) {
  const Conv2dDims d = conv2d_dims(Op::conv2d, x, weight, bias, options);  // throws here
  Tensor y = Tensor::empty({d.batch, d.out_h, d.out_w, d.out_channels}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::Conv2dEpilogue<T> epilogue;
    if (bias.defined()) epilogue.bias = bias.value().span<T>();
    if (!statistics || y.numel() == 0) {
      Tensor scratch = workspace<T>(y, kernels::conv2d_forward_workspace_size<T>(d, y.device()));
      kernels::conv2d_forward<T>(x.stream(), d, x.value().span<T>(), weight.value().span<T>(), epilogue,
                                 scratch.span<T>(), y.span<T>());
      return;
    }
    Tensor scratch = workspace<T>(y, kernels::conv2d_forward_statistics_workspace_size<T>(d, y.device()));
    Tensor sums = workspace<double>(y, kernels::conv2d_forward_statistics_sums_size<T>(d, y.device()));
    statistics->mean = workspace<double>(y, d.out_channels);
    statistics->var = workspace<double>(y, d.out_channels);
    kernels::conv2d_forward_statistics<T>(x.stream(), d, x.value().span<T>(), weight.value().span<T>(),
                                          epilogue, scratch.span<T>(), sums.span<double>(), y.span<T>(),
                                          statistics->mean.span<double>(), statistics->var.span<double>());
  });
  // Each gradient reads the other factor only.
  const Tensor kept_x = weight.requires_grad() ? x.value() : Tensor();
  const Tensor kept_weight = x.requires_grad() ? weight.value() : Tensor();
  return record(Op::conv2d, y, {x, weight, bias},
                [d, kept_x, kept_weight](const Tensor& dy, Gradients& grads) {
                  visit_float(dy.dtype(), [&]<class T>() {
                    const Span<const T> from = dy.span<T>();
                    if (grads.needed(0)) {
                      Tensor scratch =
                          workspace<T>(dy, kernels::conv2d_backward_input_workspace_size<T>(d, dy.device()));
                      kernels::conv2d_backward_input<T>(dy.stream(), d, from, kept_weight.span<T>(),
                                                        scratch.span<T>(), grads.empty(0).span<T>());
                    }
                    if (grads.needed(1)) {
                      Tensor scratch =
                          workspace<T>(dy, kernels::conv2d_backward_weight_workspace_size<T>(d, dy.device()));
                      kernels::conv2d_backward_weight<T>(dy.stream(), d, kept_x.span<T>(), from,
                                                         scratch.span<T>(), grads.empty(1).span<T>());
                    }
                    if (grads.needed(2)) {
                      Tensor scratch =
                          workspace<T>(dy, kernels::conv2d_backward_bias_workspace_size<T>(d, dy.device()));
                      kernels::conv2d_backward_bias<T>(dy.stream(), d, from, scratch.span<T>(),
                                                       grads.empty(2).span<T>());
                    }
                  });
                });
}

}  // namespace

Variable conv2d(const Variable& x, const Variable& weight, const Variable& bias,
                const Conv2dOptions& options) {
  return convolve(x, weight, bias, options, nullptr);
}

Conv2dWithStatistics conv2d_with_statistics(const Variable& x, const Variable& weight, const Variable& bias,
                                            const Conv2dOptions& options) {
  Conv2dWithStatistics result;
  result.y = convolve(x, weight, bias, options, &result.statistics);
  return result;
}

}  // namespace atrous
