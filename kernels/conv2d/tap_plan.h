#pragma once

#include <cstdint>
#include <vector>

#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/direct.h"

// The plan of a convolution on CUDA (implicit_gemm.cuh), forward and backward by the input alike: every
// pixel of a destination gathers, through some taps, pixels of a source. Which taps lie inside the map
// changes along an axis only at a few positions, so an axis is cut into a few pieces, and the destination
// into rectangles (a piece of rows times a piece of columns, times the batch) whose pixels share one list of
// taps: taps in the padding are not multiplied. A gradient by the input with a stride works likewise: each
// residue of the stride is a piece of its own, a small dense convolution with its own taps. Nothing of this
// is uploaded: the few numbers of a piece travel as parameters of the kernel.
//
//     33 rows, rate 12           rectangles, with the number of their taps
//     rows  0..11  taps  1 2         4 | 6 | 4
//     rows 12..20  taps 0 1 2        6 | 9 | 6
//     rows 21..32  taps 0 1          4 | 6 | 4

namespace atrous::kernels {

/// What all pieces of an axis share.
struct TapAxis {
  std::int32_t destination, source;        ///< positions of the two maps
  std::int32_t step;                       ///< between neighbours of a piece, in the destination
  std::int32_t source_step;                ///< the same in the source
  std::int32_t tap_source_step, tap_step;  ///< between taps of a list: in the source; in the window
};

/// Position i of a piece is destination at + i*step; its tap t reads source position
/// source + i*source_step + t*tap_source_step with the weight of window index tap + t*tap_step.
struct TapPiece {
  std::int32_t at, count;
  std::int32_t source;
  std::int32_t tap, taps;
};

struct TapPlan {
  TapAxis row_axis, column_axis;
  std::vector<TapPiece> rows, columns;
  std::int64_t batch;
  int tile_pixels;

  /// Tiles of `tile_pixels` pixels that cover the rectangle of two pieces.
  std::int64_t tiles(const TapPiece& row, const TapPiece& column) const;
  std::int64_t tiles() const;
  /// Sum over all tiles of the taps that are multiplied.
  std::int64_t tile_taps() const;
};

/// A plan of several convolutions with stride 1 whose results are added up: they have their destination in
/// common, which is cut where the taps of any of them change.
struct TapSumPlan {
  /// Pieces of an axis, one for each term of the sum: all with the same `at` and `count`.
  using Pieces = std::vector<TapPiece>;
  std::vector<TapAxis> row_axes, column_axes;  ///< of each term
  std::vector<Pieces> rows, columns;
  std::int64_t batch;
  int tile_pixels;

  std::int64_t tiles(const Pieces& row, const Pieces& column) const;
};

/// Pieces an axis at most, as long as each residue of the stride has one: neighbours are merged (and share
/// the union of their taps, the rest reads as zero), those first that cost least.
inline constexpr int kMostPieces = 12;

/// Whether pixels, positions and taps stay within the 32-bit arithmetic of a tile.
bool fits_tiles(const Conv2dDims& dims);

/// The plan of `direction`. Pieces are merged where that saves tiles or costs none.
TapPlan make_tap_plan(Gather direction, const Conv2dDims& dims, int tile_pixels);

/// The plan of the sum of convolutions that all have stride 1 and one destination.
TapSumPlan make_tap_sum_plan(Gather direction, const std::vector<Conv2dDims>& dims, int tile_pixels);

}  // namespace atrous::kernels
