#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/test_files.h"

// A PNG writer that does as it is told: every kind of file, right or wrong, without libpng or zlib.

namespace atrous::tests {

struct CraftedPng {
  std::uint32_t width = 1, height = 1;
  int bits = 8, color_type = 0;
  bool interlaced = false;
  Bytes palette = {};                       ///< r g b ...; no PLTE chunk if empty
  std::vector<std::uint16_t> samples = {};  ///< row by row, channels together

  Bytes header() const;
  /// Rows as they stand in the file, each behind a filter byte of 0, pass after pass if interlaced.
  Bytes rows() const;
  Bytes encode() const;
};

Bytes png_signature();
/// Length, name, content and checksum of a chunk.
Bytes png_chunk(const std::string& name, const Bytes& content);
/// The content as zlib keeps it when it does not compress.
Bytes zlib_stored(const Bytes& content);
Bytes operator+(Bytes a, const Bytes& b);

}  // namespace atrous::tests
