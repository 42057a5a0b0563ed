#include <algorithm>
#include <cmath>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/exact.h"
#include "atrous/core/random.h"
#include "atrous/core/stream.h"
#include "atrous/layers/sgd.h"
#include "atrous/models/registry.h"
#include "atrous/models/segment.h"
#include "atrous/models/tiling.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

// A whole network on the first CUDA device: it trains and segments as on the CPU, and twice the same.

namespace atrous::tests {
namespace {

constexpr Device kCuda{DeviceType::cuda, 0};
constexpr std::int64_t kSide = 33, kClasses = 4;

Tensor random_image() {
  Random random(11);
  Tensor image = Tensor::empty({1, kSide, kSide, 3}, Dtype::u8);
  for (std::uint8_t& v : image.span<std::uint8_t>()) v = std::uint8_t(random.below(256));
  return image;
}

Tensor some_labels() {
  Tensor labels = Tensor::empty({1, kSide, kSide}, Dtype::u8);
  for (std::int64_t p = 0; p < labels.numel(); ++p)
    labels.span<std::uint8_t>()[p] = std::uint8_t(p % 11 == 0 ? 255 : p / kSide * kClasses / kSide);
  return labels;
}

struct Trained {
  std::vector<double> losses;
  std::vector<Tensor> parameters;
  // Of the image after the first step, where the network is in f32: two steps through batch norms of nine
  // pixels multiply the rounding beyond any bound worth stating.
  Tensor labels;
};

Trained train(Device device, Dtype dtype) {
  const auto model =
      models::make("deeplab_v3plus_mobilenet_v2", {.classes = kClasses, .width = 0.1, .seed = 3});
  model->to(dtype);
  model->to(device);
  layers::Sgd optimizer(model->named_parameters(), {.lr = 0.02, .momentum = 0.9, .weight_decay = 1e-4});
  Trained result;
  for (int step = 0; step < 2; ++step) {
    const Tensor images = models::prepare(*model, random_image()).to(dtype).to(device);
    const Variable loss =
        softmax_cross_entropy(model->full_logits(Variable(images)), some_labels().to(device));
    loss.backward();
    CHECK(optimizer.step());
    model->zero_grad();
    result.losses.push_back(loss.item());
    if (step > 0 || dtype != Dtype::f32) continue;
    model->eval();
    result.labels = models::segment(*model, random_image());
    model->train();
  }
  for (const layers::Parameter& p : model->named_parameters())
    result.parameters.push_back(p.variable.value().to(kCpu));
  return result;
}

}  // namespace

TEST_CASE("cuda: a network trains and segments as on the CPU, and twice the same", "[models][cuda]") {
  if (cuda_device_count() == 0) {
    WARN("no CUDA device: skipped");
    return;
  }
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    INFO(dtype);
    const Trained cpu = train(kCpu, dtype), cuda = train(kCuda, dtype), again = train(kCuda, dtype);
    const bool is_double = dtype == Dtype::f64;
    for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
      CHECK(cuda.losses[i] == Approx(cpu.losses[i]).epsilon(is_double ? 1e-9 : 1e-4));
      CHECK(cuda.losses[i] == again.losses[i]);
    }
    for (std::size_t i = 0; i < cpu.parameters.size(); ++i) {
      CHECK(identical(cuda.parameters[i], again.parameters[i]));
      if (is_double) CHECK(gap(Reference(cuda.parameters[i]), Reference(cpu.parameters[i])) < 1e-7);
    }
    if (is_double) continue;
    std::int64_t equal = 0;
    for (std::int64_t p = 0; p < cpu.labels.numel(); ++p)
      equal += cpu.labels.span<std::uint8_t>()[p] == cuda.labels.span<std::uint8_t>()[p];
    CHECK(double(equal) >= 0.99 * double(cpu.labels.numel()));
  }
}

TEST_CASE("cuda: prepared for inference it is the same network, and exact tiles are the bits of the whole",
          "[models][cuda]") {
  if (cuda_device_count() == 0) {
    WARN("no CUDA device: skipped");
    return;
  }
  auto model = models::make("deeplab_v3plus_mobilenet_v2", {.classes = 3, .width = 0.1, .head_width = 0.1});
  model->eval();
  model->to(kCuda);
  Tensor line = Tensor::empty({1, 1, 1025, 3});
  Random random(3);
  for (float& v : line.span<float>()) v = float(random.uniform(-1, 1));
  const NoGrad no_grad;
  const Variable x(line.to(kCuda));
  const Tensor plain = model->forward(x).value().to(kCpu);
  model->prepare_inference();
  for (int image = 0; image < 2; ++image) CHECK(identical(model->forward(x).value().to(kCpu), plain));
  const ExactScope exact;
  const Tensor whole = model->forward(x).value().to(kCpu);
  CHECK(identical(models::tiled_logits(*model, line, 128), whole));
}

}  // namespace atrous::tests
