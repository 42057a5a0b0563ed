#include "atrous/io/label_png.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "atrous/core/random.h"
#include "tests/io/crafted_png.h"
#include "tests/io/io_error.h"
#include "tests/io/jpeg_samples.h"

namespace atrous::tests {
namespace {

std::vector<int> read(const TemporaryFolder& folder, const CraftedPng& png) {
  const Tensor labels = io::read_label_png(folder.write("a.png", png.encode()));
  CHECK(labels.shape() == Shape({1, png.height, png.width}));
  const auto v = labels.span<std::uint8_t>();
  return std::vector<int>(v.begin(), v.end());
}

std::string refused_label(const TemporaryFolder& folder, const std::string& name, const Bytes& bytes) {
  return refused(folder, name, bytes, [](const std::string& path) { io::read_label_png(path); });
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Pixels of each value.
std::map<int, std::int64_t> histogram(const Tensor& labels) {
  std::map<int, std::int64_t> counts;
  for (const std::uint8_t v : labels.span<std::uint8_t>()) ++counts[v];
  return counts;
}

}  // namespace

TEST_CASE("read_label_png: the stored value is the label", "[io][label]") {
  const TemporaryFolder folder;
  using V = std::vector<int>;
  const Bytes palette = {200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9};
  CHECK(read(folder, {.width = 3, .color_type = 3, .palette = palette, .samples = {3, 0, 2}}) == V{3, 0, 2});
  CHECK(read(folder,
             {.width = 5, .bits = 2, .color_type = 3, .palette = palette, .samples = {3, 0, 2, 1, 1}}) ==
        V{3, 0, 2, 1, 1});
  // Grey of few bits is not stretched to 0..255.
  CHECK(read(folder, {.width = 3, .bits = 1, .samples = {1, 0, 1}}) == V{1, 0, 1});
  CHECK(read(folder, {.width = 3, .bits = 2, .samples = {3, 2, 1}}) == V{3, 2, 1});
  CHECK(read(folder, {.width = 3, .bits = 4, .samples = {15, 7, 1}}) == V{15, 7, 1});
  CHECK(read(folder, {.width = 3, .samples = {255, 7, 0}}) == V{255, 7, 0});
  CHECK(read(folder, {.width = 3, .bits = 16, .samples = {255, 7, 0}}) == V{255, 7, 0});
  CHECK(read(folder, {.interlaced = true, .samples = {7}}) == V{7});
  CraftedPng interlaced{.width = 11, .height = 9, .bits = 4, .interlaced = true};
  for (int i = 0; i < 99; ++i) interlaced.samples.push_back(std::uint16_t(i * 5 % 16));
  CHECK(read(folder, interlaced) == V(interlaced.samples.begin(), interlaced.samples.end()));
}

TEST_CASE("write_label_png and read_label_png keep every label", "[io][label]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.png");
  Tensor labels = Tensor::empty({1, 19, 17}, Dtype::u8);
  Random random(3);
  for (auto& v : labels.span<std::uint8_t>()) v = std::uint8_t(random.below(256));
  io::write_label_png(path, labels, io::voc_colormap());
  CHECK(identical(io::read_label_png(path), labels));
  const Bytes first = file_bytes(path);
  io::write_label_png(path, labels.to(Dtype::i32).reshape({19, 17}), io::voc_colormap());
  CHECK(file_bytes(path) == first);
  // As a picture it shows the colours of the map.
  Tensor two = Tensor::from<std::uint8_t>({1, 1, 3}, {15, 0, 255});
  io::write_label_png(path, two, io::voc_colormap());
  CHECK(identical(io::read_image(path), io::colorize(two, io::voc_colormap())));
  two = Tensor::from<std::int32_t>({1, 1, 2}, {3, 256});
  CHECK_THROWS_AS(io::write_label_png(path, two, io::voc_colormap()), ValueError);
  CHECK_THROWS_AS(io::write_label_png(path, Tensor::zeros({2, 3, 3}, Dtype::u8), io::voc_colormap()),
                  ShapeError);
  CHECK_THROWS_AS(io::write_label_png(path, Tensor::zeros({1, 3, 3}), io::voc_colormap()), DtypeError);
}

TEST_CASE("read_label_png: what holds no indices is refused by name", "[io][label][crafted]") {
  const TemporaryFolder folder;
  CHECK(mentions(refused_label(folder, "rgb.png", CraftedPng{.color_type = 2, .samples = {1, 2, 3}}.encode()),
                 "decode_colors"));
  refused_label(folder, "rgba.png", CraftedPng{.color_type = 6, .samples = {1, 2, 3, 4}}.encode());
  refused_label(folder, "grey_alpha.png", CraftedPng{.color_type = 4, .samples = {1, 2}}.encode());
  CHECK(mentions(
      refused_label(folder, "wide.png", CraftedPng{.width = 2, .bits = 16, .samples = {3, 256}}.encode()),
      "256 at (row 0, column 1)"));
  CHECK(mentions(
      refused_label(folder, "palette.png",
                    CraftedPng{.width = 2, .color_type = 3, .palette = Bytes(6), .samples = {1, 2}}.encode()),
      "index 2"));
  CHECK(mentions(refused_label(folder, "a.jpg", kGreyJpeg), "JPEG"));
  refused_label(folder, "empty.png", {});
  refused_label(folder, "text.png", Bytes{'x', 'y'});
  const Bytes good = CraftedPng{.width = 2, .samples = {1, 2}}.encode();
  for (std::size_t size = 1; size < good.size(); ++size)
    refused_label(folder, "short.png", truncated(good, size));
  io_error(folder.path(), [&] { io::read_label_png(folder.path()); });
}

TEST_CASE("decode_colors: colours become labels, an unknown one is named", "[io][label]") {
  const io::Colormap& map = io::voc_colormap();
  const Tensor labels = Tensor::from<std::uint8_t>({2, 2, 2}, {0, 15, 15, 255, 20, 1, 0, 3});
  const Tensor picture = io::colorize(labels, map);
  CHECK(identical(io::decode_colors(picture, map), labels));
  CHECK_THROWS_AS(io::decode_colors(picture, map, io::Rgb{1, 1, 1}), ValueError);
  const Tensor white = Tensor::from<std::uint8_t>({1, 1, 2, 3}, {128, 0, 0, 255, 255, 255});
  CHECK(identical(io::decode_colors(white, map, io::Rgb{255, 255, 255}),
                  Tensor::from<std::uint8_t>({1, 1, 2}, {1, 255})));
  try {
    io::decode_colors(white, map);
    FAIL("no error");
  } catch (const ValueError& error) {
    CHECK(mentions(error.what(), "(255, 255, 255)"));
    CHECK(mentions(error.what(), "row 0, column 1"));
  }
  CHECK_THROWS_AS(io::decode_colors(Tensor::zeros({1, 2, 2, 3}), map), DtypeError);
  CHECK_THROWS_AS(io::decode_colors(Tensor::zeros({2, 2, 3}, Dtype::u8), map), ShapeError);
}

TEST_CASE("read_label_png: real label files", "[io][label][data]") {
  if (const auto camvid = test_data("camvid")) {
    int files = 0;
    for (const char* split : {"train_labels", "val_labels"})
      for (const auto& entry : std::filesystem::directory_iterator(*camvid + "/" + split)) {
        const Tensor labels = io::read_label_png(entry.path().string());
        CHECK(labels.shape() == Shape({1, 360, 480}));
        CHECK(histogram(labels).rbegin()->first <= 11);
        ++files;
      }
    CHECK(files == 90);
  }
  if (const auto voc = test_data("voc")) {
    std::ifstream list(*voc + "/list.txt");
    int pairs = 0;
    for (std::string image, label; list >> image >> label; ++pairs) {
      const Tensor labels = io::read_label_png(*voc + "/" + label);
      const Tensor picture = io::read_image(*voc + "/" + image);
      CHECK(labels.shape() == Shape({1, picture.dim(1), picture.dim(2)}));
      auto counts = histogram(labels);
      counts.erase(255);
      CHECK(counts.rbegin()->first <= 20);
    }
    CHECK(pairs == 6);
  }
  if (const auto coral = test_data("coral")) {
    const Tensor mask = io::read_label_png(*coral + "/bird_segmentation_mask.bmp");
    CHECK(mask.shape() == Shape({1, 513, 513}));
    const auto counts = histogram(mask);
    CHECK(counts.rbegin()->first == 3);
    CHECK(counts.at(1) + counts.at(2) < 2000);
    CHECK(counts.at(3) > 10000);
    CHECK(io::read_image(*coral + "/bird_segmentation.bmp").shape() == Shape({1, 513, 513, 3}));
    const std::string picture = *coral + "/bird_segmentation.bmp";
    io_error(picture, [&] { io::read_label_png(picture); });
  }
}

TEST_CASE("decode_colors: confusion counts of published masks, exactly", "[io][label][data]") {
  const auto folder = test_data("voc_colour");
  if (!folder) return;
  const auto labels = [&](const std::string& name) {
    return io::decode_colors(io::read_image(*folder + "/" + name), io::voc_colormap());
  };
  const auto confusion = [&](const std::string& number) {
    const Tensor target = labels(number + "_target.png"), pred = labels(number + "_pred.png");
    std::map<std::pair<int, int>, std::int64_t> counts;
    for (std::int64_t i = 0; i < target.numel(); ++i)
      if (const int truth = target.span<std::uint8_t>()[i]; truth != 255)
        ++counts[{truth, pred.span<std::uint8_t>()[i]}];
    return counts;
  };
  using Counts = std::map<std::pair<int, int>, std::int64_t>;
  CHECK(confusion("1") == Counts{{{0, 0}, 222694}, {{0, 1}, 1261}, {{1, 0}, 264}, {{1, 1}, 26338}});
  CHECK(confusion("114") == Counts{{{0, 0}, 221432}, {{0, 3}, 2041}, {{3, 0}, 73}, {{3, 3}, 31408}});
}

}  // namespace atrous::tests
