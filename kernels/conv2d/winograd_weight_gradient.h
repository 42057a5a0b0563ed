#pragma once

#include <cstdint>

#include "atrous/core/span.h"
#include "atrous/kernels/conv2d/winograd.h"

// The gradient by the weight of the convolutions of winograd.h: the transpose of each of its steps. Patches
// of x are transformed as in the forward pass, patches of dy by the transpose of the last transform; for each
// pair of points the sum over patches of their products is a matrix product; and nine sums of those matrices
// are the taps.

namespace atrous::kernels {

/// Whether these sizes take this way: by the sizes alone.
bool takes_winograd_weight_gradient(const Conv2dDims& dims);

struct WinogradWeightGradientBlocking {
  explicit WinogradWeightGradientBlocking(const Conv2dDims& dims);
  /// With patches of a side.
  WinogradWeightGradientBlocking(const Conv2dDims& dims, int most_outs);

  simd::TileShape tile;
  std::int64_t rows, columns;  ///< input channels and output channels
  WinogradCut cut;
  std::int64_t tile_rows, tiles, panels;
  std::int64_t block_tiles;   ///< tiles of rows of one item
  std::int64_t block_points;  ///< pairs of points of a block of patches, transformed at once
  std::int64_t blocks;

  /// In products for each pair of channels, with other work counted as products.
  double cost() const;

  std::int64_t row_floats() const { return round_up(rows, simd::kChunk); }
  std::int64_t column_floats() const { return round_up(columns, simd::kChunk); }
  std::int64_t tile_floats() const { return tile.rows * tile.columns; }
  std::int64_t sums_size() const { return tiles * panels * tile_floats(); }  ///< of one pair of points
  std::int64_t points_size() const;  ///< transformed x and dy of one block
};

std::int64_t winograd_weight_gradient_workspace_size(const WinogradWeightGradientBlocking& blocking);

void winograd_weight_gradient(const WinogradWeightGradientBlocking& blocking, const Conv2dDims& dims,
                              Span<const float> x, Span<const float> dy, Span<float> workspace,
                              Span<float> dweight);

}  // namespace atrous::kernels
