#include "atrous/io/label_png.h"

#include <algorithm>
#include <unordered_map>

#include "atrous/core/error.h"
#include "atrous/io/bmp.h"
#include "atrous/io/file.h"
#include "atrous/io/jpeg.h"
#include "atrous/io/png.h"

namespace atrous::io {
namespace {

constexpr std::int64_t kIgnore = 255;

RawImage decode(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op) {
  ATROUS_CHECK(IoError, !bytes.empty(), op, path, ": the file is empty");
  ATROUS_CHECK(IoError, !is_jpeg(bytes), op, path,
               ": is a JPEG, which changes pixel values; labels must be PNG (or BMP)");
  if (is_png(bytes)) return decode_png(bytes, path, op, false);
  if (is_bmp(bytes)) return decode_bmp(bytes, path, op);
  fail<IoError>(op, path, ": is not a PNG or BMP file");
}

std::uint32_t key_of(Rgb color) {
  return std::uint32_t(color.r) << 16 | std::uint32_t(color.g) << 8 | color.b;
}

}  // namespace

Tensor read_label_png(const std::string& path) {
  const std::string_view op = "read_label_png";
  const RawImage raw = decode(read_bytes(path, op), path, op);
  ATROUS_CHECK(IoError, raw.channels == 1, op, path, ": is a mask in colours (", raw.channels,
               " channels), its pixels are not class indices; convert it with "
               "decode_colors(read_image(file), colormap)");
  Tensor labels = Tensor::empty({1, raw.height, raw.width}, Dtype::u8);
  const Span<std::uint8_t> out = labels.span<std::uint8_t>();
  if (raw.sample_bytes == 1) {
    std::copy(raw.samples.begin(), raw.samples.end(), out.begin());
    return labels;
  }
  for (std::int64_t i = 0; i < out.size(); ++i) {
    std::uint16_t value = 0;
    std::copy_n(raw.samples.data() + 2 * i, 2, reinterpret_cast<std::uint8_t*>(&value));
    ATROUS_CHECK(IoError, value <= 255, op, path, ": 16-bit grey value ", value, " at (row ", i / raw.width,
                 ", column ", i % raw.width, "); labels are 0..255");
    out[i] = std::uint8_t(value);
  }
  return labels;
}

void write_label_png(const std::string& path, const Tensor& labels, const Colormap& map) {
  const std::string_view op = "write_label_png";
  const bool single = labels.defined() && (labels.rank() == 2 || (labels.rank() == 3 && labels.dim(0) == 1));
  ATROUS_CHECK(ShapeError, single, op, path, ": labels are [1, H, W] or [H, W], not ", labels.shape());
  const std::int64_t width = labels.dim(-1);
  std::vector<std::uint8_t> indices(static_cast<std::size_t>(labels.numel()));
  visit_label(labels.dtype(), [&]<class T>() {
    const Span<const T> values = labels.span<T>();
    for (std::int64_t i = 0; i < values.size(); ++i) {
      ATROUS_CHECK(ValueError, values[i] >= 0 && values[i] <= T(255), op, path, ": label ",
                   std::int64_t(values[i]), " at (row ", i / width, ", column ", i % width,
                   "); a label image holds 0..255");
      indices[std::size_t(i)] = std::uint8_t(values[i]);
    }
  });
  // Always 256 colours: any label is within the palette, and the file does not depend on which labels occur.
  write_bytes(path, encode_png(width, labels.dim(-2), indices, label_palette(map), path, op), op);
}

Tensor decode_colors(const Tensor& rgb, const Colormap& map, std::optional<Rgb> ignore_color) {
  const std::string_view op = "decode_colors";
  ATROUS_CHECK(ShapeError, rgb.defined() && rgb.rank() == 4 && rgb.dim(3) == 3, op,
               "rgb is [N, H, W, 3], not ", rgb.shape());
  ATROUS_CHECK(ValueError, map.size() <= 256, op, "a map of ", map.size(), " classes; labels are 0..255");
  std::unordered_map<std::uint32_t, std::uint8_t> label_of;
  for (std::int64_t i = 0; i < map.size(); ++i)
    label_of.emplace(key_of(map.classes[std::size_t(i)].color), std::uint8_t(i));
  label_of.emplace(key_of(ignore_color.value_or(map.ignore_color)), std::uint8_t(kIgnore));

  const std::int64_t height = rgb.dim(1), width = rgb.dim(2);
  Tensor labels = Tensor::empty({rgb.dim(0), height, width}, Dtype::u8);
  const Span<const std::uint8_t> in = rgb.span<std::uint8_t>();
  const Span<std::uint8_t> out = labels.span<std::uint8_t>();
  std::uint32_t last_key = ~0u;  // neighbours mostly have one colour
  std::uint8_t last_label = 0;
  for (std::int64_t i = 0; i < out.size(); ++i) {
    const std::uint32_t key = key_of({in[3 * i], in[3 * i + 1], in[3 * i + 2]});
    if (key != last_key) {
      const auto found = label_of.find(key);
      ATROUS_CHECK(ValueError, found != label_of.end(), op, "colour (", key >> 16, ", ", key >> 8 & 255, ", ",
                   key & 255, ") of image ", i / (height * width), " at (row ", i / width % height,
                   ", column ", i % width,
                   ") belongs to no class of the colormap and is not its ignore colour");
      last_key = key;
      last_label = found->second;
    }
    out[i] = last_label;
  }
  return labels;
}

}  // namespace atrous::io
