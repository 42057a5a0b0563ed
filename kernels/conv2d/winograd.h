#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "atrous/core/recycled.h"
#include "atrous/core/span.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/direct.h"
#include "atrous/kernels/conv2d/winograd_schemes.h"
#include "atrous/kernels/gemm/panels.h"

// Winograd's convolution in single precision for 3x3 windows of stride 1 that keep the size of the map,
// forward and backward by the input, at every rate. It needs a third to a half of the direct kernel's
// products.
//
// A convolution of rate r is r x r ordinary ones, each on every r-th row and column (a phase). Each phase is
// cut into patches of 2 to 4 outputs a side, or to 6; phases of one or two pixels have schemes of their own
// (winograd_schemes.h). A patch is transformed into up to 36 or 64 pairs of points, and for each pair of
// points one matrix product takes that row of all patches. One set of transformed weights serves patches of
// all kinds.
//
// Rounding: the largest error is about 5e-6 of the largest output (direct: 5e-7), with patches of 6 outputs
// 2e-5, and infinities spread over their patch as NaN. Conv2dDims::exact asks for the direct kernel.

namespace atrous::kernels {

/// Whether there is a Winograd form: 3x3, stride 1, padding equal to the rate.
bool winograd_applies(const Conv2dDims& dims);
/// Products of the direct kernels, for each pair of channels.
double winograd_direct_cost(const Conv2dDims& dims);
/// Whether these sizes take Winograd's way: by the sizes alone, so that results do not vary from run to run.
bool takes_winograd(Gather direction, const Conv2dDims& dims);

/// For each pair of rows of G its place among those in use, or -1.
using WinogradSlots = std::array<int, winograd::kRowsOfG * winograd::kRowsOfG>;

/// How the map of such a convolution is cut, into as few patches of at most `most_outs` outputs a side as
/// will do.
struct WinogradCut {
  WinogradCut(const Conv2dDims& dims, int most_outs);

  int most_outs;
  std::int64_t patch_count = 0;
  std::int64_t points = 0;  ///< pairs of points of all patches: rows of all products together
  WinogradSlots slots;
  int slot_count = 0;
};
/// The sides of patches that there are. Large ones save up to a fifth of the products and have four times the
/// rounding: they are taken where that pays.
inline constexpr int kSmallWinograd = 4, kLargeWinograd = 6;
inline constexpr double kLargeWinogradGain = 1.1;  ///< what they have to save

/// How the work is cut.
struct WinogradBlocking {
  WinogradBlocking(Gather direction, const Conv2dDims& dims);
  /// With patches of a side.
  WinogradBlocking(Gather direction, const Conv2dDims& dims, int most_outs);

  simd::TileShape tile;
  Gather direction;
  std::int64_t depth, columns;  ///< channels of the source and of the destination
  std::int64_t block_depth, depth_blocks;
  WinogradCut cut;
  /// Of a block of patches: its transformed inputs and products lie in the L2 cache beside the weights, or in
  /// the L3 cache where there are too many.
  std::int64_t block_points;
  /// Few patches and many weights: one block, on which all threads work together, so that each weight is read
  /// but once.
  bool together;

  /// In products for each pair of channels, with other work counted as products.
  double cost() const;
  std::int64_t depth_of(std::int64_t block) const {
    return block + 1 < depth_blocks ? block_depth : depth - block * block_depth;
  }
  /// Floats of transformed weights; of the factors and of the sums of one block of patches.
  std::int64_t packed_size() const;
  std::int64_t a_size() const, sums_size() const;
};

/// Outputs of one segment of rows and one of columns.
struct WinogradPatch {
  std::int64_t image, h, w;
  int scheme_h, scheme_w;
  int pairs;  ///< of points
};
/// All patches, sorted by their schemes.
RecycledVector<WinogradPatch> winograd_patches(const WinogradCut& cut, const Conv2dDims& dims);

/// For each pair of points in use, what the nine taps count in its transformed weight.
std::vector<float> winograd_factors(const WinogradCut& cut);

/// Transformed weights: [block of depth][pair of points][panel][depth][column].
void winograd_pack(const WinogradBlocking& blocking, Span<const float> weight, Span<float> packed);

/// Rows of a block of taps, which stays in the L1 cache while it is transformed.
inline constexpr std::int64_t kWinogradTapRows = 16;
/// The nine taps of rows [row, row + rows) of one panel, as blocks [9][kWinogradTapRows][column] (fewer rows
/// in the last one). In the tensor a row of a panel is a line or two, the next one is far away, and the taps
/// fall into one set of the cache: they are read from there only once, many at a time.
void winograd_gather_taps(const WinogradBlocking& blocking, Span<const float> weight, std::int64_t panel,
                          std::int64_t row, std::int64_t rows, float* taps);

/// Transforms such taps to [slot][row][column], slots `to_step` floats apart; past the cache only if `to` is
/// aligned to 64 bytes and lines are whole.
void winograd_transform_taps(const float* taps, std::int64_t rows, int width, const WinogradSlots& slots,
                             std::int64_t to_step, bool past_cache, float* to);

/// Floats that winograd_run needs beside the packed weights, for as many threads as there are now.
std::int64_t winograd_workspace_size(const WinogradBlocking& blocking);

void winograd_run(const WinogradBlocking& blocking, const Conv2dDims& dims, Span<const float> source,
                  Span<const float> packed, const Conv2dEpilogue<float>& epilogue, Span<float> workspace,
                  Span<float> destination);

/// The same from weights as they are, with the same bits. Where all threads work together each panel of
/// weights is transformed right before it is multiplied, and never leaves the cache.
std::int64_t winograd_unpacked_workspace_size(const WinogradBlocking& blocking);
void winograd_run_unpacked(const WinogradBlocking& blocking, const Conv2dDims& dims, Span<const float> source,
                           Span<const float> weight, const Conv2dEpilogue<float>& epilogue,
                           Span<float> workspace, Span<float> destination);

}  // namespace atrous::kernels
