#pragma once

#include "atrous/io/png.h"

namespace atrous::io {

bool is_bmp(Span<const std::uint8_t> bytes);
/// Decodes an uncompressed BMP file: 1, 4 or 8 bits with a palette, 24 or 32 bits (the fourth byte is
/// dropped). Throws IoError for other kinds, a file that is damaged or ends early, one that exceeds the caps,
/// and for an index beyond the palette.
RawImage decode_bmp(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op);

}  // namespace atrous::io
