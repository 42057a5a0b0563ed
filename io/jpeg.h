#pragma once

#include "atrous/io/jpeg_segments.h"
#include "atrous/io/png.h"

namespace atrous::io {

/// Decodes a JPEG file to RGB by stb_image (8 bits a sample; Huffman coding; baseline, extended or
/// progressive; grey, YCbCr, RGB or CMYK), after read_jpeg_segments() has found nothing wrong with it. Throws
/// IoError.
RawImage decode_jpeg(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op);

}  // namespace atrous::io
