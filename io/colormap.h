#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "atrous/core/tensor.h"

// Classes by name and colour, and pictures of labels. A Colormap gives each class, by its index, a name and a
// colour, and a colour to the pixels that belong to none. With it labels become a picture (colorize,
// overlay), a picture that was drawn in these colours becomes labels again (decode_colors, in label_png.h).

namespace atrous::io {

/// 0..255 each.
struct Rgb {
  std::uint8_t r = 0, g = 0, b = 0;
  bool operator==(const Rgb&) const = default;
};

struct ClassColor {
  std::string name;
  Rgb color;
  bool operator==(const ClassColor&) const = default;
};

/// The classes 0..size()-1 of a data set.
struct Colormap {
  std::vector<ClassColor> classes;
  Rgb ignore_color;  ///< of pixels without a class (label 255)

  std::int64_t size() const { return std::int64_t(classes.size()); }
  std::vector<std::string> names() const;
};

/// The colour of VOC's rule for index 0..255: bits 0, 1, 2 of the index are the highest bits of r, g, b; bits
/// 3, 4, 5 the next; and so on. 0 is black, 1 (128,0,0), 255 (224,224,192).
Rgb voc_color(std::int64_t index);

/// PASCAL VOC: 21 classes, background first; pixels without a class are (224,224,192).
const Colormap& voc_colormap();
/// Cityscapes: the 19 classes of evaluation (train ids).
const Colormap& cityscapes_colormap();
/// CamVid: the 11 classes of the SegNet split; "unlabelled" is black and no class here.
const Colormap& camvid_colormap();
/// ADE20K scene parsing: 150 classes from 0 = wall on (the data set's own index minus one).
const Colormap& ade20k_colormap();
/// `count` classes (1..256) named class_0, class_1, ... in the colours of VOC's rule. Throws ValueError.
Colormap colormap(std::int64_t count);

/// A colour for every value of a u8 label: the map's, then voc_color(), and ignore_color for 255 unless that
/// is a class. Always 256, so that a
/// label image does not depend on which labels occur.
std::vector<Rgb> label_palette(const Colormap& map);

/// A picture of labels: u8 [N,H,W,3] from u8 or i32 [N,H,W] or [H,W] (then N is 1). Label 255 without a class
/// of its own gets ignore_color. Throws ValueError, naming the pixel, for another label that the map does not
/// have.
Tensor colorize(const Tensor& labels, const Colormap& map);

struct OverlayOptions {
  double alpha = 0.5;  ///< share of the class colour, 0..1
  std::optional<std::int64_t> ignore_label = 255;
  bool borders = true;  ///< darken the edge between two classes
};

/// The labels drawn over their image: u8 [1,H,W,3] from an image u8 [1,H,W,3] and labels u8 or i32 [1,H,W].
/// Each pixel is (1 - alpha) image + alpha class colour; where two classes meet, a line of a darker class
/// colour is drawn, wider in larger images. Ignored pixels, and classes whose colour is black (a background),
/// show the image as it is. Throws ShapeError, and ValueError as colorize().
Tensor overlay(const Tensor& image, const Tensor& labels, const Colormap& map,
               const OverlayOptions& options = {});
/// The same into a PNG file.
void write_overlay(const std::string& path, const Tensor& image, const Tensor& labels, const Colormap& map,
                   const OverlayOptions& options = {});

}  // namespace atrous::io
