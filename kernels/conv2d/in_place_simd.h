#pragma once

#include <cstdint>

#include "atrous/kernels/simd.h"

// The register tile of in_place.h.

namespace atrous::kernels::simd {

/// Most runs of a window: its rows.
inline constexpr int kMostRuns = 16;

/// A tile of `rows` outputs that lie side by side, times `columns` channels. Row i of the left factor begins
/// at a[run] + i * a_stride; the sum runs over `depth` floats of each run. `tiles` of them follow one
/// another.
struct InPlaceTile {
  int rows = 0;     ///< 1..6, or 8 on AVX-512
  int columns = 0;  ///< 1..TileShape::columns
  int runs = 0;
  std::int64_t depth = 0, a_stride = 0, out_stride = 0;
  const float* a[kMostRuns] = {};
  const float* b[kMostRuns] = {};  ///< [depth][columns rounded up to lanes]
  float* out = nullptr;
  const float* bias = nullptr;      ///< [columns rounded up to lanes], or null
  const float* residual = nullptr;  ///< added behind the bias; lies as `out` does, or null
  int activation = 0;               ///< 0 none, 1 relu, 2 relu6, 3 hard swish
  int tiles = 1;                    ///< each `rows` pixels behind the one before
  bool past_cache = false;          ///< whole lines are written, by store_past_cache
  /// Fetched meanwhile: `ahead` floats behind each run's first, `ahead_step` further with each step of the
  /// sum.
  std::int64_t ahead = 0, ahead_step = 0;
};
ATROUS_SIMD(in_place_tile, const InPlaceTile& tile);

}  // namespace atrous::kernels::simd
