#include <cmath>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/layers/poly_lr.h"
#include "atrous/layers/sgd.h"
#include "atrous/models/metrics.h"
#include "atrous/models/registry.h"
#include "atrous/models/segment.h"
#include "tests/support/catch.h"

// Whole models: do they learn, are their gradients those of their losses, are their bits always the same.

namespace atrous::models {
namespace {

struct Batch {
  Tensor images;  // [N, H, W, 3] in -1..1
  Tensor labels;  // [N, H, W] u8
};

// Dark noise with one bright rectangle: red of class 1, green of class 2.
Batch rectangles(std::int64_t batch, std::int64_t size, std::uint64_t seed) {
  Batch b{Tensor::empty({batch, size, size, 3}), Tensor::zeros({batch, size, size}, Dtype::u8)};
  Random random(seed);
  for (float& v : b.images.span<float>()) v = float(random.uniform(-1, -0.4));
  for (std::int64_t n = 0; n < batch; ++n) {
    const std::int64_t klass = 1 + n % 2;
    const std::int64_t top = random.below(size / 2), left = random.below(size / 2);
    const std::int64_t height = size / 3 + random.below(size / 6), width = size / 3 + random.below(size / 6);
    for (std::int64_t h = top; h < top + height; ++h)
      for (std::int64_t w = left; w < left + width; ++w) {
        const std::int64_t pixel = (n * size + h) * size + w;
        b.labels.span<std::uint8_t>()[pixel] = std::uint8_t(klass);
        b.images.span<float>()[pixel * 3 + klass - 1] += 1.3f;
      }
  }
  return b;
}

Variable loss_of(Model& model, const Batch& batch) {
  return softmax_cross_entropy(model.full_logits(Variable(batch.images)), batch.labels);
}

std::vector<Tensor> all_state(const Model& model) {
  std::vector<Tensor> all;
  for (const auto& p : model.named_parameters()) all.push_back(p.variable.value().clone());
  for (const auto& b : model.named_buffers()) all.push_back(b.tensor->clone());
  return all;
}

}  // namespace

TEST_CASE("training: one image is enough for a step", "[models][training]") {
  const std::string name = GENERATE("deeplab_v3_mobilenet_v2", "deeplab_v3plus_resnet18");
  const std::int64_t size = GENERATE(1, 17);
  const auto model = make(name, {.classes = 3});
  Batch batch{Tensor::full({1, size, size, 3}, 0.3), Tensor::full({1, size, size}, 1, Dtype::u8)};
  layers::Sgd sgd(model->named_parameters(), {.lr = 0.01});
  const Variable loss = loss_of(*model, batch);
  CHECK(std::isfinite(loss.item()));
  loss.backward();
  const auto report = sgd.step();
  INFO(report.non_finite);
  CHECK(report);
  for (const Tensor& t : all_state(*model))
    if (t.dtype() == Dtype::f32)
      for (const float v : t.span<float>()) REQUIRE(std::isfinite(v));
}

TEST_CASE("training: only ignored pixels change nothing but statistics", "[models][training]") {
  const auto model = make("deeplab_v3_mobilenet_v2", {.classes = 3, .width = 0.25});
  Batch batch{Tensor::full({1, 33, 33, 3}, 0.3), Tensor::full({1, 33, 33}, 255, Dtype::u8)};
  std::vector<Tensor> before;
  for (const auto& p : model->named_parameters()) before.push_back(p.variable.value().clone());
  layers::Sgd sgd(model->named_parameters(), {.lr = 0.1});
  const Variable loss = loss_of(*model, batch);
  CHECK(loss.item() == 0);
  loss.backward();
  CHECK(sgd.step());
  const auto parameters = model->named_parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    INFO(parameters[i].name);
    const Span<const float> a = parameters[i].variable.value().span<float>(), b = before[i].span<float>();
    for (std::int64_t k = 0; k < a.size(); ++k) REQUIRE(a[k] == b[k]);
  }
}

TEST_CASE("training: the gradient of a whole model is that of its loss", "[models][training]") {
  // Along a random direction of all parameters: (loss(w + h u) - loss(w - h u)) / 2h = <grad, u>. The step is
  // small because relus have kinks.
  const std::string name = GENERATE("deeplab_v3plus_mobilenet_v2", "deeplab_v3_mobilenet_v2");
  const bool frozen = GENERATE(false, true);
  const auto model = make(name, {.classes = 3, .width = 0.1, .seed = 5});
  model->to(Dtype::f64);
  model->freeze_batch_norm(frozen);
  // Away from the kinks: where all inputs of a relu are 0 its own input is beta, which starts at 0.
  Random draw(6);
  for (layers::Parameter& p : model->named_parameters())
    if (p.name.ends_with(".beta"))
      for (double& v : p.variable.mutable_value().span<double>()) v = draw.uniform(0.1, 0.5);
  const Batch batch = rectangles(2, 33, 3);
  const Variable image(batch.images.to(Dtype::f64));
  const auto buffers = model->named_buffers();
  std::vector<Tensor> start;
  for (const auto& b : buffers) start.push_back(b.tensor->clone());
  const auto loss = [&] {
    // The same dropout mask each time.
    for (std::size_t i = 0; i < buffers.size(); ++i) buffers[i].tensor->copy_from(start[i]);
    return softmax_cross_entropy(model->full_logits(image), batch.labels);
  };
  loss().backward();

  auto parameters = model->named_parameters();
  Random random(77);
  std::vector<std::vector<double>> direction;
  double slope = 0, gradient_squares = 0;
  for (const auto& p : parameters) {
    REQUIRE(p.variable.grad().defined());
    auto& u = direction.emplace_back();
    for (const double g : p.variable.grad().span<double>()) {
      u.push_back(random.normal());
      slope += g * u.back();
      gradient_squares += g * g;
    }
  }
  const double step = 1e-9;
  const auto move = [&](double by) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Span<double> w = parameters[i].variable.mutable_value().span<double>();
      for (std::int64_t k = 0; k < w.size(); ++k) w[k] += by * direction[i][std::size_t(k)];
    }
  };
  const NoGrad no_grad;
  move(step);
  const double after = loss().item();
  move(-2 * step);
  const double before = loss().item();
  const double measured = (after - before) / (2 * step);
  INFO(name << " frozen " << frozen << ": measured " << measured << ", gradient " << slope);
  CHECK(std::abs(measured - slope) < 1e-4 * std::sqrt(gradient_squares));
}

TEST_CASE("training: a narrow model learns four images by heart", "[models][training][slow]") {
  const auto model = make("deeplab_v3plus_mobilenet_v2", {.classes = 3, .width = 0.25, .seed = 2});
  const Batch batch = rectangles(4, 33, 9);
  constexpr int kSteps = 60;
  layers::Sgd sgd(model->named_parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 4e-5});
  double last = 0;
  for (int step = 0; step < kSteps; ++step) {
    sgd.set_lr(layers::poly_lr(0.1, step, kSteps));
    sgd.zero_grad();
    const Variable loss = loss_of(*model, batch);
    loss.backward();
    REQUIRE(sgd.step());
    last = loss.item();
  }
  INFO("loss " << last);
  CHECK(last < 0.05);
  const NoGrad no_grad;
  const auto mean_iou = [&] {
    ConfusionMatrix confusion(3);
    confusion.add(batch.labels, argmax_channels(model->full_logits(Variable(batch.images)).value()));
    return confusion.mean_iou();
  };
  CHECK(mean_iou() > 0.9);
  // In evaluation mode the image pooling branch sees running variances that are unbiased, 4/3 of what four
  // images had in training, so the bar is lower.
  for (int i = 0; i < 10; ++i) model->forward(Variable(batch.images));
  const EvalScope eval(*model);
  CHECK(mean_iou() > 0.5);
}

TEST_CASE("training: the same bits with 1, 2 and 3 threads", "[models][training]") {
  const int before = threads();
  const auto train = [](int with_threads) {
    set_threads(with_threads);
    const auto model = make("deeplab_v3plus_mobilenet_v2", {.classes = 3, .width = 0.25, .seed = 4});
    const Batch batch = rectangles(2, 33, 5);
    layers::Sgd sgd(model->named_parameters(), {.lr = 0.05});
    for (int step = 0; step < 2; ++step) {
      sgd.zero_grad();
      loss_of(*model, batch).backward();
      REQUIRE(sgd.step());
    }
    return all_state(*model);
  };
  const auto one = train(1);
  for (const int count : {2, 3}) {
    const auto other = train(count);
    bool same = one.size() == other.size();
    for (std::size_t i = 0; same && i < one.size(); ++i) same = identical(one[i], other[i]);
    CHECK(same);
  }
  set_threads(before);
}

}  // namespace atrous::models
