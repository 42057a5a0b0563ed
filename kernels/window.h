#pragma once

#include <cstdint>
#include <ostream>

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

/// The symmetric padding r(k-1)/2 that keeps the size at stride 1 for odd windows.
constexpr Padding same_padding(PerAxis taps, PerAxis rate) {
  const std::int64_t v = rate.h * (taps.h - 1) / 2, h = rate.w * (taps.w - 1) / 2;
  return {v, v, h, h};
}

}  // namespace atrous
