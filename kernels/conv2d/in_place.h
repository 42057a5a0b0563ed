#pragma once

#include <cstdint>
#include <vector>

#include "atrous/core/span.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/direct.h"

// Convolutions read where they lie. A tile is a few neighbours of one row of the destination. Where taps lie
// side by side (rate 1), a row of the window is one run of window_w * channels floats of the source, and
// neighbours' runs begin stride * channels floats apart: the product reads them from there, and sums from the
// first run to the last in registers. Nothing is copied and no sum is put aside, which is what weighs most on
// 1x1 convolutions and on the first layers of networks, with their three channels. Tiles at the border
// copy their runs, with zeros beside them; so do pixels that would push each other out of the L1 cache.
// Results that leave the cache are written past it.
//
// The gradient by the input of stride s (a transposed convolution) is s.h * s.w such convolutions of stride
// 1, one for each phase of the destination: those positions that gather through the same taps.

namespace atrous::kernels {

/// Whether these sizes are read in place: 1x1 convolutions without padding and windows at rate 1, while the
/// sum and the weights are not too large. By the sizes alone.
bool reads_in_place(Gather direction, const Conv2dDims& dims);

/// One phase of the gradient by the input: a convolution of stride 1, whose taps are some of the window's in
/// the opposite order.
struct InPlacePhase {
  struct Axis {
    std::int64_t at, count;  ///< positions at + i*stride of the destination, i < count
    std::int64_t tap, taps;  ///< of the window: tap, tap + stride, ..
    std::int64_t before;     ///< padding before the source; may be negative
  };
  Axis h, w;
  std::int64_t packed;  ///< its weights among the packed ones
};
std::vector<InPlacePhase> in_place_phases(const DirectBlocking& blocking, const Conv2dDims& dims);

/// Floats of scratch memory for one thread.
std::int64_t in_place_scratch_size(const DirectBlocking& blocking, const Conv2dDims& dims);

/// As direct_run; `bias`, which takes the place of the epilogue's, is padded to whole panels, or null.
void in_place_run(const DirectBlocking& blocking, const Conv2dDims& dims, const float* source,
                  const float* packed, const float* bias, const Conv2dEpilogue<float>& epilogue,
                  Span<float> scratch, Span<float> destination);

}  // namespace atrous::kernels
