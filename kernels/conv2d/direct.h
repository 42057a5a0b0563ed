#pragma once

#include <algorithm>
#include <cstdint>

#include "atrous/core/span.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/gemm/panels.h"

// The tuned convolution in single precision by implicit GEMM: forward, and backward by the input, for every
// shape. "Implicit" because the matrix of windows is never written down: a tile of pixels copies the channels
// of one tap right before it multiplies them. See gather_plan.h for what is gathered, gemm/gemm_tile_simd.h
// for the product itself.

namespace atrous::kernels {

enum class Gather { forward, backward_input };

/// Whether whole windows are summed at once: a tap of so few channels would be too short a sum.
bool window_sums(const Conv2dDims& dims);

/// Whether the factors are rounded to bf16, where dims.allow_bf16 lets them: forward, on a CPU that
/// multiplies pairs, and sums that are long enough to be worth the rounding of a tile.
bool takes_bf16_pairs(Gather direction, const Conv2dDims& dims);

inline constexpr std::int64_t kDirectBlockRows = 112;  ///< pixels of a block

/// How one direction of a convolution is cut into products.
struct DirectBlocking {
  DirectBlocking(Gather direction, const Conv2dDims& dims);

  simd::TileShape tile;
  Gather direction;
  bool in_place;               ///< short sums: nothing is packed but the weights (in_place.h)
  bool phases;                 ///< and the gradient goes by phases
  bool windows;                ///< few channels: whole windows are one sum (window_pack_simd.h)
  bool pairs;                  ///< takes_bf16_pairs(): a row of a matrix is one of pairs of channels
  std::int64_t channels;       ///< of the source
  std::int64_t taps, depth;    ///< matrices, and rows of each: taps of the window, channels of the source
  std::int64_t columns;        ///< channels of the destination
  std::int64_t block_depth;    ///< rows of a matrix in one step of the sum
  std::int64_t window_rows;    ///< the same in rows of the window, if `windows`
  std::int64_t depth_blocks;   ///< steps that make up `depth`
  std::int64_t block_columns;  ///< destination channels for which a block of pixels is packed once
  std::int64_t block_tiles;    ///< tiles of a block: their A and sums stay in the L2 cache

  std::int64_t depth_of(std::int64_t block) const {
    return block + 1 < depth_blocks ? block_depth : depth - block * block_depth;
  }
  /// Channels of the source from `first_channel(block)` on that a step of the sum reads.
  std::int64_t channels_of(std::int64_t block) const {
    return pairs ? std::min(2 * block_depth, channels - first_channel(block)) : depth_of(block);
  }
  std::int64_t first_channel(std::int64_t block) const { return block * block_depth * (pairs ? 2 : 1); }
  /// Floats of the packed weights, and of scratch memory for one thread.
  std::int64_t packed_size() const;
  std::int64_t a_size() const;
  std::int64_t sums_size() const;
};

/// Weights [window_h, window_w, in_channels, out_channels] in the order in which they will be read:
/// [block of columns][block of depth][tap][panel][depth][column].
void direct_pack(const DirectBlocking& blocking, const Conv2dDims& dims, Span<const float> weight,
                 Span<float> packed);

/// Floats that direct_run needs beside the packed weights, for as many threads as there are now.
std::int64_t direct_workspace_size(const DirectBlocking& blocking, const Conv2dDims& dims);

/// destination = activation(bias + gathered source * weights)
void direct_run(const DirectBlocking& blocking, const Conv2dDims& dims, Span<const float> source,
                Span<const float> packed, const Conv2dEpilogue<float>& epilogue, Span<float> workspace,
                Span<float> destination);

}  // namespace atrous::kernels
