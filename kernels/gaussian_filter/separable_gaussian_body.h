#pragma once

#include <cmath>

#include "atrous/kernels/gaussian_filter/separable_gaussian.h"

namespace atrous::kernels {

/// One element of a sum along an axis of `size` elements that lie `step` pixels apart.
template <class T>
struct GaussianAlongAxis {
  std::int64_t size, step, classes, radius;
  double sigma;
  Span<const T> before, after, from;  // scales of what is read and of the result
  Span<T> to;

  /// Of taps k and -k.
  ATROUS_HD T weight(std::int64_t k) const { return T(std::exp(-0.5 * double(k * k) / (sigma * sigma))); }

  /// weight_of(k) is weight(k).
  template <class Weight>
  ATROUS_HD void element(std::int64_t i, const Weight& weight_of) const {
    const std::int64_t pixel = i / classes, at = pixel / step % size;
    const std::int64_t first = at < radius ? -at : -radius,
                       last = size - 1 - at < radius ? size - 1 - at : radius;
    T sum = 0;
    for (std::int64_t k = first; k <= last; ++k) {
      const T v = from[i + k * step * classes];
      sum += weight_of(k < 0 ? -k : k) * (before.empty() ? v : before[pixel + k * step] * v);
    }
    to[i] = after.empty() ? sum : after[pixel] * sum;
  }
  ATROUS_HD void operator()(std::int64_t i) const {
    element(i, [this](std::int64_t k) { return weight(k); });
  }
};

template <class T>
GaussianAlongAxis<T> gaussian_along_x(const SeparableGaussianDims& d, Span<const T> pre, Span<const T> values,
                                      Span<T> rows) {
  const std::int64_t radius = separable_gaussian_radius(d.sigma_x, d.width);
  return {d.width, 1, d.classes, radius, d.sigma_x, pre, {}, values, rows};
}
template <class T>
GaussianAlongAxis<T> gaussian_along_y(const SeparableGaussianDims& d, Span<const T> post, Span<const T> rows,
                                      Span<T> out) {
  const std::int64_t radius = separable_gaussian_radius(d.sigma_y, d.height);
  return {d.height, d.width, d.classes, radius, d.sigma_y, {}, post, rows, out};
}

}  // namespace atrous::kernels
