#pragma once

#include "atrous/io/png.h"

namespace atrous::io {

bool is_jpeg(Span<const std::uint8_t> bytes);
/// Decodes a JPEG file to RGB by stb_image (8 bits a sample; Huffman coding; baseline, extended or
/// progressive; grey, YCbCr, RGB or CMYK). stb_image paints what is missing in grey and calls it a success,
/// so the file's segments are walked here first: it must have a size within the caps, a scan for every
/// component, and an end-of-image marker. Throws IoError.
RawImage decode_jpeg(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op);

}  // namespace atrous::io
