#include "atrous/models/tiling.h"

#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/pool2d.h"
#include "atrous/core/error.h"
#include "atrous/core/exact.h"
#include "atrous/core/random.h"
#include "atrous/models/registry.h"
#include "atrous/models/segment.h"
#include "tests/support/catch.h"

namespace atrous::models {
namespace {

Tensor noise(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  Random random(3);
  for (float& v : x.span<float>()) v = random.uniform() * 2 - 1;
  return x;
}

}  // namespace

TEST_CASE("tiling: reach of a convolution is that of its window, and a stride for the phase",
          "[models][tiling]") {
  const Variable weight(noise({3, 3, 3, 2}));
  const auto once = [&](const Variable& x) { return conv2d(x, weight, {}, {.padding = 6, .rate = 6}); };
  CHECK(reach(once, 1, "conv") == 6 + 1);
  const Variable more(noise({5, 5, 2, 2}));
  const auto twice = [&](const Variable& x) {
    return conv2d(conv2d(x, weight, {}, {.stride = 4, .padding = 1}), more, {}, {.padding = 2});
  };
  // An output sees 2 outputs of the first on each side, 4 pixels apart, and one pixel more; measured from
  // pixels at multiples of 4 that are 8, and 4 may be missed.
  CHECK(reach(twice, 4, "conv") == 8 + 4);
  const auto pooled = [&](const Variable& x) { return scale_channels(x, global_avg_pool2d(x)); };
  CHECK_THROWS_AS(reach(pooled, 1, "pool"), ValueError);
}

TEST_CASE("tiling: tiles put together are the bits of the whole", "[models][tiling]") {
  const std::string name =
      GENERATE(as<std::string>(), "deeplab_v3plus_mobilenet_v2", "deeplab_v3_mobilenet_v2",
               "deeplab_v3plus_mobilenet_v2:tf", "deeplab_v3_resnet18", "deeplab_v1_vgg16",
               "deeplab_v2_vgg16", "deeplab_v3plus_xception41");
  CAPTURE(name);
  auto model = make(name, {.classes = 3, .output_stride = 16, .width = 0.125});
  model->eval();
  // Lines of pixels: windows are a part of them, and cost little.
  const bool wide = GENERATE(true, false);
  const Shape shape = wide ? Shape{1, 1, 2049, 3} : Shape{2, 2049, 1, 3};
  const Tensor x = noise(shape);
  const ExactScope exact;
  const NoGrad no_grad;
  const Tensor whole = model->forward(Variable(x)).value();
  CHECK(identical(tiled_logits(*model, x, 256), whole));
}

TEST_CASE("tiling: models that see the whole image inside are refused by name", "[models][tiling]") {
  auto model = make("lraspp_mobilenet_v3_large", {.classes = 3, .width = 0.25});
  CHECK_THROWS_WITH(tiled_logits(*model, noise({1, 33, 33, 3}), 32),
                    Catch::Contains("lraspp_mobilenet_v3_large"));
  auto v3 = make("deeplab_v3_mobilenet_v2", {.classes = 3, .width = 0.25});
  CHECK_THROWS_AS(tiled_logits(*v3, noise({1, 32, 33, 3}), 32), ShapeError);
  CHECK_THROWS_AS(tiled_logits(*v3, noise({1, 33, 33, 3}), 8), ValueError);
}

TEST_CASE("segment: tiles, windows and the whole", "[models][tiling]") {
  auto model = make("deeplab_v3plus_mobilenet_v2", {.classes = 4, .width = 0.25, .seed = 3});
  for (layers::Parameter& p : model->named_parameters())
    if (p.name == "head.logits.weight")
      for (float& v : p.variable.mutable_value().span<float>()) v *= 50;
  Tensor image = Tensor::empty({1, 90, 131, 3}, Dtype::u8);
  Random random(17);
  for (std::uint8_t& v : image.span<std::uint8_t>()) v = std::uint8_t(random.below(256));
  {
    const ExactScope exact;
    CHECK(identical(segment(*model, image, {.tile = 64}), segment(*model, image)));
  }
  CHECK(
      identical(segment_probabilities(*model, image, {.window = 400}), segment_probabilities(*model, image)));
  const Tensor p = segment_probabilities(*model, image, {.window = 49});
  REQUIRE(p.shape() == Shape{1, 90, 131, 4});
  for (std::int64_t i = 0; i < 90 * 131; ++i) {
    float sum = 0;
    for (std::int64_t c = 0; c < 4; ++c) sum += p.span<float>()[i * 4 + c];
    CHECK(sum == Approx(1).margin(1e-5));
  }
  CHECK_THROWS_AS(segment(*model, image, {.tile = 64, .window = 64}), ValueError);
}

}  // namespace atrous::models
