#include "atrous/io/synthetic.h"

#include "atrous/core/error.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

using io::Split;

bool same(const io::Sample& a, const io::Sample& b) {
  return identical(a.image, b.image) && identical(a.labels, b.labels);
}

/// FNV-1a of all bytes.
std::uint64_t digest(const Tensor& tensor, std::uint64_t hash = 0xcbf29ce484222325u) {
  for (const std::uint8_t byte : tensor.span<std::uint8_t>()) hash = (hash ^ byte) * 0x100000001b3u;
  return hash;
}

}  // namespace

TEST_CASE("synthetic: a scene is a function of seed, split, number and size", "[io][synthetic]") {
  const io::SyntheticOptions options{.classes = 12, .height = 65, .width = 97, .seed = 3};
  const io::Sample scene = io::synthetic_scene(options, Split::train, 4);
  CHECK(scene.image.shape() == Shape({1, 65, 97, 3}));
  CHECK(scene.labels.shape() == Shape({1, 65, 97}));
  CHECK(same(scene, io::synthetic_scene(options, Split::train, 4)));
  CHECK_FALSE(same(scene, io::synthetic_scene(options, Split::train, 5)));
  CHECK_FALSE(same(scene, io::synthetic_scene(options, Split::val, 4)));
  io::SyntheticOptions other = options;
  other.seed = 4;
  CHECK_FALSE(same(scene, io::synthetic_scene(other, Split::train, 4)));
}

TEST_CASE("synthetic: the same bits on every machine", "[io][synthetic]") {
  std::uint64_t images = 0xcbf29ce484222325u, labels = images;
  for (std::int64_t i = 0; i < 20; ++i) {
    const io::Sample scene =
        io::synthetic_scene({.classes = 12, .height = 97, .width = 97, .seed = 1}, Split::val, i);
    images = digest(scene.image, images);
    labels = digest(scene.labels, labels);
  }
  CHECK(images == 0x39afe95fa4633d2cu);
  CHECK(labels == 0x2ee2699907ec3486u);
}

TEST_CASE("synthetic: every class turns up, with a band of 255 between any two", "[io][synthetic]") {
  for (const std::int64_t classes : {2, 3, 6, 12}) {
    INFO(classes << " classes");
    std::vector<std::int64_t> pixels(256, 0);
    std::int64_t touching = 0;
    constexpr std::int64_t kSide = 97, kScenes = 40;
    for (std::int64_t i = 0; i < kScenes; ++i) {
      const io::Sample scene =
          io::synthetic_scene({.classes = classes, .height = kSide, .width = kSide}, Split::train, i);
      const auto labels = scene.labels.span<std::uint8_t>();
      const auto differ = [&](std::int64_t p, std::int64_t q) {
        return labels[p] != labels[q] && labels[p] != io::kIgnore && labels[q] != io::kIgnore;
      };
      for (std::int64_t p = 0; p < labels.size(); ++p) {
        ++pixels[labels[p]];
        touching += (p + 1) % kSide != 0 && differ(p, p + 1);
        touching += p + kSide < labels.size() && differ(p, p + kSide);
      }
    }
    CHECK(touching == 0);
    for (std::int64_t c = 0; c < 256; ++c) {
      INFO("label " << c);
      CHECK((pixels[std::size_t(c)] > 0) == (c < classes || c == io::kIgnore));
    }
    const double all = double(kSide * kSide * kScenes);
    CHECK(double(pixels[0]) / all > 0.3);
    CHECK(double(pixels[0]) / all < 0.8);
    CHECK(double(pixels[io::kIgnore]) / all < 0.15);
  }
}

TEST_CASE("synthetic: refuses sizes and numbers of classes that it has not", "[io][synthetic]") {
  const auto scene = [](const io::SyntheticOptions& options, std::int64_t index = 0) {
    return io::synthetic_scene(options, Split::train, index);
  };
  CHECK_THROWS_AS(scene({.classes = 1}), ValueError);
  CHECK_THROWS_AS(scene({.classes = 13}), ValueError);
  CHECK_THROWS_AS(scene({.height = 31}), ValueError);
  CHECK_THROWS_AS(scene({.width = 5000}), ValueError);
  CHECK_THROWS_AS(scene({}, -1), ValueError);
}

TEST_CASE("synthetic: scenes as a data set", "[io][synthetic]") {
  const auto data = io::make_dataset("synthetic", Split::val);
  CHECK(data->classes() == 6);
  CHECK(data->colormap().classes[1].name == "ball");
  CHECK(data->size() > 0);
  CHECK(same(data->sample(2), io::make_dataset("synthetic", Split::val)->sample(2)));
  CHECK_FALSE(same(data->sample(2), io::make_dataset("synthetic", Split::train)->sample(2)));
  CHECK_FALSE(same(data->sample(2), io::make_dataset("synthetic", Split::val, {.seed = 9})->sample(2)));
  CHECK(io::make_dataset("synthetic", Split::val, {.classes = 9})->classes() == 9);
  CHECK_THROWS_AS(io::make_dataset("synthetic", Split::val, {.classes = 13}), ValueError);
}

}  // namespace atrous::tests
