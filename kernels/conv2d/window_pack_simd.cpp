#include "atrous/kernels/conv2d/window_pack_simd.h"

#include "atrous/kernels/gemm/gemm_tile_simd.h"
#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

// A few floats, in pieces that overlap instead of a tail of single ones.
ATROUS_INLINE void copy_short(float* to, const float* from, long n) {
  if (n >= 8) {
    long i = 0;
    for (; i + 8 <= n; i += 8) __builtin_memcpy(to + i, from + i, 32);
    if (i < n) __builtin_memcpy(to + n - 8, from + n - 8, 32);
  } else if (n >= 4) {
    __builtin_memcpy(to, from, 16);
    __builtin_memcpy(to + n - 4, from + n - 4, 16);
  } else {
    for (long i = 0; i < n; ++i) to[i] = from[i];
  }
}
ATROUS_INLINE void zero(float* to, long n) {
  for (long i = 0; i < n; ++i) to[i] = 0;
}

// One window as a row of floats; returns its length.
ATROUS_INLINE long copy_window(const WindowArgs& t, const WindowPlace& place, float* row) {
  const long c = t.channels, width = t.window_w * c;
  // Taps first_tap <= s < end_tap lie inside.
  const long room = t.in_w - 1 - place.base_w;
  long first_tap = 0, end_tap = 0;
  if (place.base_w >= 0 && room >= (t.window_w - 1) * t.rate_w) {
    end_tap = t.window_w;
  } else {
    while (first_tap < t.window_w && place.base_w + first_tap * t.rate_w < 0) ++first_tap;
    end_tap = first_tap;
    while (end_tap < t.window_w && place.base_w + end_tap * t.rate_w < t.in_w) ++end_tap;
  }
  float* to = row;
  for (long r = t.first_row; r < t.end_row; ++r, to += width) {
    const long h = place.base_h + r * t.rate_h;
    if (h < 0 || h >= t.in_h || first_tap >= end_tap) {
      zero(to, width);
      continue;
    }
    const float* from = t.x + (place.offset + r * t.rate_h * t.in_w * c + first_tap * t.rate_w * c);
    if (first_tap > 0) zero(to, first_tap * c);
    if (t.rate_w == 1) {
      copy_short(to + first_tap * c, from, (end_tap - first_tap) * c);
    } else {
      for (long s = first_tap; s < end_tap; ++s)
        copy_short(to + s * c, from + (s - first_tap) * t.rate_w * c, c);
    }
    if (end_tap < t.window_w) zero(to + end_tap * c, width - end_tap * c);
  }
  return to - row;
}

}  // namespace

void pack_windows_chunked(const WindowArgs& t, const WindowPlace* places, int count, float* a) {
  alignas(64) float row[kLongestWindow + kChunk];
  for (int i = 0; i < count; ++i, a += kChunk) {
    const long depth = copy_window(t, places[i], row);
    float* to = a;
    for (long at = 0; at < depth; at += kChunk, to += kTileRows * kChunk)
      for (int v = 0; v < kChunk; v += kLanes) store(to + v, load(row + at + v));
  }
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
