#include "atrous/models/crf_layer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/depthwise_conv2d.h"
#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/gaussian_filter.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/error.h"

namespace atrous::models {
namespace {

constexpr const char* kName = "crf_layer";
constexpr const char* kTerms[] = {"gaussian", "bilateral"};

CrfLayerSettings checked(CrfLayerSettings s) {
  ATROUS_CHECK(ValueError, s.classes >= 1 && s.image_channels >= 1 && s.start.iterations >= 1, kName,
               s.classes, " classes, ", s.image_channels, " channels, ", s.start.iterations,
               " iterations: at least 1 of each");
  for (const double sigma : {s.start.gaussian_sigma, s.start.bilateral_sigma_xy, s.start.bilateral_sigma_rgb})
    ATROUS_CHECK(ValueError, sigma > 0 && std::isfinite(sigma), kName, "a standard deviation of ", sigma,
                 " is not positive and finite");
  return s;
}

FilterMethod method_of(const CrfLayerSettings& s, int term) {
  const FilterMethod method = s.start.method;
  if (method != FilterMethod::automatic && method != FilterMethod::separable) return method;
  return term == 0 ? FilterMethod::separable : FilterMethod::lattice;
}

// [2] or [2 + channels]: what log_sigma starts from.
std::vector<double> start_sigma(const CrfLayerSettings& s, int term) {
  if (term == 0) return {s.start.gaussian_sigma, s.start.gaussian_sigma};
  std::vector<double> sigma(std::size_t(2 + s.image_channels), s.start.bilateral_sigma_rgb);
  sigma[0] = sigma[1] = s.start.bilateral_sigma_xy;
  return sigma;
}

Variable sigma_of(const CrfLayerSettings& s, const CrfWeights& weights, int term) {
  const Variable& log_sigma = weights.log_sigma[term];
  const std::vector<double> start = start_sigma(s, term);
  ATROUS_CHECK(ShapeError, log_sigma.shape() == Shape{std::int64_t(start.size())}, kName, "log_sigma ",
               log_sigma.shape(), " of the ", kTerms[term], " term must be [", start.size(), "]");
  const Tensor base =
      Tensor::from(log_sigma.shape(), start).to(log_sigma.dtype()).to(log_sigma.value().device());
  return mul(exp(log_sigma), Variable(base));
}

// f times the weight, which is one element: as a depthwise convolution with the weight for every label.
Variable weighted(const Variable& f, const Variable& weight) {
  const Variable ones(Tensor::full({1, 1, f.dim(3), 1}, 1, f.dtype(), f.device()));
  return depthwise_conv2d(f, conv2d(ones, weight, {}), {});
}

// What term m adds to q; with factored weights before the penalty, which the terms share.
Variable message(const CrfLayerSettings& s, const CrfWeights& weights, int term, const Variable& f) {
  const Variable potts = weighted(f, weights.weight[term]);
  const Variable& labels = weights.labels[term];
  switch (s.learning) {
    case CrfLearning::diagonal:
      return add(potts, depthwise_conv2d(f, labels, {}));
    case CrfLearning::matrix:
      return add(potts, scale(conv2d(f, labels, {}), -1));
    case CrfLearning::factored:
      return add(potts, conv2d(f, labels, {}));
    case CrfLearning::potts:
      break;
  }
  return potts;
}

std::vector<double> doubles(const Variable& v) {
  const Tensor t = v.value().to(kCpu).to(Dtype::f64);
  return {t.span<double>().begin(), t.span<double>().end()};
}

std::vector<double> learned_sigma(const CrfLayerSettings& s, const CrfWeights& weights, int term) {
  std::vector<double> sigma = start_sigma(s, term);
  const std::vector<double> log_sigma = doubles(weights.log_sigma[term]);
  for (std::size_t i = 0; i < sigma.size(); ++i) sigma[i] *= std::exp(log_sigma[i]);
  return sigma;
}

// mu_m of a term, with the sign of a penalty.
Compatibility compatibility_of(const CrfLayerSettings& s, const CrfWeights& weights, int term) {
  const double w = doubles(weights.weight[term])[0];
  if (s.learning == CrfLearning::potts) return Compatibility::potts(w);
  std::vector<double> labels = doubles(weights.labels[term]);
  if (s.learning == CrfLearning::diagonal) {
    for (double& v : labels) v += w;
    return Compatibility::diagonal(std::move(labels));
  }
  const auto n = std::size_t(s.classes);
  std::vector<double> mu(n * n);
  if (s.learning == CrfLearning::matrix) {
    for (std::size_t a = 0; a < n; ++a)
      for (std::size_t b = 0; b < n; ++b) mu[a * n + b] = labels[b * n + a] - (a == b ? w : 0);
    return Compatibility::matrix(std::move(mu));
  }
  const std::vector<double> penalty = doubles(weights.penalty);
  for (std::size_t a = 0; a < n; ++a)
    for (std::size_t b = 0; b < n; ++b)
      for (std::size_t k = 0; k < n; ++k)
        mu[a * n + b] += (labels[b * n + k] + (k == b ? w : 0)) * (penalty[k * n + a] - (k == a ? 1 : 0));
  return Compatibility::matrix(std::move(mu));
}

}  // namespace

const char* crf_learning_name(CrfLearning learning) {
  constexpr const char* kNames[] = {"potts", "diagonal", "matrix", "factored"};
  return kNames[int(learning)];
}

Variable mean_field(const Variable& logits, const Variable& image, const CrfWeights& weights,
                    const CrfLayerSettings& settings) {
  const CrfLayerSettings s = checked(settings);
  ATROUS_CHECK(ShapeError, logits.shape().rank() == 4 && logits.dim(3) == s.classes, kName, "logits ",
               logits.shape(), " must be [N, H, W, ", s.classes, "]");
  ATROUS_CHECK(ShapeError, image.shape() == logits.shape().with(3, s.image_channels), kName, "image ",
               image.shape(), " must be ", logits.shape().with(3, s.image_channels), ": logits are ",
               logits.shape());
  const Variable sigma[] = {sigma_of(s, weights, 0), sigma_of(s, weights, 1)};
  const auto filter_of = [&](int term, const Variable& features) {
    return GaussianFilter(features, {.method = method_of(s, term), .normalization = s.start.normalization});
  };
  const bool by_rows = method_of(s, 0) == FilterMethod::separable;
  std::optional<GaussianFilter> gaussian;
  if (!by_rows) gaussian = filter_of(0, pixel_features({}, sigma[0], logits.shape()));
  const GaussianFilter bilateral = filter_of(1, pixel_features(image, sigma[1]));
  Variable q = logits;
  for (std::int64_t t = 0; t < s.start.iterations; ++t) {
    const Variable p = softmax(q);
    const Variable near = by_rows ? spatial_gaussian(p, sigma[0], s.start.normalization) : (*gaussian)(p);
    Variable sum = add(message(s, weights, 0, near), message(s, weights, 1, bilateral(p)));
    if (s.learning == CrfLearning::factored) sum = add(sum, scale(conv2d(sum, weights.penalty, {}), -1));
    q = add(logits, sum);
  }
  return q;
}

CrfLayer::CrfLayer(const CrfLayerSettings& settings) : settings_(checked(settings)) {
  const std::int64_t classes = settings_.classes;
  const double start[] = {settings_.start.gaussian_weight, settings_.start.bilateral_weight};
  const auto parameter = [&](const std::string& name, const Shape& shape, double value) {
    return &add_parameter(name, shape, layers::ParameterKind::bias, layers::Initialiser::constant(value));
  };
  for (const int term : {0, 1}) {
    const std::string name = kTerms[term];
    const auto deviations = std::int64_t(start_sigma(settings_, term).size());
    weight_[term] = parameter(name + "_weight", {1, 1, 1, 1}, start[term]);
    log_sigma_[term] = parameter(name + "_log_sigma", {deviations}, 0);
    if (settings_.learning == CrfLearning::potts) continue;
    const std::int64_t second = settings_.learning == CrfLearning::diagonal ? 1 : classes;
    labels_[term] = parameter(name + "_labels", {1, 1, classes, second}, 0);
  }
  if (settings_.learning == CrfLearning::factored)
    penalty_ = parameter("penalty", {1, 1, classes, classes}, 0);
}

Variable CrfLayer::forward(const Variable& logits, const Variable& image) {
  return mean_field(logits, image, weights(), settings_);
}

CrfWeights CrfLayer::weights() const {
  CrfWeights w;
  for (const int term : {0, 1}) {
    w.weight[term] = *weight_[term];
    w.log_sigma[term] = *log_sigma_[term];
    if (labels_[term]) w.labels[term] = *labels_[term];
  }
  if (penalty_) w.penalty = *penalty_;
  return w;
}

DenseCrf CrfLayer::dense_crf(const Tensor& unary, const Tensor& image) const {
  DenseCrf crf(unary);
  const CrfWeights learned = weights();
  const Normalization normalization = settings_.start.normalization;
  const std::vector<double> places = learned_sigma(settings_, learned, 0),
                            all = learned_sigma(settings_, learned, 1);
  crf.add_gaussian({places[0], places[1]}, compatibility_of(settings_, learned, 0),
                   {.normalization = normalization, .method = method_of(settings_, 0)});
  crf.add_bilateral(image, {all[0], all[1]}, {all.begin() + 2, all.end()},
                    compatibility_of(settings_, learned, 1),
                    {.normalization = normalization, .method = method_of(settings_, 1)});
  return crf;
}

CrfParameters CrfLayer::learned() const {
  CrfParameters p = settings_.start;
  const CrfWeights learned = weights();
  const auto mean = [](const std::vector<double>& v, std::size_t begin, std::size_t end) {
    return std::accumulate(v.begin() + std::ptrdiff_t(begin), v.begin() + std::ptrdiff_t(end), 0.0) /
           double(end - begin);
  };
  const std::vector<double> places = learned_sigma(settings_, learned, 0),
                            all = learned_sigma(settings_, learned, 1);
  p.gaussian_weight = doubles(learned.weight[0])[0];
  p.bilateral_weight = doubles(learned.weight[1])[0];
  p.gaussian_sigma = mean(places, 0, 2);
  p.bilateral_sigma_xy = mean(all, 0, 2);
  p.bilateral_sigma_rgb = mean(all, 2, all.size());
  return p;
}

}  // namespace atrous::models
