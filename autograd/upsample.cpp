#include "atrous/autograd/upsample.h"

#include "atrous/autograd/check.h"
#include "atrous/autograd/cross_entropy_targets.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/softmax/cross_entropy.h"
#include "atrous/kernels/upsample/upsample.h"

namespace atrous {
namespace {

constexpr Op kOp = Op::upsample_cross_entropy;

kernels::ResizeDims checked_dims(const char* op, const Tensor& logits, const Tensor& labels,
                                 bool align_corners) {
  ATROUS_CHECK(ShapeError, logits.rank() == 4 && logits.dim(1) > 0 && logits.dim(2) > 0 && logits.dim(3) > 0,
               op, "logits ", logits.shape(), " must be [N, H, W, C], with pixels and classes");
  ATROUS_CHECK(ShapeError,
               labels.defined() && labels.rank() == 3 && labels.dim(0) == logits.dim(0) &&
                   labels.dim(1) > 0 && labels.dim(2) > 0,
               op, "labels ", labels.shape(), " must be [", logits.dim(0), ", OH, OW]: logits are ",
               logits.shape());
  ATROUS_CHECK(DeviceError, labels.device() == logits.device(), op, "labels are on ", labels.device(),
               ", logits on ", logits.device());
  // The rule of resizing multiplies positions: keep their products far inside 64 bits.
  constexpr std::int64_t kMost = std::int64_t(1) << 30;
  for (const int axis : {1, 2})
    ATROUS_CHECK(ValueError, logits.dim(axis) < kMost && labels.dim(axis) < kMost, op, "logits ",
                 logits.shape(), " to labels ", labels.shape(), ": sides go up to 2^30");
  return {logits.dim(0), logits.dim(1), logits.dim(2), labels.dim(1),
          labels.dim(2), logits.dim(3), align_corners};
}

// What each fine pixel's loss counts.
template <class T>
Tensor scales_of(const kernels::ResizeDims& dims, const Tensor& logits, const Tensor& targets,
                 const CrossEntropyOptions& options) {
  using A = Accumulator<T>;
  const Device device = logits.device();
  const kernels::SoftmaxDims pixels{targets.numel(), dims.channels};
  const Span<const std::int32_t> t = targets.span<std::int32_t>();
  Tensor losses, sorted;
  if (options.hard_fraction < 1) {
    losses = Tensor::empty(targets.shape(), dtype_of<A>(), device);
    sorted = Tensor::empty({kernels::cross_entropy_workspace_size(pixels, device)}, dtype_of<A>(), device);
    kernels::upsample_cross_entropy_losses<T>(logits.stream(), dims, logits.span<T>(), t, losses.span<A>());
  }
  const auto span = [](Tensor& tensor) { return tensor.defined() ? tensor.span<A>() : Span<A>(); };
  Tensor weights =
      options.class_weights.defined() ? options.class_weights.to(dtype_of<A>()).to(device) : Tensor();
  Tensor sums = Tensor::empty({kernels::cross_entropy_sums_size(pixels, device)}, Dtype::f64, device);
  Tensor scales = Tensor::empty(targets.shape(), dtype_of<A>(), device);
  kernels::cross_entropy_scales<T>(logits.stream(), pixels, t, span(weights), options.hard_fraction,
                                   span(losses), span(sorted), sums.span<double>(), scales.span<A>());
  return scales;
}

}  // namespace

Variable upsample_cross_entropy(const Variable& logits, const Tensor& labels,
                                const UpsampleLossOptions& options) {
  const kernels::ResizeDims dims = checked_dims(op_name(kOp), logits.value(), labels, options.align_corners);
  check_cross_entropy(kOp, logits, options.loss);
  const Tensor targets = targets_of(op_name(kOp), dims.channels, labels, options.loss.ignore_label);
  const Device device = logits.device();
  Tensor loss = Tensor::empty(Shape(), logits.dtype(), device);
  // As in softmax_cross_entropy: the gradient is a multiple of one tensor, which the same pass makes.
  Tensor dlogits;
  if (wants_grad({logits})) dlogits = empty_like(logits.value());
  visit_float(logits.dtype(), [&]<class T>() {
    using A = Accumulator<T>;
    const Tensor scales = scales_of<T>(dims, logits.value(), targets, options.loss);
    Tensor sums =
        Tensor::empty({kernels::upsample_cross_entropy_sums_size<T>(dims, device)}, Dtype::f64, device);
    Tensor workspace =
        Tensor::empty({kernels::upsample_cross_entropy_workspace_size<T>(dims, dlogits.defined(), device)},
                      dtype_of<A>(), device);
    kernels::upsample_cross_entropy<T>(logits.stream(), dims, logits.value().span<T>(),
                                       targets.span<std::int32_t>(), scales.span<A>(), sums.span<double>(),
                                       workspace.span<A>(), loss.span<T>(),
                                       dlogits.defined() ? dlogits.span<T>() : Span<T>());
  });
  return record(kOp, loss, {logits}, [dlogits = std::as_const(dlogits)](const Tensor& dy, Gradients& grads) {
    if (dy.device().is_cpu() && dy.item() == 1) return grads.set(0, dlogits);
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::cross_entropy_chain<T>(dy.stream(), dy.span<T>(), dlogits.span<T>(), dx.span<T>());
    });
  });
}

Tensor upsample_confusion(const Tensor& logits, const Tensor& labels,
                          const UpsampleConfusionOptions& options) {
  constexpr const char* kName = "upsample_confusion";
  const kernels::ResizeDims dims = checked_dims(kName, logits, labels, options.align_corners);
  const Tensor targets = targets_of(kName, dims.channels, labels, options.ignore_label);
  Tensor counts = Tensor::empty({dims.channels, dims.channels}, Dtype::i64, logits.device());
  visit_float(logits.dtype(), [&]<class T>() {
    kernels::upsample_confusion<T>(logits.stream(), dims, logits.span<T>(), targets.span<std::int32_t>(),
                                   counts.span<std::int64_t>());
  });
  return counts;
}

}  // namespace atrous
