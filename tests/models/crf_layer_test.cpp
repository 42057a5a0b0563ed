#include "atrous/models/crf_layer.h"

#include <algorithm>
#include <cmath>

#include "atrous/autograd/gradcheck.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/error.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/layers/adamw.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

using models::CrfLayer;
using models::CrfLayerSettings;
using models::CrfLearning;
using models::CrfWeights;

constexpr CrfLearning kKinds[] = {CrfLearning::potts, CrfLearning::diagonal, CrfLearning::matrix,
                                  CrfLearning::factored};
Tensor normals(const Shape& shape, std::uint64_t seed, double deviation = 1, double mean = 0) {
  Random random(seed);
  Tensor t = Tensor::empty(shape, Dtype::f64);
  for (double& v : t.span<double>()) v = mean + deviation * random.normal();
  return t;
}

CrfLayerSettings settings_of(CrfLearning learning, FilterMethod method, Normalization normalization,
                             std::int64_t iterations) {
  return {.classes = 3,
          .learning = learning,
          .start = {.gaussian_weight = 0.7,
                    .gaussian_sigma = 1.3,
                    .bilateral_weight = 0.9,
                    .bilateral_sigma_xy = 2.2,
                    .bilateral_sigma_rgb = 45,
                    .normalization = normalization,
                    .iterations = iterations,
                    .method = method}};
}

// Every parameter away from where it starts, so that all of them matter.
void disturb(CrfLayer& layer) {
  std::uint64_t seed = 20;
  for (layers::Parameter& p : layer.named_parameters()) {
    const Tensor moves = normals(p.variable.shape(), seed++, 0.2);
    Tensor& value = p.variable.mutable_value();
    Tensor doubles = value.to(Dtype::f64).clone();
    for (std::int64_t i = 0; i < doubles.numel(); ++i) doubles.span<double>()[i] += moves.span<double>()[i];
    value.copy_from(doubles.to(value.dtype()));
  }
}

double worst_gap(const Tensor& a, const Tensor& b) {
  const Tensor left = a.to(Dtype::f64), right = b.to(Dtype::f64);
  double worst = 0;
  for (std::int64_t i = 0; i < left.numel(); ++i)
    worst = std::max(worst, std::abs(left.span<double>()[i] - right.span<double>()[i]));
  return worst;
}

}  // namespace

TEST_CASE("crf_layer: gradients of everything learnable by finite differences", "[models][crf_layer]") {
  const ThreadsScope one(1);  // fields are too small to share
  const Variable logits(normals({1, 5, 6, 3}, 1), true), image(normals({1, 5, 6, 3}, 2, 50, 120), true);
  const auto check = [&](const CrfLayerSettings& settings) {
    CrfLayer layer(settings);
    layer.to(Dtype::f64);
    disturb(layer);
    std::vector<Variable> inputs = {logits, image};
    for (const layers::Parameter& p : layer.named_parameters()) inputs.push_back(p.variable);
    const auto field = [&](const std::vector<Variable>& in) {
      CrfWeights w;
      std::size_t next = 2;
      for (const int term : {0, 1}) {
        w.weight[term] = in[next++];
        w.log_sigma[term] = in[next++];
        if (settings.learning != CrfLearning::potts) w.labels[term] = in[next++];
      }
      if (settings.learning == CrfLearning::factored) w.penalty = in[next++];
      return models::mean_field(in[0], in[1], w, settings);
    };
    const CheckResult result = gradcheck(field, inputs, {.max_entries = 60});
    INFO(models::crf_learning_name(settings.learning)
         << ' ' << filter_method_name(settings.start.method) << ' '
         << normalization_name(settings.start.normalization) << ": " << result.message << " (worst "
         << result.worst << ")");
    CHECK(result.passed);
  };
  for (const CrfLearning kind : kKinds) {
    check(settings_of(kind, FilterMethod::lattice, Normalization::symmetric, 3));
    check(settings_of(kind, FilterMethod::exact, Normalization::after, 2));
  }
  for (const Normalization n :
       {Normalization::none, Normalization::mean, Normalization::before, Normalization::after})
    check(settings_of(CrfLearning::potts, FilterMethod::automatic, n, 2));
}

TEST_CASE("crf_layer: its inference is that of the dense CRF", "[models][crf_layer]") {
  const ThreadsScope one(1);
  const Tensor logits = normals({2, 9, 11, 3}, 3), image = normals({2, 9, 11, 3}, 4, 50, 120);
  for (const CrfLearning kind : kKinds)
    for (const FilterMethod method : {FilterMethod::lattice, FilterMethod::exact, FilterMethod::separable})
      for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
        INFO(models::crf_learning_name(kind) << ' ' << filter_method_name(method) << ' ' << dtype);
        CrfLayer layer(settings_of(kind, method, Normalization::symmetric, 4));
        layer.to(dtype);
        disturb(layer);
        const NoGrad no_grad;
        const Variable z(logits.to(dtype)), pixels(image.to(dtype));
        const Tensor marginals = softmax(layer.forward(z, pixels)).value();
        models::DenseCrf crf = layer.dense_crf(models::unary_from_logits(z.value()), pixels.value());
        CHECK(worst_gap(marginals, crf.inference({.iterations = 4})) < (dtype == Dtype::f64 ? 1e-12 : 2e-5));
      }
}

TEST_CASE("crf_layer: it starts as the CRF of its settings, and says what it has become",
          "[models][crf_layer]") {
  const Tensor logits = normals({1, 9, 11, 4}, 5);
  Tensor image = Tensor::empty({1, 9, 11, 3}, Dtype::u8);
  for (std::int64_t i = 0; i < image.numel(); ++i)
    image.span<std::uint8_t>()[i] = std::uint8_t(37 * i % 256 / (1 + i % 3));
  for (const CrfLearning kind : kKinds) {
    CrfLayer layer({.classes = 4, .learning = kind, .start = models::crf_preset("v2")});
    const NoGrad no_grad;
    const Tensor marginals =
        softmax(layer.forward(Variable(logits.to(Dtype::f32)), Variable(image.to(Dtype::f32)))).value();
    const Tensor expected =
        models::dense_crf(models::unary_from_logits(logits.to(Dtype::f32)), image, models::crf_preset("v2"));
    CHECK(worst_gap(marginals, expected) < 2e-5);
    CHECK(layer.learned().describe() == models::crf_preset("v2").describe());
    (*layer.named_parameters()[0].variable.mutable_value().span<float>().data()) = 2.5f;
    CHECK(layer.learned().gaussian_weight == 2.5);
  }
}

TEST_CASE("crf_layer: learning finds the CRF that made the labels", "[models][crf_layer]") {
  const ThreadsScope one(1);
  // Labels of a CRF with other weights, deviations and a dislike of labels 0 and 1 for each other.
  CrfLayerSettings settings =
      settings_of(CrfLearning::matrix, FilterMethod::exact, Normalization::symmetric, 3);
  const Tensor logits = normals({2, 10, 12, 3}, 6), image = normals({2, 10, 12, 3}, 7, 50, 120);
  CrfLayer teacher(settings), pupil(settings);
  teacher.to(Dtype::f64);
  pupil.to(Dtype::f64);
  disturb(teacher);
  const Tensor labels = argmax_channels(teacher.forward(Variable(logits), Variable(image)).value());
  const auto loss_of = [&] {
    return softmax_cross_entropy(pupil.forward(Variable(logits), Variable(image)), labels);
  };
  layers::AdamW optimizer(pupil.named_parameters(), {.lr = 0.05});
  const double before = loss_of().item();
  for (int step = 0; step < 25; ++step) {
    pupil.zero_grad();
    loss_of().backward();
    optimizer.step();
  }
  const double after = loss_of().item();
  INFO("loss " << before << " -> " << after);
  CHECK(after < 0.75 * before);
  for (const layers::Parameter& p : pupil.named_parameters())
    for (const double v : p.variable.value().span<double>()) CHECK(std::isfinite(v));
}

TEST_CASE("crf_layer: what does not fit is refused", "[models][crf_layer]") {
  const auto refusal = [](const std::function<void()>& f) -> std::string {
    try {
      f();
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  CHECK(refusal([] { CrfLayer({.classes = 0}); }).find("at least 1 of each") != std::string::npos);
  CHECK(refusal([] { CrfLayer({.classes = 2, .start = {.gaussian_sigma = 0}}); }).find("not positive") !=
        std::string::npos);
  CrfLayer layer({.classes = 3});
  const auto zeros = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  CHECK(refusal([&] {
          layer.forward(zeros({1, 4, 5, 2}), zeros({1, 4, 5, 3}));
        }).find("must be [N, H, W, 3]") != std::string::npos);
  CHECK(refusal([&] {
          layer.forward(zeros({1, 4, 5, 3}), zeros({1, 5, 4, 3}));
        }).find("must be [1, 4, 5, 3]") != std::string::npos);
}

}  // namespace atrous::tests
