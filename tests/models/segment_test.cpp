#include "atrous/models/segment.h"

#include <algorithm>
#include <cmath>

#include "atrous/core/error.h"
#include "atrous/core/random.h"
#include "atrous/models/pad_image.h"
#include "atrous/models/registry.h"
#include "tests/support/catch.h"

namespace atrous::models {
namespace {

std::unique_ptr<Model> small_model(const std::string& name = "deeplab_v3plus_mobilenet_v2") {
  auto model = make(name, {.classes = 4, .width = 0.25, .seed = 3});
  // Larger logits than the initial ones, so that classes differ.
  for (layers::Parameter& p : model->named_parameters())
    if (p.name == "head.logits.weight")
      for (float& v : p.variable.mutable_value().span<float>()) v *= 50;
  return model;
}

Tensor picture(std::int64_t h, std::int64_t w, std::int64_t batch = 1) {
  Tensor t = Tensor::empty({batch, h, w, 3}, Dtype::u8);
  Random random(17);
  for (std::uint8_t& v : t.span<std::uint8_t>()) v = std::uint8_t(random.below(256));
  return t;
}

}  // namespace

TEST_CASE("preprocess: black, grey and white", "[models][segment]") {
  const Preprocessing& how = convention("").preprocessing;
  const Tensor image = Tensor::from<std::uint8_t>({1, 1, 2, 3}, {0, 255, 51, 0, 0, 255});
  const Tensor x = preprocess(image, how);
  CHECK(x.span<float>()[0] == -1);
  CHECK(x.span<float>()[1] == 1);
  CHECK(x.span<float>()[2] == Approx(-0.6));
  const Tensor padded = pad_image(x, 2, 4, how);
  REQUIRE(padded.shape() == Shape{1, 2, 4, 3});
  CHECK(padded.span<float>()[5] == 1);
  for (std::int64_t i = 6; i < 24; ++i) CHECK(padded.span<float>()[i] == 0);
  CHECK(identical(preprocess(image.to(Dtype::f32), how), x));
  CHECK_THROWS_AS(preprocess(Tensor::zeros({1, 2, 2, 4}), how), ShapeError);
  CHECK_THROWS_AS(preprocess(Tensor::zeros({1, 2, 2, 3}, Dtype::i32), how), DtypeError);
}

TEST_CASE("padded_size: a multiple of the output stride plus one", "[models][segment]") {
  CHECK(padded_size(1, 16) == 1);
  CHECK(padded_size(2, 16) == 17);
  CHECK(padded_size(17, 16) == 17);
  CHECK(padded_size(513, 16) == 513);
  CHECK(padded_size(514, 8) == 521);
}

TEST_CASE("segment: any size, and the mode comes back", "[models][segment]") {
  const auto model = small_model();
  for (const auto& [h, w] : {std::pair<int, int>{1, 1}, {1, 7}, {16, 17}, {33, 50}}) {
    const Tensor labels = segment(*model, picture(h, w));
    CHECK(labels.shape() == Shape{1, h, w});
    CHECK(labels.dtype() == Dtype::u8);
    for (const std::uint8_t v : labels.span<std::uint8_t>()) CHECK(v < 4);
  }
  CHECK(model->training());
  CHECK(segment(*model, picture(9, 9, 2)).shape() == Shape{2, 9, 9});
}

TEST_CASE("segment: the fused way finds the classes of the probabilities", "[models][segment]") {
  const auto model = small_model();
  const Tensor image = picture(37, 52);
  const Tensor p = segment_probabilities(*model, image);
  REQUIRE(p.shape() == Shape{1, 37, 52, 4});
  const Span<const float> v = p.span<float>();
  for (std::int64_t i = 0; i < 37 * 52; ++i)
    REQUIRE(v[4 * i] + v[4 * i + 1] + v[4 * i + 2] + v[4 * i + 3] == Approx(1).epsilon(1e-5));
  // The same class, or one as probable up to rounding.
  const Tensor fused = segment(*model, image);
  for (std::int64_t i = 0; i < 37 * 52; ++i) {
    const float* pixel = v.data() + 4 * i;
    REQUIRE(pixel[fused.span<std::uint8_t>()[i]] > *std::max_element(pixel, pixel + 4) - 1e-4f);
  }
}

TEST_CASE("segment_confusion: the counts of labels against segment()", "[models][segment]") {
  const auto model = small_model(GENERATE("deeplab_v3plus_mobilenet_v2", "deeplab_v3_mobilenet_v2"));
  const std::int64_t h = GENERATE(33, 20, 1), w = 41;
  const Tensor image = picture(h, w, 2);
  Tensor labels = Tensor::empty({2, h, w}, Dtype::u8);
  Random random(4);
  for (std::uint8_t& v : labels.span<std::uint8_t>()) v = std::uint8_t(random.below(4));
  labels.span<std::uint8_t>()[5] = 255;
  ConfusionMatrix expected(4);
  expected.add(labels, segment(*model, image));
  const ConfusionMatrix found = segment_confusion(*model, image, labels);
  CHECK(found.ignored() == 1);
  for (std::int64_t t = 0; t < 4; ++t)
    for (std::int64_t c = 0; c < 4; ++c) CHECK(found.count(t, c) == expected.count(t, c));
  CHECK_THROWS_AS(segment_confusion(*model, image, labels.to(Dtype::f32)), DtypeError);
  CHECK_THROWS_AS(segment_confusion(*model, image, Tensor::zeros({2, h, 3}, Dtype::u8)), ShapeError);
}

TEST_CASE("segment: a batch is its images", "[models][segment]") {
  const auto model = small_model();
  Tensor batch = picture(20, 24, 2);
  const Tensor labels = segment(*model, batch);
  const std::int64_t bytes = 20 * 24 * 3;
  std::vector<std::uint8_t> second(batch.span<std::uint8_t>().begin() + bytes,
                                   batch.span<std::uint8_t>().end());
  const Tensor alone = segment(*model, Tensor::from({1, 20, 24, 3}, second));
  for (std::int64_t i = 0; i < 20 * 24; ++i)
    REQUIRE(alone.span<std::uint8_t>()[i] == labels.span<std::uint8_t>()[20 * 24 + i]);
}

TEST_CASE("segment: averaging over flips makes a mirrored image's answer mirrored", "[models][segment]") {
  const auto model = small_model();
  const Tensor image = picture(33, 33);
  Tensor mirror = Tensor::empty(image.shape(), Dtype::u8);
  for (std::int64_t h = 0; h < 33; ++h)
    for (std::int64_t w = 0; w < 33; ++w)
      for (std::int64_t c = 0; c < 3; ++c)
        mirror.span<std::uint8_t>()[(h * 33 + w) * 3 + c] =
            image.span<std::uint8_t>()[(h * 33 + 32 - w) * 3 + c];
  const SegmentOptions options{.scales = {0.5, 1.0, 1.5}, .flip = true};
  const Tensor a = segment_probabilities(*model, image, options),
               b = segment_probabilities(*model, mirror, options);
  double worst = 0;
  for (std::int64_t h = 0; h < 33; ++h)
    for (std::int64_t w = 0; w < 33; ++w)
      for (std::int64_t c = 0; c < 4; ++c)
        worst = std::max(worst, std::abs(double(a.span<float>()[(h * 33 + w) * 4 + c]) -
                                         b.span<float>()[(h * 33 + 32 - w) * 4 + c]));
  CHECK(worst < 1e-5);
  CHECK(segment(*model, picture(1, 1), options).shape() == Shape{1, 1, 1});
}

TEST_CASE("segment: bad calls are refused", "[models][segment]") {
  const auto model = small_model("deeplab_v3_mobilenet_v2");
  CHECK_THROWS_AS(segment(*model, Tensor::zeros({1, 3, 3, 4}, Dtype::u8)), ShapeError);
  CHECK_THROWS_AS(segment(*model, picture(3, 3), {.scales = {}}), ValueError);
  CHECK_THROWS_AS(segment(*model, picture(3, 3), {.scales = {0.0}}), ValueError);
  CHECK(model->training());
}

}  // namespace atrous::models
