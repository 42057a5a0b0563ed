#pragma once

#include <cstdint>
#include <ostream>
#include <utility>

#include "atrous/core/host_device.h"

// What every operation that slides a window over an image shares: one number for each axis, zeros on four
// sides, and sizes.

namespace atrous {

/// One number for rows and one for columns; converts from a single number that serves both.
struct PerAxis {
  std::int64_t h = 1, w = 1;
  constexpr PerAxis() = default;
  constexpr PerAxis(std::int64_t both)
      : h(both), w(both) {}  // NOLINT: implicit, so that {.stride = 2} reads well
  constexpr PerAxis(std::int64_t rows, std::int64_t columns) : h(rows), w(columns) {}
  bool operator==(const PerAxis&) const = default;
};

/// Pixels added on the four sides; converts from a single number that serves all. Convolutions read them as
/// 0, max pooling as minus infinity.
struct Padding {
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;
  constexpr Padding() = default;
  constexpr Padding(std::int64_t all) : top(all), bottom(all), left(all), right(all) {}  // NOLINT: implicit
  constexpr Padding(std::int64_t t, std::int64_t b, std::int64_t l, std::int64_t r)
      : top(t), bottom(b), left(l), right(r) {}
  bool operator==(const Padding&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const PerAxis& p) { return out << p.h << 'x' << p.w; }
inline std::ostream& operator<<(std::ostream& out, const Padding& p) {
  return out << p.top << ',' << p.bottom << ',' << p.left << ',' << p.right;
}

/// Pixels that a window of `taps` taps covers when they lie `rate` apart.
ATROUS_HD constexpr std::int64_t window_extent(std::int64_t taps, std::int64_t rate) {
  return rate * (taps - 1) + 1;
}

/// Positions of a window along one axis: (in + before + after - extent) / stride + 1, rounded down; 0 if the
/// window does not fit.
ATROUS_HD constexpr std::int64_t window_positions(std::int64_t in, std::int64_t before, std::int64_t after,
                                                  std::int64_t taps, std::int64_t rate, std::int64_t stride) {
  const std::int64_t room = in + before + after - window_extent(taps, rate);
  return room < 0 ? 0 : room / stride + 1;
}

/// The taps first <= t < end.
struct TapRange {
  std::int64_t first, end;
};

/// Which taps of the window at output position `at` lie inside an image axis of `in` pixels: tap t reads
/// pixel at*stride - before + t*rate. Empty (first >= end) if all lie in the padding.
ATROUS_HD constexpr TapRange live_taps(std::int64_t at, std::int64_t in, std::int64_t before,
                                       std::int64_t taps, std::int64_t rate, std::int64_t stride) {
  const std::int64_t start = at * stride - before;
  const std::int64_t first = start < 0 ? (-start + rate - 1) / rate : 0;
  const std::int64_t inside = start < in ? (in - 1 - start) / rate + 1 : 0;
  return {first, inside < taps ? inside : taps};
}

/// The output position whose tap t reads pixel `at`: the inverse of at = o*stride - before + t*rate. -1 if
/// there is none among 0..out-1.
ATROUS_HD constexpr std::int64_t reader_of(std::int64_t at, std::int64_t tap, std::int64_t out,
                                           std::int64_t before, std::int64_t rate, std::int64_t stride) {
  const std::int64_t v = at + before - tap * rate;
  return v >= 0 && v % stride == 0 && v / stride < out ? v / stride : -1;
}

/// The symmetric padding r(k-1)/2 that keeps the size at stride 1 for odd windows.
constexpr Padding same_padding(PerAxis taps, PerAxis rate) {
  const std::int64_t v = rate.h * (taps.h - 1) / 2, h = rate.w * (taps.w - 1) / 2;
  return {v, v, h, h};
}

/// How a layer finds the zeros around its input.
enum class PaddingRule {
  symmetric,  ///< rate * (taps - 1) / 2 on every side, whatever the size: corners stay on corners
  same        ///< TensorFlow's SAME, below: for an even side and stride 2 the grid lies a pixel further on
};

/// TensorFlow's SAME along one axis: the output has in / stride positions, rounded up; of an odd number of
/// zeros the larger half lies behind. Returns the zeros before and behind.
constexpr std::pair<std::int64_t, std::int64_t> tensorflow_same(std::int64_t in, std::int64_t taps,
                                                                std::int64_t rate, std::int64_t stride) {
  const std::int64_t out = (in + stride - 1) / stride;
  const std::int64_t wanted = (out - 1) * stride + window_extent(taps, rate) - in;
  const std::int64_t total = wanted > 0 ? wanted : 0;
  return {total / 2, total - total / 2};
}

/// The padding of a rule for an image of in_h x in_w pixels.
constexpr Padding padding_of(PaddingRule rule, std::int64_t in_h, std::int64_t in_w, PerAxis taps,
                             PerAxis rate, PerAxis stride) {
  if (rule == PaddingRule::symmetric) return same_padding(taps, rate);
  const auto v = tensorflow_same(in_h, taps.h, rate.h, stride.h);
  const auto h = tensorflow_same(in_w, taps.w, rate.w, stride.w);
  return {v.first, v.second, h.first, h.second};
}

}  // namespace atrous
