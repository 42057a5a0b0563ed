#pragma once

#include <cmath>

#include "atrous/kernels/resize/resize_body.h"
#include "atrous/kernels/upsample/upsample.h"

// The arithmetic of one pixel of each kernel of upsample.h. The gradient takes two steps: what the softmax of
// a fine pixel needs (its greatest logit, the factor of its exponentials) is kept, then every coarse pixel
// gathers from the fine ones that read it, computing their logits a second time.

namespace atrous::kernels {

/// The resized logits of one fine pixel.
template <class T>
struct ResizedLogits {
  using A = Accumulator<T>;
  const ResizeDims& d;
  const T* image;
  ResizeTap row, column;

  ATROUS_HD ResizedLogits(const ResizeDims& dims, const T* x, std::int64_t p)
      : d(dims),
        image(x + p / (dims.out_w * dims.out_h) * dims.in_h * dims.in_w * dims.channels),
        row(rows_of(dims).tap(p / dims.out_w % dims.out_h)),
        column(columns_of(dims).tap(p % dims.out_w)) {}
  ATROUS_HD A operator[](std::int64_t c) const { return resize_sample(d, image, row, column, c); }
  ATROUS_HD A largest() const {
    A most = (*this)[0];
    for (std::int64_t c = 1; c < d.channels; ++c) {
      const A v = (*this)[c];
      most = v > most ? v : most;
    }
    return most;
  }
  /// The sum of exp(z[c] - largest).
  ATROUS_HD A sum_of_exp(A largest) const {
    A sum = 0;
    for (std::int64_t c = 0; c < d.channels; ++c) sum += std::exp((*this)[c] - largest);
    return sum;
  }
};

template <class T>
struct UpsampleLoss {
  using A = Accumulator<T>;
  ResizeDims d;
  Span<const T> logits;
  Span<const std::int32_t> targets;
  Span<A> losses;
  ATROUS_HD void operator()(std::int64_t p) const {
    losses[p] = 0;
    if (targets[p] < 0) return;
    const ResizedLogits<T> z(d, logits.data(), p);
    const A largest = z.largest();
    losses[p] = std::log(z.sum_of_exp(largest)) + (largest - z[targets[p]]);
  }
};

/// What is kept of fine pixel p: largest[p], factor[p] = scales[p] / sum of exp(z - largest), losses[p] with
/// its scale. All 0 for a pixel of scale 0.
template <class T>
struct UpsampleStatistics {
  using A = Accumulator<T>;
  ResizeDims d;
  Span<const T> logits;
  Span<const std::int32_t> targets;
  Span<const A> scales;
  Span<A> largest, factor, losses;
  ATROUS_HD void operator()(std::int64_t p) const {
    largest[p] = factor[p] = losses[p] = 0;
    if (scales[p] == A(0)) return;
    const ResizedLogits<T> z(d, logits.data(), p);
    const A most = z.largest(), sum = z.sum_of_exp(most);
    largest[p] = most;
    factor[p] = scales[p] / sum;
    losses[p] = scales[p] * (std::log(sum) + (most - z[targets[p]]));
  }
};

/// The gradient of coarse pixel i and class c.
template <class T>
struct UpsampleGradient {
  using A = Accumulator<T>;
  ResizeDims d;
  Span<const T> logits;
  Span<const std::int32_t> targets;
  Span<const A> scales, largest, factor;
  Span<T> dlogits;
  ATROUS_HD void element(std::int64_t i, std::int64_t c) const {
    const std::int64_t w = i % d.in_w, h = i / d.in_w % d.in_h, n = i / (d.in_w * d.in_h);
    const ResizeAxis rows = rows_of(d), columns = columns_of(d);
    const T* image = logits.data() + n * d.in_h * d.in_w * d.channels;
    A sum = 0;
    for (std::int64_t oh = rows.first(h - 1); oh < rows.first(h + 1); ++oh) {
      const ResizeTap row = rows.tap(oh);
      const A row_weight = A(row.low == h ? 1 - row.weight : row.weight);
      for (std::int64_t ow = columns.first(w - 1); ow < columns.first(w + 1); ++ow) {
        const std::int64_t p = (n * d.out_h + oh) * d.out_w + ow;
        const ResizeTap column = columns.tap(ow);
        const A weight = row_weight * A(column.low == w ? 1 - column.weight : column.weight);
        if (weight == A(0) || scales[p] == A(0)) continue;
        const A share = std::exp(resize_sample(d, image, row, column, c) - largest[p]) * factor[p];
        sum += weight * (c == targets[p] ? share - scales[p] : share);
      }
    }
    dlogits[i * d.channels + c] = T(sum);
  }
};

}  // namespace atrous::kernels
