#pragma once

#include <cstdint>

#include "atrous/kernels/simd.h"

// The loops of resize.h over floats, for each instruction set, vectorised over channels.

namespace atrous::kernels::simd {

/// Some columns of one output row: what they read of the two input rows above and below it.
struct ResizeColumns {
  long count;
  const std::int32_t *low, *high;  ///< input columns, never falling
  const float* weight;             ///< of high
};
/// y [count, channels] from the rows `upper` and `lower` [in_w, channels]; row_weight is that of `lower`. The
/// pixels of y begin y_step floats apart.
/// With `stream` past the cache: channels and y_step a multiple of 16, y aligned to 64 bytes,
/// streaming_fence() at the end.
ATROUS_SIMD(resize_row, const float* upper, const float* lower, float row_weight,
            const ResizeColumns& columns, long channels, long y_step, bool stream, float* y);

/// to = upper + row_weight (lower - upper), n floats; row_weight 0 copies.
ATROUS_SIMD(blend_rows, const float* upper, const float* lower, float row_weight, long n, float* to);

/// The class of the greatest logit of each column, the first of equals, of one row that lies by classes:
/// planes [classes][stride], readable for a vector behind the last column. The columns' arrays hold whole
/// vectors: what is behind the last repeats it. One of the two results is null.
ATROUS_SIMD(resize_argmax, const float* planes, long stride, long classes, const ResizeColumns& columns,
            std::uint8_t* labels8, std::int32_t* labels32);

/// The outputs that read one input column, which lie side by side, and with what weights.
struct ResizeWindow {
  long first, count;
  const float* weights;
};
/// dx [columns, channels]: the sum over `rows` rows of dy, stride floats apart, of row_weights times the
/// windows' weighted sums.
ATROUS_SIMD(resize_gather, const float* dy, long stride, const float* row_weights, long rows, long channels,
            const ResizeWindow* windows, long columns, float* dx);

/// sum[i] = sum over r of weights[r] * rows[r*stride + i], n floats.
ATROUS_SIMD(resize_sum_rows, const float* rows, long stride, const float* weights, long count, long n,
            float* sum);

/// Adds n numbers to the rows that they were blended from: upper[i] += (1 - row_weight) line[i], lower[i] +=
/// row_weight line[i]. A weight of 0 touches `upper` alone.
ATROUS_SIMD(resize_share, const float* line, long n, float row_weight, float* upper, float* lower);

}  // namespace atrous::kernels::simd
