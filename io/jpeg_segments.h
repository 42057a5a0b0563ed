#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "atrous/core/span.h"

// What a JPEG file is made of, looked at before it is decoded. stb_image paints what is missing in grey and
// calls it a success, and some versions of it trust a table of codes to have at most 256 entries.

namespace atrous::io {

struct JpegHeader {
  std::int64_t width = 0, height = 0;
  int components = 0;
  bool progressive = false;
};

bool is_jpeg(Span<const std::uint8_t> bytes);

/// Walks the segments of a JPEG file (ITU T.81, annex B). Throws IoError unless it has one frame, tables of
/// legal sizes, a scan for every component, the tables that each scan uses, and an end-of-image marker.
JpegHeader read_jpeg_segments(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op);

}  // namespace atrous::io
