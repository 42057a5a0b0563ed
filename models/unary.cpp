#include "atrous/models/unary.h"

#include <cmath>

#include "atrous/autograd/cross_entropy_targets.h"
#include "atrous/autograd/reduce.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/error.h"
#include "atrous/kernels/dense_crf/dense_crf.h"
#include "atrous/kernels/elementwise/elementwise.h"

namespace atrous::models {
namespace {

void check_classes(const char* op, const Tensor& t) {
  ATROUS_CHECK(ShapeError, t.defined() && t.rank() >= 1 && t.dim(-1) > 0, op,
               "needs values with the classes as their last axis, not ", t.shape());
}

/// Calls refuse(pixel, class) for the first energy that is not finite.
template <class F>
void check_finite(const Tensor& unary, const F& refuse) {
  if (all_finite(unary)) return;
  const Tensor host = unary.to(kCpu).to(Dtype::f64);
  const Span<const double> u = host.span<double>();
  for (std::int64_t i = 0; i < u.size(); ++i)
    if (!std::isfinite(u[i])) refuse(i / unary.dim(-1), i % unary.dim(-1));
}

}  // namespace

Tensor unary_from_logits(const Tensor& logits) {
  constexpr const char* kOp = "unary_from_logits";
  check_classes(kOp, logits);
  const Tensor log_probabilities = log_softmax(Variable(logits)).value();
  Tensor unary = Tensor::empty(logits.shape(), logits.dtype(), logits.device());
  visit_float(logits.dtype(), [&]<class T>() {
    kernels::scale_forward<T>(unary.stream(), -1.0, log_probabilities.span<T>(), unary.span<T>());
  });
  check_finite(unary, [&](std::int64_t pixel, std::int64_t c) {
    ATROUS_CHECK(ValueError, false, kOp, "pixel ", pixel, ", class ", c,
                 ": the logits of this pixel are not finite");
  });
  return unary;
}

Tensor unary_from_probabilities(const Tensor& probabilities, const ProbabilityOptions& options) {
  constexpr const char* kOp = "unary_from_probabilities";
  check_classes(kOp, probabilities);
  ATROUS_CHECK(ValueError, options.clip >= 0 && options.clip <= 1, kOp, "clip ", options.clip,
               " is not in 0..1");
  ATROUS_CHECK(ValueError, !options.scale || (*options.scale > 0 && *options.scale <= 1), kOp, "scale ",
               options.scale.value_or(0), " is not in (0, 1]");
  const std::int64_t classes = probabilities.dim(-1);
  const double share = options.scale.value_or(1);
  Tensor unary = Tensor::empty(probabilities.shape(), probabilities.dtype(), probabilities.device());
  visit_float(probabilities.dtype(), [&]<class T>() {
    kernels::crf_unary<T>(unary.stream(), share, (1 - share) / double(classes), options.clip,
                          probabilities.span<T>(), unary.span<T>());
  });
  check_finite(unary, [&](std::int64_t pixel, std::int64_t c) {
    const Tensor given = probabilities.to(kCpu).to(Dtype::f64);
    const double v = given.span<double>()[pixel * classes + c];
    ATROUS_CHECK(ValueError, v >= 0 && v <= kernels::kMostProbability, kOp, "pixel ", pixel, ", class ", c,
                 ": ", v, " is not a probability");
    ATROUS_CHECK(ValueError, false, kOp, "pixel ", pixel, ", class ", c,
                 ": probability 0 without clip costs infinitely much");
  });
  return unary;
}

Tensor unary_from_labels(const Tensor& labels, std::int64_t classes, const LabelOptions& options) {
  constexpr const char* kOp = "unary_from_labels";
  ATROUS_CHECK(ShapeError, labels.defined() && labels.rank() == 3, kOp, "labels ", labels.shape(),
               " must be [N, H, W]");
  ATROUS_CHECK(ValueError, classes >= 2, kOp, "at least 2 classes, not ", classes,
               ": with one there is nothing to be unsure between");
  ATROUS_CHECK(ValueError, options.confidence > 0 && options.confidence < 1, kOp, "confidence ",
               options.confidence, " is not in (0, 1)");
  const kernels::CrfLabelCosts costs{-std::log(options.confidence),
                                     -std::log((1 - options.confidence) / double(classes - 1)),
                                     std::log(double(classes))};
  const Tensor targets = targets_of(kOp, classes, labels, options.unknown_label);
  Tensor unary =
      Tensor::empty({labels.dim(0), labels.dim(1), labels.dim(2), classes}, Dtype::f32, labels.device());
  kernels::crf_unary_of_targets<float>(unary.stream(), {labels.numel(), classes}, costs,
                                       targets.span<std::int32_t>(), unary.span<float>());
  return unary;
}

}  // namespace atrous::models
