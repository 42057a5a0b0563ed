#pragma once

#include <cstdint>

#include "atrous/core/span.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/gemm/panels.h"

// The gradient by the weight in single precision, for every shape. For each tap it is a matrix product whose
// sum runs over pixels: dweight[r,s] = X^T * dY, where X holds the input pixels that the tap reads and dY
// those output pixels whose tap lies inside; pixels in the padding are never visited. Where the taps of a row
// of the window are neighbours (rate 1) and have few channels, they are one tap: together they are
// contiguous.
//
// Both factors are read where they lie, by weight_gradient_simd.h; nothing is packed but the rows of windows
// that reach into the padding. The factor whose channels fill whole vectors less well is broadcast, so few
// output channels (logits, projections) waste no lanes: then the product is dY^T * X, and turned when
// written.
//
// The work is cut into items: a chunk of output pixels x a tap x a block of rows x a block of columns of the
// product. Threads take tiles of items, or whole chunks of a small gradient, as they come for them; what a
// tile sums, and in which order, follows from the sizes alone. Where one chunk is not enough to keep threads
// busy, each chunk writes a partial gradient of its own, and these are added in their order.

namespace atrous::kernels {

struct WeightGradientBlocking {
  explicit WeightGradientBlocking(const Conv2dDims& dims);

  simd::TileShape tile;
  bool window_rows;               ///< a tap is a row of the window
  bool turned;                    ///< the product is dY^T * X
  std::int64_t taps, x_channels;  ///< products, and neighbours in x that take part in each
  std::int64_t rows, columns;     ///< of each product: of the factor that is broadcast, and of the other
  std::int64_t tile_rows;         ///< rows of a tile: they are shared out evenly
  std::int64_t block_rows, row_blocks;
  std::int64_t block_columns, column_blocks;
  std::int64_t block_pixels;  ///< pixels that all tiles of an item sum up in turn
  std::int64_t visit_pixels;  ///< pixels after which a thread turns to its next item
  std::int64_t chunks, chunk_pixels;
  bool whole_chunks;  ///< threads take a chunk with all its items at a time, not some tiles of an item

  std::int64_t chunk_items() const { return taps * row_blocks * column_blocks; }
  std::int64_t items() const { return chunks * chunk_items(); }
  std::int64_t size() const { return taps * rows * columns; }               ///< of the gradient
  std::int64_t row_sums_size() const { return tile.rows * block_columns; }  ///< floats for a row of tiles
  std::int64_t sums_size() const;                                           ///< for one item
  std::int64_t padded_size() const;   ///< for rows of windows that reach into the padding
  std::int64_t shared_size() const;   ///< for sums of all items, unless chunks go whole
  std::int64_t scratch_size() const;  ///< floats for one thread
  std::int64_t partial_size() const;  ///< floats of all partial gradients
};

std::int64_t weight_gradient_workspace_size(const WeightGradientBlocking& blocking);

void weight_gradient(const WeightGradientBlocking& blocking, const Conv2dDims& dims, Span<const float> x,
                     Span<const float> dy, Span<float> workspace, Span<float> dweight);

}  // namespace atrous::kernels
