#include "atrous/kernels/softmax/cross_entropy.h"

#include "atrous/autograd/check.h"
#include "atrous/autograd/cross_entropy_targets.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/softmax.h"

namespace atrous {
namespace {

constexpr Op kOp = Op::softmax_cross_entropy;

}  // namespace

Variable softmax_cross_entropy(const Variable& logits, const Tensor& labels,
                               const CrossEntropyOptions& options) {
  check_rank(kOp, "logits", logits, 4, "[N, H, W, C]");
  ATROUS_CHECK(ShapeError, logits.dim(3) >= 1, op_name(kOp), "logits ", logits.shape(), " have no classes");
  const Shape pixels{logits.dim(0), logits.dim(1), logits.dim(2)};
  ATROUS_CHECK(ShapeError, labels.defined() && labels.shape() == pixels, op_name(kOp), "labels ",
               labels.shape(), " must be ", pixels, ": logits are ", logits.shape());
  ATROUS_CHECK(DeviceError, labels.device() == logits.device(), op_name(kOp), "labels are on ",
               labels.device(), ", logits on ", logits.device());
  check_cross_entropy(kOp, logits, options);

  const kernels::SoftmaxDims dims{pixels.numel(), logits.dim(3)};
  const Tensor targets = targets_of(op_name(kOp), dims.classes, labels, options.ignore_label);
  const Dtype dtype = logits.dtype();
  const Device device = logits.device();
  const Stream stream = logits.stream();
  Tensor loss = Tensor::empty(Shape(), dtype, device);
  // The loss is one number and its gradient a multiple of one tensor, which the same pass makes: nothing else
  // is kept, the logits neither.
  Tensor dlogits;
  if (wants_grad({logits})) dlogits = empty_like(logits.value());
  visit_float(dtype, [&]<class T>() {
    const Span<const std::int32_t> t = targets.span<std::int32_t>();
    const Span<const T> x = logits.value().span<T>();
    const bool mining = options.hard_fraction < 1;
    using A = Accumulator<T>;
    Tensor losses, sorted;
    if (mining) {
      losses = Tensor::empty(pixels, dtype_of<A>(), device);
      sorted = Tensor::empty({kernels::cross_entropy_workspace_size(dims, device)}, dtype_of<A>(), device);
      kernels::cross_entropy_losses<T>(stream, dims, x, t, losses.span<A>());
    }
    const Tensor weights =
        options.class_weights.defined() ? options.class_weights.to(dtype_of<A>()).to(device) : Tensor();
    Tensor sums = Tensor::empty({kernels::cross_entropy_sums_size(dims, device)}, Dtype::f64, device);
    Tensor scales = Tensor::empty(pixels, dtype_of<A>(), device);
    kernels::cross_entropy_scales<T>(stream, dims, t, weights.defined() ? weights.span<A>() : Span<const A>(),
                                     options.hard_fraction, mining ? losses.span<A>() : Span<A>(),
                                     mining ? sorted.span<A>() : Span<A>(), sums.span<double>(),
                                     scales.span<A>());
    kernels::cross_entropy<T>(stream, dims, x, t, std::as_const(scales).span<A>(), sums.span<double>(),
                              loss.span<T>(), dlogits.defined() ? dlogits.span<T>() : Span<T>());
  });
  return record(kOp, loss, {logits}, [dlogits = std::as_const(dlogits)](const Tensor& dy, Gradients& grads) {
    if (dy.device().is_cpu() && dy.item() == 1) return grads.set(0, dlogits);
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::cross_entropy_chain<T>(dy.stream(), dy.span<T>(), dlogits.span<T>(), dx.span<T>());
    });
  });
}

}  // namespace atrous
