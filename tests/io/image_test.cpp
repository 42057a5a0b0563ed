#include "atrous/io/image.h"

#include <cstdlib>

#include "atrous/core/random.h"
#include "tests/io/crafted_png.h"
#include "tests/io/io_error.h"
#include "tests/io/jpeg_samples.h"

namespace atrous::tests {
namespace {

Tensor image_of(const Shape& shape, std::uint64_t seed) {
  Tensor image = Tensor::empty(shape, Dtype::u8);
  Random random(seed);
  for (auto& v : image.span<std::uint8_t>()) v = std::uint8_t(random.below(256));
  return image;
}

Bytes bmp(int bits, std::int32_t width, std::int32_t height, const Bytes& palette, const Bytes& rows) {
  Bytes out = {'B', 'M'};
  const auto number = [&](std::uint32_t value, int count) {
    for (int i = 0; i < count; ++i) out.push_back(std::uint8_t(value >> (8 * i)));
  };
  number(std::uint32_t(54 + palette.size() + rows.size()), 4);
  number(0, 4);
  number(std::uint32_t(54 + palette.size()), 4);
  number(40, 4);
  number(std::uint32_t(width), 4);
  number(std::uint32_t(height), 4);
  number(1, 2);
  number(std::uint32_t(bits), 2);
  for (const std::uint32_t value : {0u, 0u, 0u, 0u, std::uint32_t(palette.size() / 4), 0u}) number(value, 4);
  return std::move(out) + palette + rows;
}

}  // namespace

TEST_CASE("write_png and read_image keep every pixel", "[io][image]") {
  const TemporaryFolder folder;
  for (const Shape& shape : {Shape{1, 1, 1, 3}, Shape{1, 13, 7, 3}, Shape{1, 3, 300, 3}}) {
    const Tensor image = image_of(shape, 5);
    io::write_png(folder.file("a.png"), image);
    CHECK(identical(io::read_image(folder.file("a.png")), image));
    io::write_png(folder.file("a.png"), image.reshape({shape[1], shape[2], 3}));
    CHECK(identical(io::read_image(folder.file("a.png")), image));
  }
  CHECK_THROWS_AS(io::write_png(folder.file("a.png"), image_of({2, 4, 4, 3}, 1)), ShapeError);
  CHECK_THROWS_AS(io::write_png(folder.file("a.png"), Tensor::zeros({1, 4, 4, 3})), DtypeError);
  CHECK_THROWS_AS(io::write_png(folder.file("a.png"), Tensor()), ShapeError);
  const std::string missing = folder.file("no/a.png");
  io_error(missing, [&] { io::write_png(missing, image_of({1, 2, 2, 3}, 1)); });
}

TEST_CASE("read_image: every kind of PNG becomes red, green, blue of 8 bits", "[io][image]") {
  const TemporaryFolder folder;
  const auto read = [&](const CraftedPng& png) {
    const Tensor image = io::read_image(folder.write("a.png", png.encode()));
    CHECK(image.shape() == Shape({1, png.height, png.width, 3}));
    const auto v = image.span<std::uint8_t>();
    return std::vector<int>(v.begin(), v.end());
  };
  using V = std::vector<int>;
  CHECK(read({.width = 3, .bits = 2, .color_type = 0, .samples = {0, 1, 3}}) ==
        V{0, 0, 0, 85, 85, 85, 255, 255, 255});
  CHECK(read({.width = 2, .bits = 1, .color_type = 0, .samples = {1, 0}}) == V{255, 255, 255, 0, 0, 0});
  CHECK(read({.width = 2, .bits = 4, .color_type = 3, .palette = {1, 2, 3, 40, 50, 60}, .samples = {1, 0}}) ==
        V{40, 50, 60, 1, 2, 3});
  // 16 bits: v * 255 / 65535, rounded; transparency is dropped.
  CHECK(read({.width = 1, .bits = 16, .color_type = 2, .samples = {0xffff, 0x0100, 0x00ff}}) == V{255, 1, 1});
  CHECK(read({.width = 1, .bits = 16, .color_type = 4, .samples = {0x8080, 0}}) == V{128, 128, 128});
  CHECK(read({.width = 1, .color_type = 6, .samples = {9, 8, 7, 0}}) == V{9, 8, 7});
  std::vector<std::uint16_t> samples;
  for (int i = 0; i < 9 * 10 * 3; ++i) samples.push_back(std::uint16_t(i * 7 % 256));
  const CraftedPng plain{.width = 9, .height = 10, .color_type = 2, .samples = samples};
  CraftedPng interlaced = plain;
  interlaced.interlaced = true;
  CHECK(read(plain) == V(samples.begin(), samples.end()));
  CHECK(read(interlaced) == read(plain));
}

TEST_CASE("read_image: JPEG in its usual forms", "[io][image]") {
  const TemporaryFolder folder;
  for (const Bytes& bytes : {kBaselineJpeg, kProgressiveJpeg}) {
    const Tensor image = io::read_image(folder.write("a.jpg", bytes));
    REQUIRE(image.shape() == Shape({1, 16, 24, 3}));
    const auto v = image.span<std::uint8_t>();
    for (int y = 0; y < 16; ++y)
      for (int x = 0; x < 24; ++x) {
        const auto* p = v.data() + 3 * (y * 24 + x);
        CHECK(std::abs(p[0] - 10 * x) + std::abs(p[1] - 15 * y) + std::abs(p[2] - 128) < 45);
      }
  }
  const Tensor grey = io::read_image(folder.write("a.jpg", kGreyJpeg));
  for (std::int64_t i = 0; i < 24; ++i) {
    const auto* p = grey.span<std::uint8_t>().data() + 3 * i;
    CHECK(p[0] == p[1]);
    CHECK(p[1] == p[2]);
    CHECK(std::abs(p[0] - 10 * int(i)) < 12);
  }
  CHECK(io::read_image(folder.write("a.jpg", kCmykJpeg)).shape() == Shape({1, 16, 24, 3}));
  CHECK(io::read_image(folder.write("a.jpg", kBaselineJpeg + Bytes{0, 1, 2})).shape() ==
        Shape({1, 16, 24, 3}));
}

TEST_CASE("read_image: BMP bottom up and top down, with a palette and without", "[io][image]") {
  const TemporaryFolder folder;
  const auto read = [&](const Bytes& bytes) {
    const Tensor image = io::read_image(folder.write("a.bmp", bytes));
    const auto v = image.span<std::uint8_t>();
    return std::vector<int>(v.begin(), v.end());
  };
  using V = std::vector<int>;
  const Bytes rows = {3, 2, 1, 0, 6, 5, 4, 0};  // blue, green, red and a byte of padding
  CHECK(read(bmp(24, 1, 2, {}, rows)) == V{4, 5, 6, 1, 2, 3});
  CHECK(read(bmp(24, 1, -2, {}, rows)) == V{1, 2, 3, 4, 5, 6});
  CHECK(read(bmp(32, 2, 1, {}, rows)) == V{1, 2, 3, 4, 5, 6});
  const Bytes palette = {3, 2, 1, 0, 6, 5, 4, 0};
  CHECK(read(bmp(8, 2, 1, palette, {1, 0, 0, 0})) == V{4, 5, 6, 1, 2, 3});
  CHECK(read(bmp(1, 3, 1, palette, {0xa0, 0, 0, 0})) == V{4, 5, 6, 1, 2, 3, 4, 5, 6});
  CHECK(read(bmp(4, 3, 1, palette, {0x10, 0x10, 0, 0})) == V{4, 5, 6, 1, 2, 3, 4, 5, 6});

  refused_image(folder, "short.bmp", truncated(bmp(24, 1, 2, {}, rows), 61));
  refused_image(folder, "header.bmp", truncated(bmp(24, 1, 2, {}, rows), 20));
  refused_image(folder, "index.bmp", bmp(8, 2, 1, palette, {1, 2, 0, 0}));
  refused_image(folder, "empty.bmp", bmp(24, 0, 1, {}, rows));
  refused_image(folder, "negative.bmp", bmp(24, -1, 1, {}, rows));
  refused_image(folder, "large.bmp", bmp(24, 60000, 60000, {}, rows));
  refused_image(folder, "lowest.bmp", bmp(24, 1, std::int32_t(0x80000000), {}, rows));
  refused_image(folder, "bits.bmp", bmp(7, 1, 1, {}, rows));
  refused_image(folder, "palette.bmp", bmp(1, 1, 1, Bytes(4 * 1000), rows));
}

TEST_CASE("read_image: what is not an image is refused by name", "[io][image][crafted]") {
  const TemporaryFolder folder;
  CHECK(refused_image(folder, "empty.png", {}).find("empty") != std::string::npos);
  refused_image(folder, "text.png", Bytes{'h', 'e', 'l', 'l', 'o'});
  refused_image(folder, "one.jpg", Bytes{0xff});
  CHECK(io_error(folder.path(), [&] { io::read_image(folder.path()); }).find("directory") !=
        std::string::npos);
  const std::string missing = folder.file("missing.png");
  io_error(missing, [&] { io::read_image(missing); });
  CHECK_THROWS_AS(io::read_image(""), IoError);
  CHECK_THROWS_AS(io::read_image(std::string("a\0b", 3)), IoError);
  CHECK_THROWS_AS(io::read_image("/dev/zero"), IoError);
}

}  // namespace atrous::tests
