#pragma once

#include <cstdint>

#include "atrous/core/host_device.h"
#include "atrous/core/span.h"
#include "atrous/kernels/resize/resize.h"
#include "atrous/kernels/resize/resize_rule.h"

// The arithmetic of one output pixel, or a range of its channels, of each kernel of resize.h. Computed in
// Accumulator<T>.

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
ATROUS_HD Accumulator<T> resize_sample(const ResizeDims& d, const T* x, const ResizeTap& row,
                                       const ResizeTap& column, std::int64_t c) {
  const T* upper = x + row.low * d.in_w * d.channels + c;
  const T* lower = x + row.high * d.in_w * d.channels + c;
  const std::int64_t left = column.low * d.channels, right = column.high * d.channels;
  // Rows first, then columns: the order of the vector code.
  using A = Accumulator<T>;
  const A a = blend(A(upper[left]), A(lower[left]), A(row.weight));
  const A b = blend(A(upper[right]), A(lower[right]), A(row.weight));
  return blend(a, b, A(column.weight));
}

/// Channels begin..end-1 of output pixel i.
template <class T>
struct ResizeBilinearForward {
  ResizeDims d;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t i, std::int64_t begin, std::int64_t end) const {
    const std::int64_t ow = i % d.out_w, oh = i / d.out_w % d.out_h, n = i / (d.out_w * d.out_h);
    const ResizeTap row = rows_of(d).tap(oh), column = columns_of(d).tap(ow);
    const T* image = x.data() + n * d.in_h * d.in_w * d.channels;
    for (std::int64_t c = begin; c < end; ++c)
      y[i * d.y_channels_or_own() + c] = T(resize_sample(d, image, row, column, c));
  }
  ATROUS_HD void element(std::int64_t i, std::int64_t c) const { (*this)(i, c, c + 1); }
};

/// Channels begin..end-1 of input pixel i.
template <class T>
struct ResizeBilinearBackward {
  using Sum = Accumulator<T>;
  static constexpr std::int64_t kLanes = 16;  // channels that the CPU sums together, in registers
  ResizeDims d;
  Span<const T> dy;
  Span<T> dx;
  ATROUS_HD void operator()(std::int64_t i, std::int64_t begin, std::int64_t end) const {
    for (std::int64_t c = begin; c < end; c += kLanes)
      lanes<kLanes>(i, c, end - c < kLanes ? end - c : kLanes);
  }
  ATROUS_HD void element(std::int64_t i, std::int64_t c) const { lanes<1>(i, c, 1); }

 private:
  template <std::int64_t kMost>
  ATROUS_HD void lanes(std::int64_t i, std::int64_t begin, std::int64_t count) const {
    const std::int64_t w = i % d.in_w, h = i / d.in_w % d.in_h, n = i / (d.in_w * d.in_h);
    const ResizeAxis rows = rows_of(d), columns = columns_of(d);
    Sum sum[kMost] = {};
    for (std::int64_t oh = rows.first(h - 1); oh < rows.first(h + 1); ++oh) {
      const ResizeTap row = rows.tap(oh);
      const Sum row_weight = Sum(row.low == h ? 1 - row.weight : row.weight);
      for (std::int64_t ow = columns.first(w - 1); ow < columns.first(w + 1); ++ow) {
        const ResizeTap column = columns.tap(ow);
        const Sum weight = row_weight * Sum(column.low == w ? 1 - column.weight : column.weight);
        if (weight == Sum(0)) continue;  // not read, so what lies there does not matter
        const T* from = dy.data() + ((n * d.out_h + oh) * d.out_w + ow) * d.channels + begin;
        for (std::int64_t c = 0; c < count; ++c) sum[c] += weight * Sum(from[c]);
      }
    }
    T* to = dx.data() + i * d.channels + begin;
    for (std::int64_t c = 0; c < count; ++c) to[c] = T(sum[c]);
  }
};

/// The first of the greatest resized logits of output pixel i. They are rounded to T, as if they had been
/// stored: equal ones stay equal.
template <class T>
ATROUS_HD std::int64_t resized_argmax(const ResizeDims& d, const T* x, std::int64_t i) {
  using A = Accumulator<T>;
  const std::int64_t ow = i % d.out_w, oh = i / d.out_w % d.out_h, n = i / (d.out_w * d.out_h);
  const ResizeTap row = rows_of(d).tap(oh), column = columns_of(d).tap(ow);
  const T* image = x + n * d.in_h * d.in_w * d.channels;
  A best = A(T(resize_sample(d, image, row, column, 0)));
  std::int64_t arg = 0;
  for (std::int64_t c = 1; c < d.channels; ++c) {
    const A value = A(T(resize_sample(d, image, row, column, c)));
    if (value > best) best = value, arg = c;
  }
  return arg;
}

template <class T, class Label>
struct ResizeArgmax {
  ResizeDims d;
  Span<const T> x;
  Span<Label> labels;
  ATROUS_HD void operator()(std::int64_t i) const { labels[i] = Label(resized_argmax(d, x.data(), i)); }
};

/// The input position that is nearest to output o.
ATROUS_HD inline std::int64_t resize_nearest_position(const ResizeAxis& axis, std::int64_t o) {
  if (!axis.align_corners) return (2 * o + 1) * axis.in / (2 * axis.out);
  return axis.out > 1 ? (2 * o * (axis.in - 1) + axis.out - 1) / (2 * (axis.out - 1)) : 0;
}

/// Channels begin..end-1 of output pixel i.
template <class T>
struct ResizeNearest {
  ResizeDims d;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t i, std::int64_t begin, std::int64_t end) const {
    const std::int64_t ow = i % d.out_w, oh = i / d.out_w % d.out_h, n = i / (d.out_w * d.out_h);
    const std::int64_t h = resize_nearest_position(rows_of(d), oh);
    const std::int64_t w = resize_nearest_position(columns_of(d), ow);
    const std::int64_t from = ((n * d.in_h + h) * d.in_w + w) * d.channels;
    for (std::int64_t c = begin; c < end; ++c) y[i * d.channels + c] = x[from + c];
  }
  ATROUS_HD void element(std::int64_t i, std::int64_t c) const { (*this)(i, c, c + 1); }
};

/// One axis of the antialiased resize: x is [outer, in, inner], y [outer, out, inner]; elements begin..end-1
/// of `inner` of the i-th (outer, out) position.
template <class T>
struct ResizeAntialiasAxis {
  using Sum = Accumulator<T>;
  static constexpr std::int64_t kLanes = 128;
  std::int64_t in, out, inner;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t i, std::int64_t begin, std::int64_t end) const {
    for (std::int64_t j = begin; j < end; j += kLanes)
      lanes<kLanes>(i, j, end - j < kLanes ? end - j : kLanes);
  }
  ATROUS_HD void element(std::int64_t i, std::int64_t j) const { lanes<1>(i, j, 1); }

 private:
  template <std::int64_t kMost>
  ATROUS_HD void lanes(std::int64_t i, std::int64_t first, std::int64_t count) const {
    const std::int64_t o = i % out, outer = i / out;
    const double scale = double(in) / double(out), stretch = scale > 1 ? scale : 1;
    const double centre = (double(o) + 0.5) * scale;
    // Truncation rounds towards 0, which the bounds of the axis make harmless.
    std::int64_t begin = std::int64_t(centre - stretch + 0.5), end = std::int64_t(centre + stretch + 0.5);
    begin = begin < 0 ? 0 : begin;
    end = end > in ? in : end;
    double total = 0;
    for (std::int64_t k = begin; k < end; ++k) total += weight(k, centre, stretch);
    Sum sum[kMost] = {};
    for (std::int64_t k = begin; k < end; ++k) {
      const Sum w = Sum(weight(k, centre, stretch) / total);
      if (w == Sum(0)) continue;
      const T* from = x.data() + (outer * in + k) * inner + first;
      for (std::int64_t j = 0; j < count; ++j) sum[j] += w * Sum(from[j]);
    }
    T* to = y.data() + i * inner + first;
    for (std::int64_t j = 0; j < count; ++j) to[j] = T(sum[j]);
  }
  ATROUS_HD static double weight(std::int64_t k, double centre, double stretch) {
    double distance = (double(k) + 0.5 - centre) / stretch;
    if (distance < 0) distance = -distance;
    return distance < 1 ? 1 - distance : 0;
  }
};

}  // namespace atrous::kernels
