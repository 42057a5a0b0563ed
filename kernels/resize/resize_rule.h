#pragma once

#include <cstdint>

#include "atrous/core/host_device.h"

// The one rule that says which two input positions an output position of a bilinearly resized axis reads, and
// with what weights. Rows and columns, forward and backward, every fused kernel and every device use it. It
// is computed in integers, so that low and the weight are exact and no rounding moves a tap.
//
//   corners aligned      s = o (in - 1) / (out - 1);  0 where out is 1        first and last pixels coincide
//   half-pixel centres   s = (o + 1/2) in / out - 1/2, at least 0             outer edges coincide
//
// The output is x[low] + weight (x[high] - x[low]) with low = floor(s), weight = s - low.
//
// CUDA kernels compute it in 32 bits with float weights (SmallResizeAxis) where the axis is small enough for
// the same taps and the same floats.

namespace atrous::kernels {

/// What an output position reads. high is low where the weight is 0, so both are always inside.
template <class Int, class Weight>
struct ResizeTapOf {
  Int low, high;
  Weight weight;  ///< of high; low has 1 - weight
};

template <class Int, class Weight>
struct ResizeAxisOf {
  Int in, out;
  bool align_corners;

  /// s as a fraction: the numerator for output o, over denominator().
  ATROUS_HD Int numerator(Int o) const {
    if (align_corners) return out > 1 ? o * (in - 1) : 0;
    const Int p = (2 * o + 1) * in - out;
    return p > 0 ? p : 0;
  }
  ATROUS_HD Int denominator() const {
    if (align_corners) return out > 1 ? out - 1 : 1;
    return 2 * out;
  }

  ATROUS_HD ResizeTapOf<Int, Weight> tap(Int o) const {
    const Int p = numerator(o), q = denominator(), low = p / q;
    const bool last = low >= in - 1;
    const Int rest = last ? 0 : p - low * q;
    return {low, rest > 0 ? low + 1 : low, Weight(rest) / Weight(q)};
  }

  /// The first output whose low is at least k (0 <= k <= in): outputs first(k) .. first(k + 1) - 1 have low
  /// == k, and input k is read by first(k - 1) .. first(k + 1) - 1 at most.
  ATROUS_HD Int first(Int k) const {
    if (k <= 0) return 0;
    if (k >= in) return out;
    // The smallest o with numerator(o) >= k * denominator(). in > 1 here; where out is 1 and corners are
    // aligned only low = 0 occurs.
    if (align_corners) return out > 1 ? (k * (out - 1) + in - 2) / (in - 1) : out;
    const Int p = (2 * k + 1) * out - in;
    return p <= 0 ? 0 : (p + 2 * in - 1) / (2 * in);
  }
};

using ResizeTap = ResizeTapOf<std::int64_t, double>;
using ResizeAxis = ResizeAxisOf<std::int64_t, double>;

using SmallResizeAxis = ResizeAxisOf<int, float>;
/// Whether nothing overflows there, and the floats are the doubles rounded (quotients of integers below 2^24
/// are).
constexpr bool is_small(const ResizeAxis& axis) {
  constexpr std::int64_t kSide = 1 << 22;
  return axis.in < kSide && axis.out < kSide && 2 * axis.in * axis.out < (std::int64_t(1) << 30);
}

}  // namespace atrous::kernels
