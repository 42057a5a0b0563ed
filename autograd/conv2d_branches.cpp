#include "atrous/autograd/conv2d_branches.h"

#include "atrous/autograd/check.h"
#include "atrous/autograd/conv2d_dims.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/conv2d/conv2d_branches.h"

namespace atrous {
namespace {

using kernels::Conv2dBranches;
using kernels::Conv2dDims;

Conv2dBranches branches_dims(const Variable& x, const std::vector<Variable>& weights,
                             const std::vector<Conv2dOptions>& options) {
  constexpr Op op = Op::conv2d_branches;
  const char* name = op_name(op);
  ATROUS_CHECK(ValueError, !weights.empty() && weights.size() == options.size(), name, weights.size(),
               " weights and ", options.size(), " options: every branch has one of each");
  Conv2dBranches all;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const Conv2dDims d = conv2d_dims(op, x, weights[i], {}, options[i]);
    ATROUS_CHECK(ValueError, d.stride == PerAxis(1), name, "branch ", i, " has stride ", d.stride,
                 "; branches have stride 1");
    if (i > 0) {
      const Conv2dDims& first = all.branches[0];
      ATROUS_CHECK(ValueError, d.allow_tf32 == first.allow_tf32, name, "branch ", i,
                   " differs from branch 0 in allow_tf32");
      ATROUS_CHECK(ShapeError, d.out_h == first.out_h && d.out_w == first.out_w, name, "branch ", i,
                   " with weight ", weights[i].shape(), " makes ", PerAxis(d.out_h, d.out_w), " pixels of x ",
                   x.shape(), ", branch 0 ", PerAxis(first.out_h, first.out_w));
    }
    all.branches.push_back(d);
  }
  all.y_channels = all.out_channels();
  return all;
}

Variable convolve(const Variable& x, const std::vector<Variable>& weights,
                  const std::vector<Conv2dOptions>& options, ChannelStatistics* statistics) {
  const Conv2dBranches dims = branches_dims(x, weights, options);  // throws here
  const Device device = x.device();
  const auto doubles = [device](std::int64_t size) { return Tensor::empty({size}, Dtype::f64, device); };
  const Conv2dDims& d = dims.branches[0];
  Tensor y = Tensor::empty({d.batch, d.out_h, d.out_w, dims.y_channels}, x.dtype(), device);
  visit_float(x.dtype(), [&]<class T>() {
    kernels::BranchWeights<T> spans;
    for (const Variable& weight : weights) spans.push_back(weight.value().span<T>());
    Tensor scratch =
        Tensor::empty({kernels::conv2d_branches_forward_workspace_size<T>(dims, device)}, x.dtype(), device);
    Span<double> sums, mean, var;
    Tensor sums_scratch;
    if (statistics && y.numel() > 0) {
      sums_scratch = doubles(kernels::conv2d_branches_sums_size<T>(dims, device));
      statistics->mean = doubles(dims.y_channels);
      statistics->var = doubles(dims.y_channels);
      sums = sums_scratch.span<double>();
      mean = statistics->mean.span<double>();
      var = statistics->var.span<double>();
    }
    kernels::conv2d_branches_forward<T>(x.stream(), dims, x.value().span<T>(), spans, {}, scratch.span<T>(),
                                        sums, y.span<T>(), mean, var);
  });
  std::vector<Variable> inputs{x};
  inputs.insert(inputs.end(), weights.begin(), weights.end());
  const Tensor kept_x = wants_grad(weights) ? x.value() : Tensor();
  std::vector<Tensor> kept_weights;
  if (x.requires_grad())
    for (const Variable& weight : weights) kept_weights.push_back(weight.value());
  return record(
      Op::conv2d_branches, y, inputs, [dims, kept_x, kept_weights](const Tensor& dy, Gradients& grads) {
        const auto scratch_of = [&](std::int64_t size) {
          return Tensor::empty({size}, dy.dtype(), dy.device());
        };
        visit_float(dy.dtype(), [&]<class T>() {
          const Span<const T> from = dy.span<T>();
          if (grads.needed(0)) {
            kernels::BranchWeights<T> spans;
            for (const Tensor& weight : kept_weights) spans.push_back(weight.span<T>());
            Tensor scratch =
                scratch_of(kernels::conv2d_branches_backward_input_workspace_size<T>(dims, dy.device()));
            kernels::conv2d_branches_backward_input<T>(dy.stream(), dims, from, spans, scratch.span<T>(),
                                                       grads.empty(0).span<T>());
          }
          bool any = false;
          std::vector<Span<T>> dweights(dims.branches.size());
          for (std::size_t i = 0; i < dweights.size(); ++i)
            if (grads.needed(int(i) + 1)) {
              dweights[i] = grads.empty(int(i) + 1).span<T>();
              any = true;
            }
          if (!any) return;
          Tensor scratch =
              scratch_of(kernels::conv2d_branches_backward_weight_workspace_size<T>(dims, dy.device()));
          kernels::conv2d_branches_backward_weight<T>(dy.stream(), dims, kept_x.span<T>(), from,
                                                      scratch.span<T>(), dweights);
        });
      });
}

}  // namespace

Variable conv2d_branches(const Variable& x, const std::vector<Variable>& weights,
                         const std::vector<Conv2dOptions>& options) {
  return convolve(x, weights, options, nullptr);
}

Conv2dWithStatistics conv2d_branches_with_statistics(const Variable& x, const std::vector<Variable>& weights,
                                                     const std::vector<Conv2dOptions>& options) {
  Conv2dWithStatistics result;
  result.y = convolve(x, weights, options, &result.statistics);
  return result;
}

}  // namespace atrous
