#pragma once

#include <cstddef>
#include <cstdint>

#include "atrous/kernels/simd.h"

// The inner loops of the depthwise convolution of floats with multiplier 1: a few output pixels that lie in a
// pattern, all their channels, vectorised over channels. Which pixels those are is decided by
// depthwise_conv2d_fast.cpp; nothing here knows of images, strides or padding.
//
// Channels go in blocks of one vector; the last block starts at channels - lanes, so it may overlap the one
// before (whatever is computed twice is the same twice) and there are no partial vectors. So channels is at
// least the widest vector: 16. Weights, and sums for their gradient, lie "packed": [block][tap][lane].

namespace atrous::kernels::simd {

/// What happens to a result on its way out: y = min(max(y, floor), ceiling), or y = hard_swish(y).
struct DepthwiseOutput {
  const float* bias = nullptr;  ///< [channels], or null
  float floor = -__builtin_inff();
  float ceiling = __builtin_inff();
  bool hard_swish = false;
  bool stream = false;  ///< past the cache: y and its pixels must be aligned to 64 bytes
  bool fetch = false;   ///< the lines of the next tile's y are asked for ahead; tiles alone do so
};

/// rows x cols outputs of a convolution of taps x taps that coincide: output (i, j) and tap (r, s) read tile
/// pixel (i*step + r, j*step + s). Each tile pixel is loaded once for all outputs that read it.
struct DepthwiseTile {
  const float* x = nullptr;             ///< tile pixel (0, 0), which may lie outside of the image
  std::ptrdiff_t x_row = 0, x_col = 0;  ///< floats to the next tile row and column
  float* y = nullptr;                   ///< output (0, 0); read, not written, for the weight's gradient
  std::ptrdiff_t y_row = 0, y_col = 0;
  float* weight = nullptr;  ///< packed; read by the convolution, added to by the weight's gradient
  std::int64_t channels = 0;
  int taps = 3;                               ///< 3, or 5 at step 1 (not for the weight's gradient)
  int step = 1;                               ///< 1 or 2
  int rows = 1, cols = 1;                     ///< at most 3 (2 at step 2 or with 5 taps) and 4
  unsigned live_rows = ~0u, live_cols = ~0u;  ///< bit k: tile row or column k lies in the image
  std::ptrdiff_t ahead = 0;                   ///< floats from x to the next tile's, to be prefetched
  std::ptrdiff_t y_ahead = 0;                 ///< the same for y
  bool rows_cached = false;                   ///< the rows shared with the tile above are in the L2 cache
};
inline constexpr int kTileRows = 3, kTileCols = 4;

/// Outputs 0..count-1, `y_step` floats apart, each the sum of some taps: output j and tap tap[t] read pixel
/// x + offset[t] + j * x_step. For any window, stride and direction.
struct DepthwiseTaps {
  const float* x = nullptr;
  const std::ptrdiff_t* offset = nullptr;
  const int* tap = nullptr;
  int taps = 0;    ///< entries of `offset` and `tap`
  int window = 0;  ///< taps that the packed weight has
  std::ptrdiff_t x_step = 0, y_step = 0;
  float* y = nullptr;
  float* weight = nullptr;
  std::int64_t count = 0, channels = 0;
};

/// Floats of one packed weight, at most.
constexpr std::int64_t depthwise_packed_size(std::int64_t channels, std::int64_t taps) {
  return (channels + 15) * taps;
}
/// weight [taps, channels] packed; with `turned`, the taps in reverse order.
ATROUS_SIMD(depthwise_pack, const float* weight, std::int64_t channels, std::int64_t taps, bool turned,
            float* packed);
/// weight [taps, channels] = sum over p in 0..count-1 of the packed weights parts[p*size ...], in that order.
ATROUS_SIMD(depthwise_add_parts, const float* parts, std::int64_t count, std::int64_t size,
            std::int64_t channels, std::int64_t taps, float* weight);

ATROUS_SIMD(depthwise_tile, const DepthwiseTile& tile, const DepthwiseOutput& output);
/// Adds the tile's share to the packed sums `weight`: those of a tile first, then onto what is there.
ATROUS_SIMD(depthwise_tile_weight, const DepthwiseTile& tile);

ATROUS_SIMD(depthwise_taps, const DepthwiseTaps& work, const DepthwiseOutput& output);
ATROUS_SIMD(depthwise_taps_weight, const DepthwiseTaps& work);

}  // namespace atrous::kernels::simd
