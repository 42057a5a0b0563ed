#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/host_device.h"
#include "atrous/core/span.h"

// The arithmetic of one pixel of each kernel of softmax.h and cross_entropy.h.

namespace atrous::kernels {

template <class T>
ATROUS_HD T largest_of(const T* x, std::int64_t classes) {
  T largest = x[0];
  for (std::int64_t c = 1; c < classes; ++c) largest = x[c] > largest ? x[c] : largest;
  return largest;
}

/// The sum of exp(x[c] - largest).
template <class T>
ATROUS_HD T sum_of_exp(const T* x, std::int64_t classes, T largest) {
  T sum = T(0);
  for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - largest);
  return sum;
}

template <class T>
struct SoftmaxForward {
  std::int64_t classes;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t p) const {
    const T* from = x.data() + p * classes;
    T* to = y.data() + p * classes;
    const T largest = largest_of(from, classes), sum = sum_of_exp(from, classes, largest);
    for (std::int64_t c = 0; c < classes; ++c) to[c] = std::exp(from[c] - largest) / sum;
  }
};

template <class T>
struct SoftmaxBackward {
  std::int64_t classes;
  Span<const T> y, dy;
  Span<T> dx;
  ATROUS_HD void operator()(std::int64_t p) const {
    const std::int64_t at = p * classes;
    T dot = T(0);
    for (std::int64_t c = 0; c < classes; ++c) dot += y[at + c] * dy[at + c];
    for (std::int64_t c = 0; c < classes; ++c) dx[at + c] = y[at + c] * (dy[at + c] - dot);
  }
};

template <class T>
struct LogSoftmaxForward {
  std::int64_t classes;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t p) const {
    const T* from = x.data() + p * classes;
    T* to = y.data() + p * classes;
    const T largest = largest_of(from, classes), log_sum = std::log(sum_of_exp(from, classes, largest));
    for (std::int64_t c = 0; c < classes; ++c) to[c] = (from[c] - largest) - log_sum;
  }
};

template <class T>
struct LogSoftmaxBackward {
  std::int64_t classes;
  Span<const T> y, dy;
  Span<T> dx;
  ATROUS_HD void operator()(std::int64_t p) const {
    const std::int64_t at = p * classes;
    T sum = T(0);
    for (std::int64_t c = 0; c < classes; ++c) sum += dy[at + c];
    for (std::int64_t c = 0; c < classes; ++c) dx[at + c] = dy[at + c] - std::exp(y[at + c]) * sum;
  }
};

/// The first of the greatest.
template <class T>
ATROUS_HD std::int64_t argmax_of(const T* x, std::int64_t classes) {
  std::int64_t arg = 0;
  for (std::int64_t c = 1; c < classes; ++c) arg = x[c] > x[arg] ? c : arg;
  return arg;
}

template <class T, class Label>
struct ArgmaxChannels {
  std::int64_t classes;
  Span<const T> x;
  Span<Label> labels;
  ATROUS_HD void operator()(std::int64_t p) const {
    labels[p] = Label(argmax_of(x.data() + p * classes, classes));
  }
};

/// The loss of one pixel. An infinite or NaN logit gives NaN.
template <class T>
ATROUS_HD T cross_entropy_of(const T* x, std::int64_t classes, std::int32_t target) {
  const T largest = largest_of(x, classes);
  return std::log(sum_of_exp(x, classes, largest)) + (largest - x[target]);
}

/// The gradient of one pixel.
template <class T>
ATROUS_HD void cross_entropy_gradient(const T* x, std::int64_t classes, std::int32_t target, T scale, T* dx) {
  if (scale == T(0)) {
    for (std::int64_t c = 0; c < classes; ++c) dx[c] = T(0);
    return;
  }
  const T largest = largest_of(x, classes), factor = scale / sum_of_exp(x, classes, largest);
  for (std::int64_t c = 0; c < classes; ++c) dx[c] = std::exp(x[c] - largest) * factor;
  dx[target] -= scale;
}

}  // namespace atrous::kernels
