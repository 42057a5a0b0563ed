#include "atrous/autograd/cross_entropy_targets.h"

#include <cmath>
#include <limits>

#include "atrous/core/dry_run.h"
#include "atrous/core/later_check.h"
#include "atrous/kernels/softmax/cross_entropy.h"

namespace atrous {

void check_cross_entropy(Op op, const Variable& logits, const CrossEntropyOptions& options) {
  ATROUS_CHECK(ValueError, options.hard_fraction > 0 && options.hard_fraction <= 1, op_name(op),
               "hard_fraction ", options.hard_fraction, " must be above 0 and at most 1");
  if (!options.class_weights.defined()) return;
  const Tensor weights = options.class_weights.to(kCpu);
  ATROUS_CHECK(ShapeError, weights.shape() == Shape({logits.dim(3)}), op_name(op), "class_weights ",
               weights.shape(), " must be [", logits.dim(3), "]: logits are ", logits.shape());
  visit_float(weights.dtype(), [&]<class T>() {
    for (std::int64_t c = 0; c < weights.numel(); ++c) {
      const auto w = Accumulator<T>(weights.span<T>()[c]);
      ATROUS_CHECK(ValueError, w >= 0 && std::isfinite(w), op_name(op), "weight ", w, " of class ", c,
                   " must be finite and at least 0");
    }
  });
}

Tensor targets_of(const char* op, std::int64_t classes, const Tensor& labels,
                  std::optional<std::int64_t> ignore) {
  const kernels::SoftmaxDims dims{labels.numel(), classes};
  Tensor targets = Tensor::empty(labels.shape(), Dtype::i32, labels.device());
  Tensor bad = Tensor::empty({1}, Dtype::i64, labels.device());
  visit_label(labels.dtype(), [&]<class T>() {
    kernels::cross_entropy_targets<T>(
        labels.stream(), dims, ignore.value_or(std::numeric_limits<std::int64_t>::min()), labels.span<T>(),
        targets.span<std::int32_t>(), bad.span<std::int64_t>());
    if (in_dry_run()) return;
    check_later(bad, [=](const Tensor& first_bad) {
      const std::int64_t h = labels.dim(1), w = labels.dim(2), p = first_bad.span<std::int64_t>()[0];
      if (p == dims.pixels) return;
      const Tensor on_host = labels.to(kCpu);
      std::ostringstream ignored;
      if (ignore)
        ignored << "; the label to ignore is " << *ignore;
      else
        ignored << "; no label is ignored";
      fail<ValueError>(op, "label ", int(on_host.span<T>()[p]), " at pixel (", p / (h * w), ", ", p / w % h,
                       ", ", p % w, ") is not one of ", dims.classes, " classes 0..", dims.classes - 1,
                       ignored.str());
    });
  });
  return targets;
}

}  // namespace atrous
