#include "atrous/models/unary.h"

#include <algorithm>
#include <cmath>

#include "atrous/autograd/softmax.h"
#include "atrous/core/error.h"

namespace atrous::models {
namespace {

void check_classes(const char* op, const Tensor& t) {
  ATROUS_CHECK(ShapeError, t.defined() && t.rank() >= 1 && t.dim(-1) > 0, op,
               "needs values with the classes as their last axis, not ", t.shape());
}

}  // namespace

Tensor unary_from_logits(const Tensor& logits) {
  constexpr const char* kOp = "unary_from_logits";
  check_classes(kOp, logits);
  Tensor unary = log_softmax(Variable(logits.to(kCpu))).value().clone();
  visit_float(logits.dtype(), [&]<class T>() {
    const std::int64_t classes = logits.dim(-1);
    const Span<T> u = unary.span<T>();
    for (std::int64_t i = 0; i < u.size(); ++i) {
      const Accumulator<T> v = -Accumulator<T>(u[i]);
      ATROUS_CHECK(ValueError, std::isfinite(v), kOp, "pixel ", i / classes, ", class ", i % classes,
                   ": the logits of this pixel are not finite");
      u[i] = T(v);
    }
  });
  return unary.to(logits.device());
}

Tensor unary_from_probabilities(const Tensor& probabilities, const ProbabilityOptions& options) {
  constexpr const char* kOp = "unary_from_probabilities";
  check_classes(kOp, probabilities);
  ATROUS_CHECK(ValueError, options.clip >= 0 && options.clip <= 1, kOp, "clip ", options.clip,
               " is not in 0..1");
  ATROUS_CHECK(ValueError, !options.scale || (*options.scale > 0 && *options.scale <= 1), kOp, "scale ",
               options.scale.value_or(0), " is not in (0, 1]");
  const Tensor host = probabilities.to(kCpu);
  Tensor unary = Tensor::empty(host.shape(), host.dtype());
  const std::int64_t classes = host.dim(-1);
  visit_float(host.dtype(), [&]<class T>() {
    const Span<const T> p = host.span<T>();
    const Span<T> u = unary.span<T>();
    for (std::int64_t i = 0; i < p.size(); ++i) {
      double v = double(Accumulator<T>(p[i]));
      ATROUS_CHECK(ValueError, v >= 0 && v <= 1 + 1e-3, kOp, "pixel ", i / classes, ", class ", i % classes,
                   ": ", v, " is not a probability");
      if (options.scale) v = *options.scale * v + (1 - *options.scale) / double(classes);
      v = std::max(v, options.clip);
      ATROUS_CHECK(ValueError, v > 0, kOp, "pixel ", i / classes, ", class ", i % classes,
                   ": probability 0 without clip costs infinitely much");
      u[i] = T(Accumulator<T>(-std::log(std::min(v, 1.0))));
    }
  });
  return unary.to(probabilities.device());
}

Tensor unary_from_labels(const Tensor& labels, std::int64_t classes, const LabelOptions& options) {
  constexpr const char* kOp = "unary_from_labels";
  ATROUS_CHECK(ShapeError, labels.defined() && labels.rank() == 3, kOp, "labels ", labels.shape(),
               " must be [N, H, W]");
  ATROUS_CHECK(ValueError, classes >= 2, kOp, "at least 2 classes, not ", classes,
               ": with one there is nothing to be unsure between");
  ATROUS_CHECK(ValueError, options.confidence > 0 && options.confidence < 1, kOp, "confidence ",
               options.confidence, " is not in (0, 1)");
  const auto right = float(-std::log(options.confidence)),
             wrong = float(-std::log((1 - options.confidence) / double(classes - 1))),
             unknown = float(std::log(double(classes)));
  const Tensor host = labels.to(kCpu);
  Tensor unary = Tensor::full({labels.dim(0), labels.dim(1), labels.dim(2), classes}, double(wrong));
  const Span<float> u = unary.span<float>();
  visit_label(labels.dtype(), [&]<class T>() {
    const Span<const T> l = host.span<T>();
    for (std::int64_t i = 0; i < l.size(); ++i) {
      const auto label = std::int64_t(l[i]);
      if (options.unknown_label && label == *options.unknown_label) {
        for (std::int64_t c = 0; c < classes; ++c) u[i * classes + c] = unknown;
        continue;
      }
      ATROUS_CHECK(ValueError, label >= 0 && label < classes, kOp, "pixel ", i, " has label ", label,
                   ", and there are ", classes, " classes");
      u[i * classes + label] = right;
    }
  });
  return unary.to(labels.device());
}

}  // namespace atrous::models
