#pragma once

#include "atrous/kernels/resize/resize_simd.h"
#include "atrous/kernels/simd_math.h"

// For files named in atrous_simd_sources() alone: outputs of a row that lies by classes.

namespace atrous::kernels::simd::ATROUS_ISA {

/// A vector of outputs, those of columns p .. p + kLanes - 1, whose arrays hold whole vectors. Upwards they
/// read no more neighbours than a vector holds: one load of a class and two permutations, for the left and
/// the right pixels.
class ColumnSampler {
 public:
  ATROUS_INLINE ColumnSampler(const ResizeColumns& columns, long p)
      : base_(columns.low[p]),
        left_(load(columns.low + p) - std::int32_t(base_)),
        right_(load(columns.high + p) - std::int32_t(base_)),
        weight_(load(columns.weight + p)) {
    const long last = columns.count - p < kLanes ? columns.count - 1 : p + kLanes - 1;
    near_ = columns.high[last] - base_ < kLanes;
  }
  /// Of one class: a row of inputs, readable for a vector behind the last.
  ATROUS_INLINE Vec operator()(const float* row) const {
    const float* from = row + base_;
    Vec left, right;
    if (near_) {
      const Vec window = load(from);
      left = __builtin_shuffle(window, left_);
      right = __builtin_shuffle(window, right_);
    } else {
      left = gather(from, left_);
      right = gather(from, right_);
    }
    const Vec between = left + weight_ * (right - left);
    return weight_ == Vec{} ? left : between;
  }

 private:
  // Out of line: the compiler would take every lane's number out of its vector before it is known whether any
  // is needed.
  static __attribute__((noinline, cold)) Vec gather(const float* from, IntVec index) {
    Vec v;
    for (long j = 0; j < kLanes; ++j) v[j] = from[index[j]];
    return v;
  }

  long base_;
  IntVec left_, right_;
  Vec weight_;
  bool near_;
};

}  // namespace atrous::kernels::simd::ATROUS_ISA
