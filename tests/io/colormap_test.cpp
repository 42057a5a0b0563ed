#include "atrous/io/colormap.h"

#include <set>
#include <tuple>

#include "atrous/io/image.h"
#include "tests/io/io_error.h"

namespace atrous::tests {
namespace {

using io::Rgb;

Rgb pixel(const Tensor& picture, std::int64_t y, std::int64_t x) {
  const auto* p = picture.span<std::uint8_t>().data() + 3 * (y * picture.dim(2) + x);
  return {p[0], p[1], p[2]};
}

}  // namespace

TEST_CASE("colormaps: published classes and colours", "[io][colormap]") {
  CHECK(io::voc_colormap().size() == 21);
  CHECK(io::voc_colormap().classes[15] == io::ClassColor{"person", {192, 128, 128}});
  CHECK(io::voc_colormap().classes[20] == io::ClassColor{"tvmonitor", {0, 64, 128}});
  CHECK(io::voc_colormap().ignore_color == Rgb{224, 224, 192});
  CHECK(io::voc_color(8) == Rgb{64, 0, 0});
  CHECK_THROWS_AS(io::voc_color(256), ValueError);
  CHECK(io::cityscapes_colormap().size() == 19);
  CHECK(io::cityscapes_colormap().classes[10] == io::ClassColor{"sky", {70, 130, 180}});
  CHECK(io::cityscapes_colormap().classes[18] == io::ClassColor{"bicycle", {119, 11, 32}});
  CHECK(io::camvid_colormap().size() == 11);
  CHECK(io::camvid_colormap().classes[4] == io::ClassColor{"Pavement", {60, 40, 222}});
  CHECK(io::ade20k_colormap().size() == 150);
  CHECK(io::ade20k_colormap().classes[0] == io::ClassColor{"wall", {0x78, 0x78, 0x78}});
  CHECK(io::ade20k_colormap().classes[149] == io::ClassColor{"flag", {0x5c, 0, 0xff}});
  CHECK(io::colormap(256).size() == 256);
  CHECK(io::colormap(3).names() == std::vector<std::string>{"class_0", "class_1", "class_2"});
  CHECK_THROWS_AS(io::colormap(0), ValueError);
  CHECK_THROWS_AS(io::colormap(257), ValueError);
  std::set<std::tuple<int, int, int>> colors;
  for (const auto& one : io::colormap(256).classes) colors.insert({one.color.r, one.color.g, one.color.b});
  CHECK(colors.size() == 256);
}

TEST_CASE("colorize: each label its colour, 255 the ignore colour, others refused", "[io][colormap]") {
  const Tensor picture = io::colorize(Tensor::from<std::int32_t>({1, 1, 3}, {1, 255, 0}), io::voc_colormap());
  CHECK(picture.shape() == Shape({1, 1, 3, 3}));
  CHECK(pixel(picture, 0, 0) == Rgb{128, 0, 0});
  CHECK(pixel(picture, 0, 1) == Rgb{224, 224, 192});
  CHECK(pixel(picture, 0, 2) == Rgb{0, 0, 0});
  CHECK_THROWS_AS(io::colorize(Tensor::from<std::int32_t>({1, 1, 1}, {-1}), io::voc_colormap()), ValueError);
  CHECK_THROWS_AS(io::colorize(Tensor::from<std::uint8_t>({1, 1, 1}, {21}), io::voc_colormap()), ValueError);
  CHECK_THROWS_AS(io::colorize(Tensor::zeros({1, 1, 1}), io::voc_colormap()), DtypeError);
}

TEST_CASE("overlay: blends classes, keeps background and ignored pixels, darkens borders", "[io][colormap]") {
  // Columns 0-3 background, 4-7 class 1 (128,0,0), 8-11 ignored; the image is grey 100.
  Tensor image = Tensor::full({1, 5, 12, 3}, 100, Dtype::u8);
  Tensor labels = Tensor::zeros({1, 5, 12}, Dtype::u8);
  for (std::int64_t i = 0; i < labels.numel(); ++i)
    labels.span<std::uint8_t>()[i] = i % 12 < 4 ? 0 : i % 12 < 8 ? 1 : 255;
  const Tensor picture = io::overlay(image, labels, io::voc_colormap());
  CHECK(picture.shape() == image.shape());
  CHECK(pixel(picture, 2, 1) == Rgb{100, 100, 100});
  CHECK(pixel(picture, 2, 5) == Rgb{114, 50, 50});
  CHECK(pixel(picture, 2, 10) == Rgb{100, 100, 100});
  CHECK(pixel(picture, 2, 3).g < 50);  // the border between background and class 1
  CHECK(pixel(picture, 2, 7).r < 90);  // and the one to the ignored pixels
  CHECK(identical(image, Tensor::full({1, 5, 12, 3}, 100, Dtype::u8)));

  const Tensor plain =
      io::overlay(image, labels, io::voc_colormap(), {.alpha = 1, .ignore_label = {}, .borders = false});
  CHECK(pixel(plain, 2, 3) == Rgb{100, 100, 100});
  CHECK(pixel(plain, 2, 7) == Rgb{128, 0, 0});
  CHECK(pixel(plain, 2, 10) == Rgb{224, 224, 192});

  const TemporaryFolder folder;
  io::write_overlay(folder.file("o.png"), image, labels, io::voc_colormap());
  CHECK(identical(io::read_image(folder.file("o.png")), picture));
  CHECK_THROWS_AS(io::overlay(image, Tensor::zeros({1, 5, 11}, Dtype::u8), io::voc_colormap()), ShapeError);
  CHECK_THROWS_AS(io::overlay(image, labels, io::voc_colormap(), {.alpha = 2}), ValueError);
}

}  // namespace atrous::tests
