#pragma once

#include "atrous/autograd/op.h"
#include "atrous/core/error.h"
#include "atrous/core/exact.h"
#include "atrous/core/factor_rounding.h"
#include "atrous/kernels/window.h"

// How a convolution slides over its image: shared by conv2d, depthwise_conv2d and separable_conv2d.

namespace atrous {

/// Strides and rates of at least 1, padding of at least 0. `rate` is what other libraries call dilation: the
/// taps lie `rate` input pixels apart.
struct Conv2dOptions {
  PerAxis stride = 1;
  Padding padding = 0;
  PerAxis rate = 1;
  /// Lets f32 factors be rounded to TF32 (10 bits of mantissa) where a device multiplies those faster; sums
  /// stay f32. An element of a result or of a gradient then errs by at most 2^-10 of the sum of its products'
  /// absolute values, beside what f32 sums lose. Of no effect on the CPU and for other types.
  bool allow_tf32 = tf32_allowed();
  /// Plain sums alone: bits that depend neither on the size of the map nor on the place in it.
  bool exact = exact_mode();
};

/// Throws ValueError unless strides and rates lie in 1..2^31 and paddings in 0..2^31 (so that no position
/// computed from them overflows).
inline void check_sliding(Op op, const PerAxis& stride, const Padding& padding, const PerAxis& rate) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  const auto step = [](const PerAxis& p) { return p.h >= 1 && p.w >= 1 && p.h <= kMost && p.w <= kMost; };
  const auto side = [](std::int64_t p) { return p >= 0 && p <= kMost; };
  ATROUS_CHECK(ValueError, step(stride), op_name(op), "stride ", stride, " must be at least 1");
  ATROUS_CHECK(ValueError, step(rate), op_name(op), "rate ", rate, " must be at least 1");
  ATROUS_CHECK(ValueError,
               side(padding.top) && side(padding.bottom) && side(padding.left) && side(padding.right),
               op_name(op), "padding ", padding, " must not be negative");
}

}  // namespace atrous
