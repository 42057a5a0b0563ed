#include "atrous/kernels/resize/resize_fast.h"

#include <algorithm>

#include "atrous/core/parallel.h"
#include "atrous/kernels/resize/resize_body.h"
#include "atrous/kernels/resize/resize_simd.h"
#include "atrous/kernels/softmax/softmax_simd.h"
#include "atrous/kernels/streaming_fence.h"

// Rows are cut among the threads. The taps of the columns are computed for a block of columns at a time, once
// for all rows of a thread: the rule's divisions cost more than the few multiplications of a pixel with few
// channels.

namespace atrous::kernels::cpu {
namespace {

// Rows that are worth a thread.
std::int64_t row_grain(std::int64_t elements_of_row) { return 1 + (1 << 14) / (elements_of_row + 1); }

template <std::int64_t kCount>
struct Columns {
  static constexpr std::int64_t kMost = kCount;
  std::int32_t low[kMost], high[kMost];
  float weight[kMost];

  simd::ResizeColumns fill(const ResizeAxis& axis, std::int64_t first, std::int64_t count) {
    for (std::int64_t j = 0; j < count; ++j) {
      const ResizeTap tap = axis.tap(first + j);
      low[j] = std::int32_t(tap.low);
      high[j] = std::int32_t(tap.high);
      weight[j] = float(tap.weight);
    }
    return {count, low, high, weight};
  }
};

using ColumnBlock = Columns<256>;

// body(columns, first column, row, upper, lower, row weight) for every block of `block` columns of every
// output row begin .. end - 1 of the batch.
template <class Body>
void for_each_row(const ResizeDims& d, const float* x, std::int64_t block, std::int64_t begin,
                  std::int64_t end, const Body& body) {
  const ResizeAxis rows = rows_of(d), columns = columns_of(d);
  const std::int64_t in_row = d.in_w * d.channels;
  ColumnBlock taps;
  for (std::int64_t first = 0; first < d.out_w; first += block) {
    const simd::ResizeColumns some = taps.fill(columns, first, std::min(block, d.out_w - first));
    for (std::int64_t row = begin; row < end; ++row) {
      const ResizeTap tap = rows.tap(row % d.out_h);
      const float* image = x + row / d.out_h * d.in_h * in_row;
      body(some, first, row, image + tap.low * in_row, image + tap.high * in_row, float(tap.weight));
    }
  }
}

}  // namespace

bool fast_resize_bilinear_forward(const ResizeDims& d, Span<const float> x, Span<float> y) {
  const std::int64_t y_step = d.y_channels_or_own();
  const bool stream = d.channels % 16 == 0 && y_step % 16 == 0 && leaves_cache(y, kCachedBytesOfWriters);
  parallel_for(d.batch * d.out_h, row_grain(d.out_w * d.channels), [&](std::int64_t begin, std::int64_t end) {
    for_each_row(d, x.data(), ColumnBlock::kMost, begin, end,
                 [&](const simd::ResizeColumns& columns, std::int64_t first, std::int64_t row,
                     const float* upper, const float* lower, float weight) {
                   simd::resize_row(upper, lower, weight, columns, d.channels, y_step, stream,
                                    y.data() + (row * d.out_w + first) * y_step);
                 });
    if (stream) streaming_fence();
  });
  return true;
}

namespace {

constexpr std::int64_t kPlaneColumns = 2048;  // of the output, at most: their taps are on the stack
constexpr std::int64_t kPlanes = 1 << 13;     // floats of a row of logits that lies by classes: 32 kB

std::int64_t plane_stride(const ResizeDims& d) { return d.in_w + 16; }

// Rows of logits of one image by classes: those above and below the output rows at hand.
struct Planes {
  std::int64_t low = -1, high = -1;
  float memory[2][kPlanes];
  float *upper = memory[0], *lower = memory[1];

  void fill(const ResizeDims& d, const float* x, std::int64_t row, float* to) const {
    const float* from = x + row * d.in_w * d.channels;
    for (std::int64_t w = 0; w < d.in_w; ++w)
      for (std::int64_t c = 0; c < d.channels; ++c) to[c * plane_stride(d) + w] = *from++;
    for (std::int64_t c = 0; c < d.channels; ++c)
      std::fill_n(to + c * plane_stride(d) + d.in_w, plane_stride(d) - d.in_w, 0.0f);
  }
  // Rows are counted through the batch.
  void move_to(const ResizeDims& d, const float* x, std::int64_t new_low, std::int64_t new_high) {
    if (new_low == low && new_high == high) return;
    if (new_low == high)
      std::swap(upper, lower);
    else if (new_low != low)
      fill(d, x, new_low, upper);
    fill(d, x, new_high, lower);
    low = new_low, high = new_high;
  }
};

// Row after row, all classes of a vector of columns at a time: what a row of the input has by classes is made
// once for all output rows that read it.
void argmax_by_planes(const ResizeDims& d, const float* x, std::uint8_t* labels8, std::int32_t* labels32) {
  parallel_for(d.batch * d.out_h, row_grain(d.out_w * d.channels), [&](std::int64_t begin, std::int64_t end) {
    const ResizeAxis rows = rows_of(d), columns = columns_of(d);
    Planes planes;
    Columns<kPlaneColumns> taps;
    float blended[kPlanes];
    const simd::ResizeColumns all = taps.fill(columns, 0, d.out_w);
    for (std::int64_t j = d.out_w; j % 16 != 0; ++j)
      taps.low[j] = taps.low[j - 1], taps.high[j] = taps.high[j - 1], taps.weight[j] = taps.weight[j - 1];
    for (std::int64_t row = begin; row < end; ++row) {
      const ResizeTap tap = rows.tap(row % d.out_h);
      const std::int64_t image = row / d.out_h * d.in_h, at = row * d.out_w;
      planes.move_to(d, x, image + tap.low, image + tap.high);
      simd::blend_rows(planes.upper, planes.lower, float(tap.weight), d.channels * plane_stride(d), blended);
      simd::resize_argmax(blended, plane_stride(d), d.channels, all, labels8 ? labels8 + at : nullptr,
                          labels32 ? labels32 + at : nullptr);
    }
  });
}

}  // namespace

bool fast_resize_argmax(const ResizeDims& d, Span<const float> x, Span<std::uint8_t> labels8,
                        Span<std::int32_t> labels32) {
  constexpr std::int64_t kBuffer = 1 << 13;  // logits: 32 kB
  if (d.channels > simd::kMostClasses) return false;
  if (d.in_w <= d.out_w && d.in_h <= d.out_h && d.out_w <= kPlaneColumns &&
      d.channels * plane_stride(d) <= kPlanes) {
    argmax_by_planes(d, x.data(), labels8.empty() ? nullptr : labels8.data(),
                     labels32.empty() ? nullptr : labels32.data());
    return true;
  }
  const std::int64_t block = std::min<std::int64_t>(kBuffer / d.channels, ColumnBlock::kMost);
  parallel_for(d.batch * d.out_h, row_grain(d.out_w * d.channels), [&](std::int64_t begin, std::int64_t end) {
    float logits[kBuffer];
    for_each_row(d, x.data(), block, begin, end,
                 [&](const simd::ResizeColumns& columns, std::int64_t first, std::int64_t row,
                     const float* upper, const float* lower, float weight) {
                   simd::resize_row(upper, lower, weight, columns, d.channels, d.channels, false, logits);
                   const std::int64_t at = row * d.out_w + first;
                   simd::argmax(columns.count, d.channels, logits,
                                labels8.empty() ? nullptr : labels8.data() + at,
                                labels32.empty() ? nullptr : labels32.data() + at);
                 });
  });
  return true;
}

namespace {

// The outputs that read input k, and with what weights: in the interval before k with the weight of high, in
// its own with what is left of it. Outputs that read it with a weight of 0 do not count; they come first.
struct Readers {
  std::int64_t first, count;
};
Readers readers_of(const ResizeAxis& axis, std::int64_t k, float* weights) {
  std::int64_t first = axis.first(k - 1);
  const std::int64_t end = axis.first(k + 1);
  std::int64_t count = 0;
  for (std::int64_t o = first; o < end; ++o) {
    const ResizeTap tap = axis.tap(o);
    const float weight = float(tap.low == k ? 1 - tap.weight : tap.weight);
    if (weight == 0 && count == 0)
      ++first;
    else
      weights[count++] = weight;
  }
  return {first, count};
}

}  // namespace

// Rows first: the rows of dy that read one row of a block of columns are summed as they lie, a stream each,
// and the sum is gathered by columns from the cache. Every row of dy is summed for the two input rows that it
// was blended from; the second time it comes from the L2, where the rows of a block have room. Gathered in
// windows of rows and columns, 513x513x256 took twice as long. A pixel whose outputs have no room is gathered
// so.
bool fast_resize_bilinear_backward(const ResizeDims& d, Span<const float> dy, Span<float> dx) {
  constexpr std::int64_t kColumns = 64, kWeights = 2048;
  constexpr std::int64_t kSum = 1 << 14;  // floats of a block's sum: 64 kB, a sixteenth of an L2
  const ResizeAxis rows = rows_of(d), columns = columns_of(d);
  // Outputs that read one input, at most.
  const auto most = [](const ResizeAxis& axis) {
    std::int64_t widest = 0;
    for (std::int64_t k = 0; k < axis.in; ++k)
      widest = std::max(widest, axis.first(k + 1) - axis.first(k - 1));
    return widest;
  };
  const std::int64_t widest = std::max<std::int64_t>(most(columns), 1);
  if (widest > kWeights || most(rows) > kWeights) return false;
  // The outputs of 2 k - 1 neighbouring columns are those of k single ones at most.
  const std::int64_t fit = 2 * (kSum / std::max<std::int64_t>(widest * d.channels, 1)) - 1;
  const std::int64_t block = std::min({kColumns, kWeights / widest, std::max<std::int64_t>(fit, 1)});
  const std::int64_t blocks = (d.in_w + block - 1) / block, out_row = d.out_w * d.channels;
  // Blocks of columns are the outer cut, rows the inner one: a map of a single row has work for several
  // threads, too.
  const std::int64_t grain = grain_of(block * d.channels);
  parallel_for(blocks * d.batch * d.in_h, grain, [&](std::int64_t begin, std::int64_t end) {
    float weights[kWeights], row_weights[kWeights], sum[kSum];
    simd::ResizeWindow windows[kColumns];
    std::int64_t filled = -1, low = 0, width = 0;  // outputs low .. low + width - 1 read the block
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t b = i / (d.batch * d.in_h), row = i % (d.batch * d.in_h);
      const std::int64_t first = b * block, count = std::min(block, d.in_w - first);
      if (b != filled) {
        float* next = weights;
        for (std::int64_t j = 0; j < count; ++j) {
          const Readers r = readers_of(columns, first + j, next);
          windows[j] = {r.first, r.count, next};
          next += r.count;
        }
        low = windows[0].first, width = windows[count - 1].first + windows[count - 1].count - low;
        for (std::int64_t j = 0; j < count; ++j) windows[j].first -= low;
        filled = b;
      }
      const Readers r = readers_of(rows, row % d.in_h, row_weights);
      const float* from = dy.data() + (row / d.in_h * d.out_h + r.first) * out_row + low * d.channels;
      float* to = dx.data() + (row * d.in_w + first) * d.channels;
      if (fit < 1) {
        simd::resize_gather(from, out_row, row_weights, r.count, d.channels, windows, count, to);
        continue;
      }
      const float one = 1;
      simd::resize_sum_rows(from, out_row, row_weights, r.count, width * d.channels, sum);
      simd::resize_gather(sum, 0, &one, 1, d.channels, windows, count, to);
    }
  });
  return true;
}

}  // namespace atrous::kernels::cpu
