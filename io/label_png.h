#pragma once

#include <optional>
#include <string>

#include "atrous/core/tensor.h"
#include "atrous/io/colormap.h"

// Label images: files whose pixels are class indices. In a palette PNG the index is the label and the colour
// only decoration; in a grey PNG the value itself is. Both are read as they are stored: nothing is scaled,
// converted or guessed. A mask that is drawn in colours has no indices; decode_colors() finds them through a
// Colormap.

namespace atrous::io {

/// Reads a label image: u8 [1, H, W]. Takes palette PNG (the index), grey PNG of 1, 2, 4 or 8 bits (the
/// value, not scaled), of 16 bits if no value exceeds 255, interlaced or not, and BMP of 1, 4 or 8 bits with
/// a palette (the index).
///
/// Throws IoError naming the file: what read_image() throws for, a palette index beyond the palette, a 16-bit
/// value above 255, a mask in colours (use decode_colors) and a JPEG (which does not keep indices).
Tensor read_label_png(const std::string& path);

/// Writes u8 or i32 labels [1, H, W] or [H, W] as an 8-bit palette PNG: index = label, colours from the map,
/// 255 in its ignore_color. Whole or not at all. Throws ShapeError, DtypeError, IoError, and ValueError
/// naming the pixel for a label outside 0..255.
void write_label_png(const std::string& path, const Tensor& labels, const Colormap& map);

/// Labels of a mask in colours: u8 [N, H, W] from u8 [N, H, W, 3]; each pixel's colour is looked up in the
/// map, and `ignore_color` (the map's own unless given) becomes 255. Of classes with equal colours the first
/// wins. Throws ValueError naming the first pixel whose colour is neither, ShapeError, DtypeError.
Tensor decode_colors(const Tensor& rgb, const Colormap& map, std::optional<Rgb> ignore_color = {});

}  // namespace atrous::io
