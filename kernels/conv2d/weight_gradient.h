#pragma once

#include <cstdint>

#include "atrous/core/span.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/gemm/panels.h"

// The gradient by the weight in single precision, for every shape. For each tap it is a matrix product whose
// sum runs over pixels: dweight[r,s] = X^T * dY, where X holds the input pixels that the tap reads and dY
// those output pixels whose tap lies inside; pixels in the padding are never visited.
//
// The work is cut into items: a chunk of output pixels x a tap x a block of input channels x a block of
// output channels. Threads share items out; what an item sums, and in which order, follows from the sizes
// alone. Where one chunk is not enough to keep threads busy, each chunk writes a partial gradient of its own,
// and these are added in their order.

namespace atrous::kernels {

struct WeightGradientBlocking {
  explicit WeightGradientBlocking(const Conv2dDims& dims);

  simd::TileShape tile;
  bool windows;                ///< few channels: whole windows are columns of X (window_pack_simd.h)
  std::int64_t taps, rows;     ///< products, and rows of each: taps and input channels, or 1 and both
  std::int64_t tile_rows;      ///< rows of a tile: they are shared out evenly
  std::int64_t block_rows;     ///< input channels of an item
  std::int64_t row_blocks;     ///
  std::int64_t columns;        ///< output channels
  std::int64_t block_columns;  ///< output channels of an item
  std::int64_t column_blocks;
  std::int64_t block_pixels;  ///< pixels that are packed at once: X and dY of a block lie in the L2 cache
  std::int64_t chunks, chunk_pixels;

  std::int64_t items() const { return chunks * taps * row_blocks * column_blocks; }
  std::int64_t tile_stride() const, panel_stride() const;  ///< floats from tile to tile, panel to panel
  std::int64_t a_size() const, panels_size() const;
  std::int64_t sums_size() const;     ///< floats for one item
  std::int64_t scratch_size() const;  ///< floats for one thread
  std::int64_t partial_size() const;  ///< floats of all partial gradients
};

std::int64_t weight_gradient_workspace_size(const WeightGradientBlocking& blocking);

void weight_gradient(const WeightGradientBlocking& blocking, const Conv2dDims& dims, Span<const float> x,
                     Span<const float> dy, Span<float> workspace, Span<float> dweight);

}  // namespace atrous::kernels
