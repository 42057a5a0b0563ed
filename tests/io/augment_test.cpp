#include "atrous/io/augment.h"

#include <cmath>
#include <map>

#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

/// A picture that says where each of its pixels is: red = column, green = row, blue = 40, label = column.
io::Sample coordinates(std::int64_t height, std::int64_t width) {
  io::Sample sample{Tensor::empty({1, height, width, 3}, Dtype::u8),
                    Tensor::empty({1, height, width}, Dtype::u8), "coordinates"};
  auto image = sample.image.span<std::uint8_t>();
  auto labels = sample.labels.span<std::uint8_t>();
  for (std::int64_t p = 0; p < height * width; ++p) {
    image[p * 3] = labels[p] = std::uint8_t(p % width);
    image[p * 3 + 1] = std::uint8_t(p / width);
    image[p * 3 + 2] = 40;
  }
  return sample;
}

struct Crop {
  std::int64_t height, width;
  std::vector<float> image;
  std::vector<std::uint8_t> labels;

  float red(std::int64_t y, std::int64_t x) const { return image[std::size_t((y * width + x) * 3)]; }
  float green(std::int64_t y, std::int64_t x) const { return image[std::size_t((y * width + x) * 3 + 1)]; }
  float blue(std::int64_t y, std::int64_t x) const { return image[std::size_t((y * width + x) * 3 + 2)]; }
  int label(std::int64_t y, std::int64_t x) const { return labels[std::size_t(y * width + x)]; }
};

Crop crop(const io::Sample& sample, const io::AugmentOptions& options, std::uint64_t stream) {
  const std::int64_t h = options.crop_h, w = options.crop_w;
  Crop result{h, w, std::vector<float>(std::size_t(h * w * 3), -1000),
              std::vector<std::uint8_t>(std::size_t(h * w), 77)};
  io::augment(sample, options, Random(5, stream), result.image, result.labels);
  return result;
}

}  // namespace

TEST_CASE("augment: at scale 1 a crop of the image's size is the image", "[io][augment]") {
  const io::Sample sample = coordinates(11, 17);
  const Crop c = crop(sample, {.crop_h = 11, .crop_w = 17, .scale_min = 1, .scale_max = 1, .flip = false}, 0);
  for (std::int64_t y = 0; y < 11; ++y)
    for (std::int64_t x = 0; x < 17; ++x) {
      CHECK(c.red(y, x) == float(x));
      CHECK(c.green(y, x) == float(y));
      CHECK(c.label(y, x) == int(x));
    }
}

TEST_CASE("augment: labels stay on their pixels, whatever the scale, crop and flip", "[io][augment]") {
  const std::int64_t height = 61, width = 83;
  const io::Sample sample = coordinates(height, width);
  const io::AugmentOptions options{.crop_h = 41, .crop_w = 57, .pad_color = {300, 301, 302}};
  int flips = 0, padded = 0;
  double least = 10, most = 0;
  for (std::uint64_t stream = 0; stream < 60; ++stream) {
    INFO("stream " << stream);
    const Crop c = crop(sample, options, stream);
    std::int64_t inside = 0, wrong = 0, columns = 0, rows = 0;
    for (std::int64_t y = 0; y < c.height; ++y)
      for (std::int64_t x = 0; x < c.width; ++x) {
        if (c.label(y, x) == io::kIgnore) {
          wrong += c.red(y, x) != 300 || c.green(y, x) != 301 || c.blue(y, x) != 302;
          continue;
        }
        ++inside;
        columns += y == 0;
        wrong += c.blue(y, x) != Approx(40);
        // The label is the column of the nearest pixel, the red channel the place between the columns.
        wrong += std::abs(float(c.label(y, x)) - c.red(y, x)) > 0.5f + 1e-3f;
      }
    CHECK(wrong == 0);
    REQUIRE(columns >= 2);
    // The image fills a rectangle at the top, on the left (on the right if mirrored).
    CHECK(inside % columns == 0);
    rows = inside / columns;
    const bool flipped = c.label(0, 0) == io::kIgnore ||
                         (c.label(0, c.width - 1) != io::kIgnore && c.red(0, 0) > c.red(0, c.width - 1));
    for (std::int64_t y = 0; y < rows; ++y)
      wrong += c.label(y, flipped ? c.width - columns : columns - 1) == io::kIgnore;
    CHECK(wrong == 0);
    flips += flipped;
    padded += columns < c.width || rows < c.height;
    // Columns of the image per pixel of the crop: one over the scale.
    const std::int64_t first = flipped ? c.width - columns : 0;
    const double step = std::abs(c.red(0, first + 1) - c.red(0, first));
    least = std::min(least, step);
    most = std::max(most, step);
    if (rows >= 2) CHECK(c.green(1, first) - c.green(0, first) == Approx(step).epsilon(0.05));
  }
  CHECK(flips > 15);
  CHECK(flips < 45);
  CHECK(padded > 5);
  CHECK(least > 0.48);
  CHECK(least < 0.6);
  CHECK(most < 2.1);
  CHECK(most > 1.6);
}

TEST_CASE("augment: scales come in steps where asked for", "[io][augment]") {
  const io::Sample sample = coordinates(61, 83);
  const io::AugmentOptions options{
      .crop_h = 9, .crop_w = 9, .scale_min = 0.5, .scale_max = 1.5, .scale_step = 0.25, .flip = false};
  std::map<int, int> seen;  // columns of the image per hundred pixels of the crop
  for (std::uint64_t stream = 0; stream < 100; ++stream) {
    const Crop c = crop(sample, options, stream);
    ++seen[int(std::lround(100 * (c.red(0, 8) - c.red(0, 0)) / 8))];
  }
  REQUIRE(seen.size() == 5);
  for (const auto& [step, times] : seen) {
    CHECK(times > 5);
    const double scale = 100.0 / step;
    CHECK(std::abs(scale - std::round(scale * 4) / 4) < 0.02);
  }
}

TEST_CASE("augment: an image smaller than the crop is padded at the bottom and right", "[io][augment]") {
  const io::AugmentOptions options{.crop_h = 5, .crop_w = 6, .scale_min = 1, .scale_max = 1, .flip = false};
  const Crop c = crop(coordinates(3, 4), options, 0);
  for (std::int64_t y = 0; y < 5; ++y)
    for (std::int64_t x = 0; x < 6; ++x) {
      const bool inside = y < 3 && x < 4;
      CHECK(c.label(y, x) == (inside ? int(x) : int(io::kIgnore)));
      CHECK(c.red(y, x) == (inside ? float(x) : 127.5f));
    }
}

TEST_CASE("augment: the same random stream gives the same crop", "[io][augment]") {
  const io::Sample sample = coordinates(40, 50);
  const io::AugmentOptions options{.crop_h = 33, .crop_w = 33};
  const Crop a = crop(sample, options, 3), b = crop(sample, options, 3), other = crop(sample, options, 4);
  CHECK(a.image == b.image);
  CHECK(a.labels == b.labels);
  CHECK(a.image != other.image);
}

TEST_CASE("augment: an image of one pixel, and crops and scales that are none", "[io][augment]") {
  const io::Sample sample = coordinates(1, 1);
  const Crop c = crop(sample, {.crop_h = 2, .crop_w = 2, .flip = false}, 0);
  CHECK(c.label(0, 0) == 0);
  CHECK(c.label(1, 1) == io::kIgnore);
  CHECK_THROWS_AS(crop(sample, {.crop_h = 0, .crop_w = 2}, 0), ValueError);
  CHECK_THROWS_AS(crop(sample, {.crop_h = 2, .crop_w = 2, .scale_min = 0}, 0), ValueError);
  CHECK_THROWS_AS(crop(sample, {.crop_h = 2, .crop_w = 2, .scale_min = 2, .scale_max = 1}, 0), ValueError);
}

}  // namespace atrous::tests
