#include "atrous/io/colormap.h"

#include <algorithm>
#include <cmath>

#include "atrous/core/error.h"
#include "atrous/io/image.h"

namespace atrous::io {
namespace {

constexpr std::int64_t kIgnore = 255;

/// The colour of a label. Throws ValueError, naming the pixel, for one that the map does not have.
Rgb color_of(std::int64_t label, const Colormap& map, std::int64_t pixel, std::int64_t width,
             const char* op) {
  if (label >= 0 && label < map.size()) return map.classes[std::size_t(label)].color;
  ATROUS_CHECK(ValueError, label == kIgnore, op, "label ", label, " at pixel ", pixel, " (row ",
               pixel / width, ", column ", pixel % width, ") is not one of the colormap's ", map.size(),
               " classes");
  return map.ignore_color;
}

std::uint8_t mix(double image, double color, double alpha) {
  return std::uint8_t(std::lround(image + alpha * (color - image)));
}

}  // namespace

std::vector<std::string> Colormap::names() const {
  std::vector<std::string> all;
  for (const ClassColor& one : classes) all.push_back(one.name);
  return all;
}

std::vector<Rgb> label_palette(const Colormap& map) {
  std::vector<Rgb> palette;
  for (std::int64_t i = 0; i < 256; ++i)
    palette.push_back(i < map.size() ? map.classes[std::size_t(i)].color
                      : i == kIgnore ? map.ignore_color
                                     : voc_color(i));
  return palette;
}

Tensor colorize(const Tensor& labels, const Colormap& map) {
  ATROUS_CHECK(ShapeError, labels.defined() && (labels.rank() == 2 || labels.rank() == 3), "colorize",
               "labels are [N, H, W] or [H, W], not ", labels.shape());
  const std::int64_t batch = labels.rank() == 3 ? labels.dim(0) : 1, width = labels.dim(-1);
  Tensor picture = Tensor::empty({batch, labels.dim(-2), width, 3}, Dtype::u8);
  std::uint8_t* out = picture.span<std::uint8_t>().data();
  visit_label(labels.dtype(), [&]<class T>() {
    const Span<const T> values = labels.span<T>();
    for (std::int64_t i = 0; i < values.size(); ++i) {
      const Rgb color = color_of(values[i], map, i, width, "colorize");
      *out++ = color.r;
      *out++ = color.g;
      *out++ = color.b;
    }
  });
  return picture;
}

Tensor overlay(const Tensor& image, const Tensor& labels, const Colormap& map,
               const OverlayOptions& options) {
  const char* op = "overlay";
  ATROUS_CHECK(ShapeError, image.defined() && image.rank() == 4 && image.dim(0) == 1 && image.dim(3) == 3, op,
               "the image is [1, H, W, 3], not ", image.shape());
  const std::int64_t height = image.dim(1), width = image.dim(2);
  ATROUS_CHECK(ShapeError, labels.defined() && labels.shape() == Shape({1, height, width}), op, "labels ",
               labels.shape(), " do not lie on the image ", image.shape());
  ATROUS_CHECK(ValueError, options.alpha >= 0 && options.alpha <= 1, op, "alpha ", options.alpha,
               " is outside 0..1");
  // One pixel up to a side of 600, two up to 1200, ...: as wide to the eye in large images as in small ones.
  const std::int64_t reach = 1 + std::min(height, width) / 600;
  constexpr double kBorderShade = 0.45;  // of the class colour

  Tensor picture = image.clone();
  std::uint8_t* out = picture.span<std::uint8_t>().data();
  visit_label(labels.dtype(), [&]<class T>() {
    const Span<const T> values = labels.span<T>();
    // A line runs along the upper or left side of an edge only, so that it is `reach` wide, not twice that.
    const auto on_border = [&](std::int64_t y, std::int64_t x) {
      const T own = values[y * width + x];
      for (std::int64_t d = 1; d <= reach; ++d) {
        if (x + d < width && values[y * width + x + d] != own) return true;
        if (y + d < height && values[(y + d) * width + x] != own) return true;
      }
      return false;
    };
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x, out += 3) {
        const std::int64_t i = y * width + x, label = values[i];
        const bool ignored = options.ignore_label && label == *options.ignore_label;
        const Rgb color = ignored ? Rgb{} : color_of(label, map, i, width, op);
        const bool border = options.borders && on_border(y, x);
        if (color == Rgb{} && !border) continue;
        const double shade = border ? kBorderShade : 1.0;
        const double alpha = border ? options.alpha + (1 - options.alpha) * 0.6 : options.alpha;
        out[0] = mix(out[0], shade * color.r, options.alpha > 0 ? alpha : 0);
        out[1] = mix(out[1], shade * color.g, options.alpha > 0 ? alpha : 0);
        out[2] = mix(out[2], shade * color.b, options.alpha > 0 ? alpha : 0);
      }
    }
  });
  return picture;
}

void write_overlay(const std::string& path, const Tensor& image, const Tensor& labels, const Colormap& map,
                   const OverlayOptions& options) {
  write_png(path, overlay(image, labels, map, options));
}

}  // namespace atrous::io
