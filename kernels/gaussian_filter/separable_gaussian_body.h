#pragma once

#include <cmath>

#include "atrous/kernels/gaussian_filter/separable_gaussian.h"

namespace atrous::kernels {

/// One element of a sum along an axis of `size` elements that lie `step` apart.
template <class T>
struct GaussianAlongAxis {
  std::int64_t size, step, classes, radius;
  double sigma;
  Span<const T> before, after, from;  // scales of what is read and of the result
  Span<T> to;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t at = i / step % size;
    T sum = 0;
    for (std::int64_t k = -radius; k <= radius; ++k) {
      if (at + k < 0 || at + k >= size) continue;
      const std::int64_t j = i + k * step;
      const T value = before.empty() ? from[j] : before[j / classes] * from[j];
      sum += T(std::exp(-0.5 * double(k * k) / (sigma * sigma))) * value;
    }
    to[i] = after.empty() ? sum : after[i / classes] * sum;
  }
};

}  // namespace atrous::kernels
