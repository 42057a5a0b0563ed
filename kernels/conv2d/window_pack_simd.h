#pragma once

#include <cstdint>

#include "atrous/kernels/simd.h"

// Copies of whole windows, for convolutions of few channels (the stem of a network reads 3): there a tap
// alone is too short a sum, so all taps of some rows of the window are laid side by side and summed as one.

namespace atrous::kernels::simd {

/// The most floats that one window may take here.
inline constexpr std::int64_t kLongestWindow = 512;

struct WindowArgs {
  const float* x;  ///< [.., in_h, in_w, channels]
  std::int64_t in_h, in_w, channels;
  std::int64_t window_w, rate_h, rate_w;
  std::int64_t first_row, end_row;  ///< of the window: only these are taken
};

/// Where the window of one output pixel lies.
struct WindowPlace {
  std::int64_t offset;          ///< of its corner in x, in floats
  std::int64_t base_h, base_w;  ///< row and column of its corner, may lie outside
};

/// Rows of (end_row - first_row) * window_w * channels floats, zeros for taps outside, into a chunked A.
ATROUS_SIMD(pack_windows_chunked, const WindowArgs& args, const WindowPlace* places, int count, float* a);

}  // namespace atrous::kernels::simd
