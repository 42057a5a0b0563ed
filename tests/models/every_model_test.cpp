#include <cmath>
#include <functional>

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/upsample.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/layers/adamw.h"
#include "atrous/models/registry.h"
#include "atrous/models/segment.h"
#include "tests/support/catch.h"

// Whatever stands in the registry, narrow and on tiny images: it learns a batch by heart, and the gradient of
// its training loss is that loss's.

namespace atrous::models {
namespace {

constexpr std::int64_t kClasses = 3;

// A network this small is done before a second thread has woken.
struct OneThread {
  OneThread() { set_threads(1); }
  ~OneThread() { set_threads(before); }
  const int before = threads();
};

struct Batch {
  Tensor images;  // [N, H, W, 3] in -1..1
  Tensor labels;  // [N, H, W] u8
};

// Dark noise; the left or the right part is brighter, of class 1 or 2.
Batch halves(std::int64_t batch, std::int64_t size, std::uint64_t seed) {
  Batch b{Tensor::empty({batch, size, size, 3}), Tensor::zeros({batch, size, size}, Dtype::u8)};
  Random random(seed);
  const Span<float> pixels = b.images.span<float>();
  for (float& v : pixels) v = float(random.uniform(-1, -0.4));
  for (std::int64_t p = 0; p < batch * size * size; ++p) {
    const std::int64_t n = p / (size * size), w = p % size, border = size * (n + 2) / (batch + 3);
    const bool left = n % 2 == 0;
    if (left != (w < border)) continue;
    const std::int64_t klass = left ? 1 : 2;
    b.labels.span<std::uint8_t>()[p] = std::uint8_t(klass);
    pixels[p * 3 + klass - 1] += 1.3f;
  }
  return b;
}

// As the papers train it: the sum over all that has a loss of its own.
Variable loss_of(Model& model, const Variable& images, const Tensor& labels) {
  Variable sum;
  for (const TrainingLogits& term : model.training_logits(images)) {
    const Variable loss = scale(
        upsample_cross_entropy(term.logits, labels, {.align_corners = model.convention().align_corners}),
        term.weight);
    sum = sum.defined() ? add(sum, loss) : loss;
  }
  return sum;
}

// By the convention of the model's publication.
std::string published(const std::string& name) {
  if (name.starts_with("deeplab_v1") || name.starts_with("deeplab_v2")) return name + ":caffe";
  if (name.starts_with("lraspp") || name == "deeplabv3_mobilenet_v3_large" || name == "deeplab_v3_resnet50")
    return name + ":torchvision";
  return name.ends_with("resnet18") ? name : name + ":tf";
}

void set_uniform(const Model& model, const char* ending, double low, double high, Random& random) {
  for (layers::Parameter& p : model.named_parameters())
    if (p.name.ends_with(ending))
      for (double& v : p.variable.mutable_value().span<double>()) v = random.uniform(low, high);
}

struct Slope {
  double gradient, measured, norm;
  bool smooth;  // both steps agree: no kink lies between the points
};

// The derivative along a random direction of all parameters, by the gradient and by differences.
Slope slope_along(Model& model, const std::function<Variable()>& loss, double step, Random& random) {
  model.zero_grad();
  loss().backward();
  auto parameters = model.named_parameters();
  std::vector<std::vector<double>> direction;
  Slope s{0, 0, 0, false};
  for (const auto& p : parameters) {
    auto& u = direction.emplace_back();
    REQUIRE(p.variable.grad().defined());
    for (const double g : p.variable.grad().span<double>()) {
      u.push_back(random.normal());
      s.gradient += g * u.back();
      s.norm += g * g;
    }
  }
  s.norm = std::sqrt(s.norm);
  const NoGrad no_grad;
  const auto moved = [&](double by) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Span<double> w = parameters[i].variable.mutable_value().span<double>();
      for (std::int64_t k = 0; k < w.size(); ++k) w[k] += by * direction[i][std::size_t(k)];
    }
    return loss().item();
  };
  const double far = moved(step), near = moved(-step / 2);
  const double near_back = moved(-step), far_back = moved(-step / 2);
  moved(step);
  s.measured = (near - near_back) / step;
  s.smooth = std::abs((far - far_back) / (2 * step) - s.measured) < 4e-6 * s.norm;
  return s;
}

}  // namespace

TEST_CASE("every model: learns a small batch by heart", "[models][every]") {
  const OneThread one;
  for (const std::string& name : names()) {
    // Of the 4x4 taps at rate 8 none lies on a pixel of a map of 5x5.
    const Batch batch = halves(3, name.starts_with("deeplab_v1_4x4") ? 65 : 33, 9);
    const Variable images(batch.images);
    const auto model = make(name, {.classes = kClasses, .width = 0.03, .head_width = 0.06, .seed = 2});
    layers::AdamW optimizer(model->named_parameters(), {.lr = 0.01, .weight_decay = 0});
    double loss = 10;
    int step = 0;
    for (; step < 200 && loss > 0.1; ++step) {
      optimizer.zero_grad();
      const Variable training = loss_of(*model, images, batch.labels);
      training.backward();
      REQUIRE(optimizer.step());
      // Dropout of VGG's heads hides what is learnt; without batch norms evaluation mode is the same net.
      if (!model->backbone().batch_norm()) {
        const NoGrad no_grad;
        const EvalScope eval(*model);
        loss = loss_of(*model, images, batch.labels).item();
      } else {
        loss = training.item();
      }
    }
    INFO(name << ": loss " << loss << " after " << step << " steps");
    CHECK(loss <= 0.1);
  }
}

TEST_CASE("every model: the gradient is that of the training loss", "[models][every]") {
  const OneThread one;
  const Batch batch = halves(3, 17, 4);
  const Variable images(batch.images.to(Dtype::f64));
  for (const std::string& name : names()) {
    const auto model =
        make(published(name), {.classes = kClasses, .width = 0.02, .head_width = 0.02, .seed = 5});
    model->to(Dtype::f64);
    Random random(6);
    // Away from kinks: where all inputs of a relu are 0 its own input is beta or a bias, which start at 0.
    set_uniform(*model, ".beta", 0.1, 0.5, random);
    set_uniform(*model, ".bias", 0.1, 0.5, random);
    const auto buffers = model->named_buffers();
    std::vector<Tensor> start;
    for (const auto& b : buffers) start.push_back(b.tensor->clone());
    const auto loss = [&] {
      for (std::size_t i = 0; i < buffers.size(); ++i) buffers[i].tensor->copy_from(start[i]);  // dropout's
      return loss_of(*model, images, batch.labels);
    };
    Slope slope{};
    int attempt = 0;
    for (double step = 4e-8; attempt < 6 && !slope.smooth; ++attempt, step /= 3)
      slope = slope_along(*model, loss, step, random);
    INFO(published(name) << ": measured " << slope.measured << ", by the gradient " << slope.gradient
                         << ", its length " << slope.norm << ", attempts " << attempt);
    CHECK(slope.smooth);
    CHECK(slope.norm > 1e-3);
    CHECK(std::abs(slope.measured - slope.gradient) < 1e-5 * slope.norm);
  }
}

}  // namespace atrous::models
