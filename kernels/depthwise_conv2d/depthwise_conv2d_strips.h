#pragma once

#include <cstdint>

#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

// How the CUDA kernels cut a depthwise convolution. Rows that lie `rate` apart share inputs, others do not:
// each of the `phases` sets of rows y, y + rate, y + 2 rate, .. is walked on its own, in strips, and an input
// row is loaded once for the three outputs that read it. So the cost does not depend on the rate.

namespace atrous::kernels {

/// The strips of one image: run 0..runs()-1 is strip run / phases of phase run % phases.
struct DepthwiseStrips {
  int rows, rate, strip, strips;

  ATROUS_HD constexpr int phases() const { return rate < rows ? rate : rows; }
  ATROUS_HD constexpr int runs() const { return phases() * strips; }

  /// First row of a run, and how many rows it has, `rate` apart; the last strips of some phases are empty.
  struct Run {
    int first, count;
  };
  ATROUS_HD constexpr Run run(int number) const {
    const int phase = number % phases(), from = number / phases() * strip;
    const int left = (rows - phase + rate - 1) / rate - from;
    return {phase + from * rate, left < 0 ? 0 : left < strip ? left : strip};
  }
};

/// Strips of at most `longest` rows, as even as they can be.
constexpr DepthwiseStrips depthwise_strips(std::int64_t rows, std::int64_t rate, int longest) {
  const int most = int((rows + rate - 1) / rate), strips = (most + longest - 1) / longest;
  return {int(rows), int(rate), (most + strips - 1) / strips, strips};
}

/// The cut of the weight's gradient: a block owns 64 channels (8 vectors) or fewer, 32 columns, and the units
/// (image, strip, tile of columns) part, part + parts, ..
struct DepthwiseWeightCut {
  static constexpr int kColumns = 32, kVectors = 8;
  std::int64_t units, parts;
};
constexpr DepthwiseWeightCut depthwise_weight_cut(const DepthwiseConv2dDims& d,
                                                  const DepthwiseStrips& strips) {
  constexpr std::int64_t kMostParts = 128;
  const std::int64_t tiles = (d.out_w + DepthwiseWeightCut::kColumns - 1) / DepthwiseWeightCut::kColumns;
  const std::int64_t units = d.batch * strips.runs() * tiles;
  return {units, units < kMostParts ? units : kMostParts};
}

/// Partial sums of the plain kernel's gradient of the weight.
constexpr std::int64_t depthwise_plain_parts(const DepthwiseConv2dDims& d) {
  constexpr std::int64_t kMost = 64;
  const std::int64_t rows = d.batch * d.out_h;
  return rows < kMost ? rows : kMost;
}

/// Accumulators that the gradient of the weight needs on a CUDA device: an upper bound for every way to
/// compute it.
constexpr std::int64_t depthwise_weight_partials(const DepthwiseConv2dDims& d) {
  return 128 * d.taps() * d.out_channels();
}

}  // namespace atrous::kernels
