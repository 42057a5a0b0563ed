#pragma once

#include <cstdint>

#include "atrous/kernels/simd.h"

// The register tile of weight_gradient.h: A^T * B, whose sum runs over pixels. Both factors are read where
// they lie: a pixel's channels are contiguous, so a step of the sum broadcasts neighbours of A and loads
// vectors of B.

namespace atrous::kernels::simd {

/// Pixels of both factors that lie one step apart each.
struct PixelRun {
  const float *a = nullptr, *b = nullptr;
  std::int64_t count = 0;
};

/// One tile: sums[rows, columns] (+)= sum over pixels of A[pixel, rows]^T * B[pixel, columns].
struct WeightTile {
  int rows = 0;     ///< 1..TileShape::rows
  int columns = 0;  ///< 1..TileShape::columns
  int runs = 0;
  const PixelRun* run = nullptr;
  std::int64_t a_offset = 0, b_offset = 0;  ///< of the tile's first row and column from each run's pointers
  std::int64_t a_step = 0, b_step = 0;      ///< floats from pixel to pixel
  /// Floats from each pixel to another one, which is fetched into the L2 cache meanwhile; 0 for none.
  std::int64_t a_ahead = 0, b_ahead = 0;
  float* sums = nullptr;  ///< [rows][TileShape::columns], partial sums between calls
  bool add = false;       ///< start from `sums` instead of from zero
  float* out = nullptr;   ///< not null in the last call: the result goes there, not to sums
  std::int64_t out_stride = 0;
};
ATROUS_SIMD(weight_tile, const WeightTile& tile);

/// sum[i] = parts[i] + parts[stride + i] + .., in this order, for i < n.
ATROUS_SIMD(add_partial_sums, const float* parts, std::int64_t count, std::int64_t stride, std::int64_t n,
            float* sum);

}  // namespace atrous::kernels::simd
