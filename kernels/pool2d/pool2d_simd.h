#pragma once

#include <cstddef>
#include <cstdint>

#include "atrous/kernels/simd.h"

// Pooling of floats, one pixel (or tile) at a time with all its channels, vectorised over channels. The
// caller finds the pixels under a window; nothing here knows of images. Channels go in blocks of one vector,
// the last of which starts at channels - lanes and may overlap the one before: so channels is at least the
// widest vector, 16.

namespace atrous::kernels::simd {

/// y[c] = max over k of in[k][c], with the rules of max_pool2d; taps[c] = tap[k] of the first largest, unless
/// `taps` is null. Without pixels (count 0): minus infinity and 0.
ATROUS_SIMD(max_of_pixels, const float* const* in, const std::int32_t* tap, int count, std::int64_t channels,
            float* y, std::uint8_t* taps);
/// max_of_pixels for rows x 2 neighbouring windows of 3x3 at stride 1 that lie inside of the image: maxima of
/// three in a row serve the three windows that hold them.
struct MaxTile {
  const float* x = nullptr;             ///< the first window's first pixel
  std::ptrdiff_t x_row = 0, y_row = 0;  ///< floats to the next row; pixels are `channels` apart
  float* y = nullptr;
  std::uint8_t* taps = nullptr;  ///< row*3 + column of the first largest, laid out as y; or null
  int rows = 1;                  ///< at most kMaxTileRows
  std::int64_t channels = 0;
};
inline constexpr int kMaxTileRows = 4, kMaxTileCols = 2;
ATROUS_SIMD(max_of_tile, const MaxTile& tile);

/// dx[c] = sum over k of dy[from[k] + c] where taps[from[k] + c] == tap[k]. With `stream` past the cache:
/// channels a multiple of 16, dx aligned to 64 bytes, streaming_fence() at the end.
ATROUS_SIMD(sum_where_largest, const float* dy, const std::uint8_t* taps, const std::int64_t* from,
            const std::int32_t* tap, int count, std::int64_t channels, bool stream, float* dx);

/// y[c] = sum over k of weight[k] * in[k][c]
ATROUS_SIMD(weighted_sum_of_pixels, const float* const* in, const float* weight, int count,
            std::int64_t channels, float* y);

/// y[p*channels + c] = factor * x[c] for p < pixels. `stream` as above.
ATROUS_SIMD(fill_pixels, const float* x, float factor, std::int64_t channels, std::int64_t pixels,
            bool stream, float* y);

/// y[c] = sum over h of (sum over w of x[(h*width + w)*step + c]) / (height*width), for channels of a block.
ATROUS_SIMD(mean_of_image, const float* x, std::int64_t height, std::int64_t width, std::int64_t step,
            std::int64_t channels, float* y);

}  // namespace atrous::kernels::simd
