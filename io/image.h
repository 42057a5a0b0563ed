#pragma once

#include <string>

#include "atrous/core/tensor.h"

// Photographs: files to tensors of red, green, blue in 0..255 and back. JPEG is decoded by stb_image, PNG by
// libpng, BMP by a reader of our own; which one is seen from the content, not from the name. A file is not
// trusted: sizes come from its header and are capped before anything is decoded or allocated, and a file that
// ends early is an error, never half a picture.

namespace atrous::io {

/// Reads a JPEG, PNG or BMP file: u8 [1, H, W, 3], red first. Grey becomes three equal channels, a palette
/// its colours, transparency is dropped, 16 bits a sample become 8 (v * 255 / 65535, rounded). The pixels
/// stay as they are stored: a rotation noted in EXIF is not applied, a colour profile neither.
///
/// Throws IoError naming the file and the reason: it cannot be read, is none of these formats, ends early or
/// is damaged, has more than 2^28 pixels or 65535 on a side, or is too short to hold as many pixels as its
/// header claims. (A JPEG has no checksums: damage within its coded pixels that spares every marker can go
/// unseen.)
Tensor read_image(const std::string& path);

/// Writes u8 [1, H, W, 3] or [H, W, 3] (red first) as an 8-bit RGB PNG, whole or not at all. Throws
/// ShapeError, DtypeError, IoError.
void write_png(const std::string& path, const Tensor& image);

}  // namespace atrous::io
