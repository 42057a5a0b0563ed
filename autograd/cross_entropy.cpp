#include "atrous/kernels/softmax/cross_entropy.h"

#include <cmath>
#include <limits>

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/softmax.h"

namespace atrous {
namespace {

constexpr Op kOp = Op::softmax_cross_entropy;

void check_options(const Variable& logits, const CrossEntropyOptions& options) {
  ATROUS_CHECK(ValueError, options.hard_fraction > 0 && options.hard_fraction <= 1, op_name(kOp),
               "hard_fraction ", options.hard_fraction, " must be above 0 and at most 1");
  const Tensor& weights = options.class_weights;
  if (!weights.defined()) return;
  ATROUS_CHECK(ShapeError, weights.shape() == Shape({logits.dim(3)}), op_name(kOp), "class_weights ",
               weights.shape(), " must be [", logits.dim(3), "]: logits are ", logits.shape());
  visit_float(weights.dtype(), [&]<class T>() {
    for (std::int64_t c = 0; c < weights.numel(); ++c) {
      const T w = weights.span<T>()[c];
      ATROUS_CHECK(ValueError, w >= 0 && std::isfinite(w), op_name(kOp), "weight ", w, " of class ", c,
                   " must be finite and at least 0");
    }
  });
}

// Labels as class numbers, -1 for those to be left out.
Tensor targets_of(const kernels::SoftmaxDims& dims, const Tensor& labels,
                  std::optional<std::int64_t> ignore) {
  Tensor targets = Tensor::empty(labels.shape(), Dtype::i32, labels.device());
  std::int64_t first_bad = 0;
  visit_label(labels.dtype(), [&]<class T>() {
    kernels::cross_entropy_targets<T>(labels.stream(), dims,
                                      ignore.value_or(std::numeric_limits<std::int64_t>::min()),
                                      labels.span<T>(), targets.span<std::int32_t>(), {&first_bad, 1});
    if (first_bad == dims.pixels) return;
    const std::int64_t h = labels.dim(1), w = labels.dim(2), p = first_bad;
    std::ostringstream ignored;
    if (ignore)
      ignored << "; the label to ignore is " << *ignore;
    else
      ignored << "; no label is ignored";
    fail<ValueError>(op_name(kOp), "label ", int(labels.span<T>()[p]), " at pixel (", p / (h * w), ", ",
                     p / w % h, ", ", p % w, ") is not one of ", dims.classes, " classes 0..",
                     dims.classes - 1, ignored.str());
  });
  return targets;
}

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
  check_options(logits, options);

  const kernels::SoftmaxDims dims{pixels.numel(), logits.dim(3)};
  const Tensor targets = targets_of(dims, labels, options.ignore_label);
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
    Tensor losses, sorted;
    if (mining) {
      losses = Tensor::empty(pixels, dtype, device);
      sorted = Tensor::empty(pixels, dtype, device);
      kernels::cross_entropy_losses<T>(stream, dims, x, t, losses.span<T>());
    }
    const Tensor weights = options.class_weights.defined() ? options.class_weights.to(dtype) : Tensor();
    Tensor sums = Tensor::empty({kernels::cross_entropy_sums_size(dims)}, Dtype::f64, device);
    Tensor scales = Tensor::empty(pixels, dtype, device);
    kernels::cross_entropy_scales<T>(stream, dims, t, weights.defined() ? weights.span<T>() : Span<const T>(),
                                     options.hard_fraction, mining ? losses.span<T>() : Span<T>(),
                                     mining ? sorted.span<T>() : Span<T>(), sums.span<double>(),
                                     scales.span<T>());
    kernels::cross_entropy<T>(stream, dims, x, t, std::as_const(scales).span<T>(), sums.span<double>(),
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
