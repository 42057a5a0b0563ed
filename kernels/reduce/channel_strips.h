#pragma once

#include <cstdint>

// How the CUDA kernels that walk [pixels, channels] and keep something for each channel (sums, statistics,
// coefficients) are cut. Also read by the functions that tell how much workspace the sums take.
//
// A thread always meets the same channels. So the memory is seen as rows of whole vectors of V elements, each
// row of as many pixels as make the vectors come out even: 21 channels in vectors of 8 are rows of 8 pixels,
// 21 vectors. Element e of vector v of a row belongs to channel (v * V + e) % channels. A block takes a strip
// of pixels; its threads are `layers` rows side by side, of `columns` vectors each. Where a row has more
// vectors than a block has threads, it is cut into `tiles`.

namespace atrous::kernels {

/// Pixels of a strip: about 16k elements and 8 pixels at least, 72k elements at most, and at most 264 strips
/// where that allows it: two blocks for each of 132 multiprocessors. A strip begins at a whole vector of any
/// type.
inline std::int64_t strip_pixels(std::int64_t pixels, std::int64_t channels) {
  if (channels == 0) return 8;
  const auto eights = [](std::int64_t n) { return n < 8 ? 8 : (n + 7) / 8 * 8; };
  const std::int64_t least = eights((1 << 14) / channels), most = 9 * (1 << 13) / channels,
                     even = (pixels + 263) / 264;
  const std::int64_t wanted = even < most ? even : most, each = wanted < least ? least : wanted;
  return channels % 8 == 0 ? each : eights(each);
}

inline std::int64_t strip_count(std::int64_t pixels, std::int64_t channels) {
  const std::int64_t each = strip_pixels(pixels, channels);
  return (pixels + each - 1) / each;
}

/// Strips for kernels that keep nothing: 16k elements, so that many blocks share the work evenly.
inline std::int64_t short_strip_pixels(std::int64_t channels) {
  const std::int64_t wanted = channels > 0 ? (1 << 14) / channels : 1;
  return wanted < 8 ? 8 : (wanted + 7) / 8 * 8;
}

struct ChannelStrips {
  static constexpr int kThreads = 256;

  std::int64_t pixels, channels;
  std::int64_t each;  ///< pixels of a strip
  std::int64_t strips;
  int row_pixels;            ///< pixels of a row
  std::int64_t row_vectors;  ///< vectors of a row
  int columns, layers, tiles;

  int threads() const { return (columns * layers + 31) / 32 * 32; }

  /// For vectors of `vector` elements and strips of `each` pixels, which are whole vectors. ok() is false if
  /// no such rows can be had: then vectors of one element serve.
  static ChannelStrips of(std::int64_t pixels, std::int64_t channels, int vector, std::int64_t each) {
    ChannelStrips s{};
    int common = vector;  // the greatest common divisor; vector is a power of two
    while (channels % common != 0) common /= 2;
    s.pixels = pixels;
    s.channels = channels;
    s.each = each;
    s.strips = (pixels + each - 1) / each;
    s.row_pixels = vector / common;
    s.row_vectors = channels / common;
    s.tiles = int((s.row_vectors + kThreads - 1) / kThreads);
    s.columns = int((s.row_vectors + s.tiles - 1) / s.tiles);
    s.layers = 1;
    while (s.tiles == 1 && s.columns * s.layers * 2 <= kThreads) s.layers *= 2;
    return s;
  }
  bool ok() const { return tiles == 1 || row_pixels == 1; }
};

}  // namespace atrous::kernels
