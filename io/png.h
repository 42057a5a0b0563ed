#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "atrous/core/span.h"
#include "atrous/io/colormap.h"

// The one place that talks to libpng. Pixels come out as they are stored, but for packing: samples of 1, 2
// and 4 bits take a byte each.

namespace atrous::io {

// Caps on what a header may claim, for every image format.
inline constexpr std::int64_t kMaxImageSide = 65535;
inline constexpr std::int64_t kMaxImagePixels = std::int64_t(1) << 28;

/// Throws IoError unless 1 <= width, height <= kMaxImageSide and their product is at most kMaxImagePixels.
void check_image_size(std::int64_t width, std::int64_t height, const std::string& path, std::string_view op);

/// A decoded image, row by row without gaps.
struct RawImage {
  std::int64_t width = 0, height = 0;
  int channels = 0;      ///< 1 grey or index, 2 grey and alpha, 3 RGB, 4 RGB and alpha
  int sample_bytes = 1;  ///< 1, or 2 for samples of 16 bits (in the machine's byte order)
  int bits = 8;          ///< of a sample, in the file
  bool indexed = false;  ///< channels is 1 and the samples are places in `palette`
  std::vector<Rgb> palette = {};
  std::vector<std::uint8_t> samples = {};
};

bool is_png(Span<const std::uint8_t> bytes);
/// Decodes a PNG file. Throws IoError for a file that is damaged, ends early, or exceeds the caps, and for an
/// index beyond the palette. `to_8_bits` asks for 16-bit samples to be scaled down.
RawImage decode_png(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op,
                    bool to_8_bits);

/// The bytes of an 8-bit PNG file: RGB if `palette` is empty, else indices.
std::vector<std::uint8_t> encode_png(std::int64_t width, std::int64_t height,
                                     Span<const std::uint8_t> samples, const std::vector<Rgb>& palette,
                                     const std::string& path, std::string_view op);

}  // namespace atrous::io
