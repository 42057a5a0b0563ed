#pragma once

#include <cstdint>

#include "atrous/core/host_device.h"
#include "atrous/core/span.h"
#include "atrous/kernels/resize/resize.h"
#include "atrous/kernels/resize/resize_rule.h"

// The arithmetic of one output element of each kernel of resize.h.

namespace atrous::kernels {

ATROUS_HD inline ResizeAxis rows_of(const ResizeDims& d) { return {d.in_h, d.out_h, d.align_corners}; }
ATROUS_HD inline ResizeAxis columns_of(const ResizeDims& d) { return {d.in_w, d.out_w, d.align_corners}; }

/// Between a and b. A weight of 0 gives a itself, even beside an infinite b.
template <class T>
ATROUS_HD T blend(T a, T b, T weight) {
  return weight == T(0) ? a : a + weight * (b - a);
}

/// Channel c of the output pixel that reads these taps; x is one image.
template <class T>
ATROUS_HD T resize_sample(const ResizeDims& d, const T* x, const ResizeTap& row, const ResizeTap& column,
                          std::int64_t c) {
  const T* upper = x + row.low * d.in_w * d.channels + c;
  const T* lower = x + row.high * d.in_w * d.channels + c;
  const std::int64_t left = column.low * d.channels, right = column.high * d.channels;
  // Rows first, then columns: the order of the vector code.
  const T a = blend(upper[left], lower[left], T(row.weight));
  const T b = blend(upper[right], lower[right], T(row.weight));
  return blend(a, b, T(column.weight));
}

/// All channels of output pixel i.
template <class T>
struct ResizeBilinearForward {
  ResizeDims d;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t ow = i % d.out_w, oh = i / d.out_w % d.out_h, n = i / (d.out_w * d.out_h);
    const ResizeTap row = rows_of(d).tap(oh), column = columns_of(d).tap(ow);
    const T* image = x.data() + n * d.in_h * d.in_w * d.channels;
    for (std::int64_t c = 0; c < d.channels; ++c)
      y[i * d.channels + c] = resize_sample(d, image, row, column, c);
  }
};

/// All channels of input pixel i.
template <class T>
struct ResizeBilinearBackward {
  ResizeDims d;
  Span<const T> dy;
  Span<T> dx;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t w = i % d.in_w, h = i / d.in_w % d.in_h, n = i / (d.in_w * d.in_h);
    const ResizeAxis rows = rows_of(d), columns = columns_of(d);
    for (std::int64_t c = 0; c < d.channels; ++c) dx[i * d.channels + c] = T(0);
    for (std::int64_t oh = rows.first(h - 1); oh < rows.first(h + 1); ++oh) {
      const ResizeTap row = rows.tap(oh);
      const T row_weight = T(row.low == h ? 1 - row.weight : row.weight);
      for (std::int64_t ow = columns.first(w - 1); ow < columns.first(w + 1); ++ow) {
        const ResizeTap column = columns.tap(ow);
        const T weight = row_weight * T(column.low == w ? 1 - column.weight : column.weight);
        if (weight == T(0)) continue;  // not read, so what lies there does not matter
        const std::int64_t o = ((n * d.out_h + oh) * d.out_w + ow) * d.channels;
        for (std::int64_t c = 0; c < d.channels; ++c) dx[i * d.channels + c] += weight * dy[o + c];
      }
    }
  }
};

/// The first of the greatest logits of output pixel i.
template <class T, class Label>
struct ResizeArgmax {
  ResizeDims d;
  Span<const T> x;
  Span<Label> labels;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t ow = i % d.out_w, oh = i / d.out_w % d.out_h, n = i / (d.out_w * d.out_h);
    const ResizeTap row = rows_of(d).tap(oh), column = columns_of(d).tap(ow);
    const T* image = x.data() + n * d.in_h * d.in_w * d.channels;
    T best = resize_sample(d, image, row, column, 0);
    std::int64_t arg = 0;
    for (std::int64_t c = 1; c < d.channels; ++c) {
      const T value = resize_sample(d, image, row, column, c);
      if (value > best) best = value, arg = c;
    }
    labels[i] = Label(arg);
  }
};

/// The input position that is nearest to output o.
ATROUS_HD inline std::int64_t resize_nearest_position(const ResizeAxis& axis, std::int64_t o) {
  if (!axis.align_corners) return (2 * o + 1) * axis.in / (2 * axis.out);
  return axis.out > 1 ? (2 * o * (axis.in - 1) + axis.out - 1) / (2 * (axis.out - 1)) : 0;
}

/// All channels of output pixel i.
template <class T>
struct ResizeNearest {
  ResizeDims d;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t ow = i % d.out_w, oh = i / d.out_w % d.out_h, n = i / (d.out_w * d.out_h);
    const std::int64_t h = resize_nearest_position(rows_of(d), oh);
    const std::int64_t w = resize_nearest_position(columns_of(d), ow);
    const std::int64_t from = ((n * d.in_h + h) * d.in_w + w) * d.channels;
    for (std::int64_t c = 0; c < d.channels; ++c) y[i * d.channels + c] = x[from + c];
  }
};

/// One axis of the antialiased resize: x is [outer, in, inner], y [outer, out, inner]; all `inner` elements
/// of the i-th (outer, out) position.
template <class T>
struct ResizeAntialiasAxis {
  std::int64_t in, out, inner;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t o = i % out, outer = i / out;
    const double scale = double(in) / double(out), stretch = scale > 1 ? scale : 1;
    const double centre = (double(o) + 0.5) * scale;
    // Truncation rounds towards 0, which the bounds of the axis make harmless.
    std::int64_t begin = std::int64_t(centre - stretch + 0.5), end = std::int64_t(centre + stretch + 0.5);
    begin = begin < 0 ? 0 : begin;
    end = end > in ? in : end;
    double total = 0;
    for (std::int64_t k = begin; k < end; ++k) total += weight(k, centre, stretch);
    const std::int64_t to = i * inner;
    for (std::int64_t j = 0; j < inner; ++j) y[to + j] = T(0);
    for (std::int64_t k = begin; k < end; ++k) {
      const T w = T(weight(k, centre, stretch) / total);
      if (w == T(0)) continue;
      const std::int64_t from = (outer * in + k) * inner;
      for (std::int64_t j = 0; j < inner; ++j) y[to + j] += w * x[from + j];
    }
  }
  ATROUS_HD static double weight(std::int64_t k, double centre, double stretch) {
    double distance = (double(k) + 0.5 - centre) / stretch;
    if (distance < 0) distance = -distance;
    return distance < 1 ? 1 - distance : 0;
  }
};

}  // namespace atrous::kernels
