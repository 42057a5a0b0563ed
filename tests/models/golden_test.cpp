#include "atrous/autograd/graph.h"
#include "atrous/models/deeplab_v3.h"
#include "atrous/models/mobilenet_v2.h"
#include "atrous/models/registry.h"
#include "atrous/models/resnet.h"
#include "tests/support/catch.h"

// Sizes and costs at 21 classes and 513 x 513, from published tables and from a computation by hand that
// agrees with them.

namespace atrous::models {
namespace {

const Shape kImage{1, 513, 513, 3};

layers::Summary summary_of(const std::string& name, std::int64_t output_stride) {
  return summarise(*build({.name = name, .classes = 21, .output_stride = output_stride}), kImage);
}

// In units of 10^9, rounded to the published digits.
double giga(std::int64_t macs) { return double(macs) * 1e-9; }

}  // namespace

TEST_CASE("golden: backbones have the published sizes", "[models][golden]") {
  const BackboneOptions ours{.convention = &convention("")};
  CHECK(MobileNetV2(ours).parameter_count() == 1'811'712);
  CHECK(ResNet(50, ours).parameter_count() == 23'508'032);
  // ResNet-18 of 1000 classes has 11,689,512; its classifier 513,000.
  CHECK(ResNet(18, ours).parameter_count() == 11'176'512);
  // TensorFlow's rule for widths other than 1.
  Convention unrounded = convention("");
  unrounded.width_rounding = {.divisor = 1, .minimum = 1};
  CHECK(MobileNetV2({.width = 0.5, .convention = &unrounded}).parameter_count() == 477'088);
}

TEST_CASE("golden: MobileNet widths go to multiples of 8", "[models][golden]") {
  CHECK(scaled_channels(24, 0.5, {8, 8}) == 16);  // 8 would lose a third
  CHECK(scaled_channels(24, 0.5, {1, 1}) == 12);
  CHECK(scaled_channels(16, 0.25, {8, 8}) == 8);
  CHECK(scaled_channels(320, 1, {8, 8}) == 320);
  CHECK(scaled_channels(32, 1.4, {8, 8}) == 48);
}

TEST_CASE("golden: Mobile DeepLabv3 is pooling and 1x1", "[models][golden]") {
  const auto os16 = summary_of("deeplab_v3_mobilenet_v2", 16);
  CHECK(os16.parameters() == 2'113'557);
  CHECK(giga(os16.macs()) == Approx(2.741).margin(0.0005));
  CHECK(os16.rows.back().output == Shape{1, 33, 33, 21});
  const auto os8 = summary_of("deeplab_v3_mobilenet_v2", 8);
  CHECK(os8.parameters() == 2'113'557);
  CHECK(giga(os8.macs()) == Approx(8.826).margin(0.0005));
  CHECK(os8.rows.back().output == Shape{1, 65, 65, 21});
}

TEST_CASE("golden: with atrous branches it is 4.52 M", "[models][golden]") {
  const Convention& rules = convention("");
  auto backbone = std::make_unique<MobileNetV2>(BackboneOptions{.convention = &rules});
  auto head = std::make_unique<DeepLabV3>(*backbone, HeadOptions{.convention = &rules}, true);
  const Model model({.name = "mobile", .convention = "atrous"}, std::move(backbone), std::move(head));
  const auto summary = summarise(model, kImage);
  CHECK(summary.parameters() == 4'523'541);
  CHECK(giga(summary.macs()) == Approx(5.364).margin(0.0005));
}

TEST_CASE("golden: DeepLab v3+ on MobileNetV2", "[models][golden]") {
  const auto summary = summary_of("deeplab_v3plus_mobilenet_v2", 16);
  CHECK(summary.parameters() == 5'816'053);
  CHECK(giga(summary.macs()) == Approx(26.94).margin(0.005));
  CHECK(summary.rows.back().output == Shape{1, 129, 129, 21});
}

TEST_CASE("golden: DeepLab v3 and v3+ on ResNet-50", "[models][golden]") {
  // The published 48.289 has the strides in the last units; in the first units (ours) each of the stages
  // 2 to 4 computes one unit less at the finer size and the stem's neighbours more: 2.147 more, as between
  // the two forms of v3+ on ResNet-101 (92.820 against 90.673).
  const auto v3 = summary_of("deeplab_v3_resnet50", 16);
  CHECK(v3.parameters() == 39'048'533);
  CHECK(giga(v3.macs()) == Approx(48.289 + 92.820 - 90.673).margin(0.001));
  CHECK(v3.rows.back().output == Shape{1, 33, 33, 21});
  const auto v3plus = summary_of("deeplab_v3plus_resnet50", 16);
  CHECK(v3plus.parameters() == 39'048'533 + 1'309'045 - 5'397);  // its decoder has the logits
  CHECK(v3plus.rows.back().output == Shape{1, 129, 129, 21});
}

TEST_CASE("golden: the summary counts what the model has", "[models][golden]") {
  for (const std::string& name : names()) {
    INFO(name);
    const auto model = build({.name = name});
    CHECK(summarise(*model, kImage).parameters() == model->parameter_count());
  }
}

TEST_CASE("golden: trace() names the shape that forward() makes", "[models][golden]") {
  const NoGrad no_grad;
  for (const char* name :
       {"deeplab_v3_mobilenet_v2", "deeplab_v3plus_mobilenet_v2", "deeplab_v3plus_resnet18"}) {
    for (const std::int64_t stride : {4, 8, 16, 32}) {
      INFO(name << " at output stride " << stride);
      const auto model = build({.name = name, .classes = 3, .output_stride = stride});
      model->eval();
      for (const Shape& image : {Shape{1, 33, 33, 3}, Shape{2, 1, 20, 3}}) {
        const Variable logits = model->forward(Variable(Tensor::zeros(image)));
        CHECK(summarise(*model, image).rows.back().output == logits.shape());
      }
    }
  }
}

}  // namespace atrous::models
