#include <cmath>

#include "atrous/autograd/graph.h"
#include "atrous/core/random.h"
#include "atrous/models/mobilenet_v2.h"
#include "atrous/models/resnet.h"
#include "tests/support/catch.h"

// A network at output stride 8 is the network at output stride 32 on a denser grid: with the same weights
// every fourth pixel must agree, borders included (padding is symmetric, so taps land on the same grid).

namespace atrous::models {
namespace {

std::unique_ptr<Backbone> make_backbone(const std::string& name, std::int64_t output_stride) {
  const BackboneOptions options{.output_stride = output_stride,
                                .width = name == "mobilenet_v2" ? 0.5 : 1.0,
                                .convention = &convention("")};
  if (name == "mobilenet_v2") return std::make_unique<MobileNetV2>(options);
  return std::make_unique<ResNet>(name == "resnet18" ? 18 : 50, options);
}

// Weights by name, then running statistics from one batch, so that activations have a sensible size.
void prepare(Backbone& backbone, const Variable& image) {
  backbone.initialise(21);
  backbone.train();
  const NoGrad no_grad;
  for (int i = 0; i < 4; ++i) backbone.features(image);
  backbone.eval();
}

void copy_state(const Backbone& from, Backbone& to) {
  const auto a = from.named_buffers();
  const auto b = to.named_buffers();
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].name == b[i].name);
    b[i].tensor->copy_from(*a[i].tensor);
  }
}

}  // namespace

TEST_CASE("backbones: one function at every output stride", "[models][atrous]") {
  const std::string name = GENERATE("mobilenet_v2", "resnet18", "resnet50");
  Tensor pixels = Tensor::empty({1, 65, 97, 3});
  Random random(5);
  for (float& v : pixels.span<float>()) v = float(random.uniform(-1, 1));
  const Variable image(pixels);

  const auto coarse = make_backbone(name, 32);
  prepare(*coarse, image);
  const NoGrad no_grad;
  const Tensor expected = coarse->features(image).high.value();
  REQUIRE(expected.shape() == Shape{1, 3, 4, coarse->high_channels()});
  double scale = 0;
  for (const float v : expected.span<float>()) scale = std::max(scale, double(std::abs(v)));
  REQUIRE(scale > 0.1);

  for (const std::int64_t stride : {16, 8, 4}) {
    const auto dense = make_backbone(name, stride);
    dense->initialise(21);
    copy_state(*coarse, *dense);
    dense->eval();
    const Tensor got = dense->features(image).high.value();
    const std::int64_t step = 32 / stride, channels = expected.dim(3);
    REQUIRE(got.shape() == Shape{1, 2 * step + 1, 3 * step + 1, channels});
    const Span<const float> a = expected.span<float>(), b = got.span<float>();
    double worst = 0;
    for (std::int64_t h = 0; h < 3; ++h)
      for (std::int64_t w = 0; w < 4; ++w)
        for (std::int64_t c = 0; c < channels; ++c)
          worst = std::max(worst, std::abs(double(a[(h * 4 + w) * channels + c]) -
                                           b[(h * step * got.dim(2) + w * step) * channels + c]));
    INFO(name << " at output stride " << stride);
    CHECK(worst / scale < 1e-4);
  }
}

}  // namespace atrous::models
