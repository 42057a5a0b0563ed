#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/dtype.h"
#include "atrous/core/span.h"

// The arithmetic of one pixel of each kernel of softmax.h and cross_entropy.h.

namespace atrous::kernels {

template <class T>
ATROUS_HD Accumulator<T> largest_of(const T* x, std::int64_t classes) {
  using A = Accumulator<T>;
  A largest = A(x[0]);
  for (std::int64_t c = 1; c < classes; ++c) largest = A(x[c]) > largest ? A(x[c]) : largest;
  return largest;
}

/// The sum of exp(x[c] - largest).
template <class T>
ATROUS_HD Accumulator<T> sum_of_exp(const T* x, std::int64_t classes, Accumulator<T> largest) {
  using A = Accumulator<T>;
  A sum = A(0);
  for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(A(x[c]) - largest);
  return sum;
}

template <class T>
struct SoftmaxForward {
  using A = Accumulator<T>;
  std::int64_t classes;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t p) const {
    const T* from = x.data() + p * classes;
    T* to = y.data() + p * classes;
    const A largest = largest_of(from, classes), sum = sum_of_exp(from, classes, largest);
    for (std::int64_t c = 0; c < classes; ++c) to[c] = T(std::exp(A(from[c]) - largest) / sum);
  }
};

template <class T>
struct SoftmaxBackward {
  using A = Accumulator<T>;
  std::int64_t classes;
  Span<const T> y, dy;
  Span<T> dx;
  ATROUS_HD void operator()(std::int64_t p) const {
    const std::int64_t at = p * classes;
    A dot = A(0);
    for (std::int64_t c = 0; c < classes; ++c) dot += A(y[at + c]) * A(dy[at + c]);
    for (std::int64_t c = 0; c < classes; ++c) dx[at + c] = T(A(y[at + c]) * (A(dy[at + c]) - dot));
  }
};

template <class T>
struct LogSoftmaxForward {
  using A = Accumulator<T>;
  std::int64_t classes;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t p) const {
    const T* from = x.data() + p * classes;
    T* to = y.data() + p * classes;
    const A largest = largest_of(from, classes), log_sum = std::log(sum_of_exp(from, classes, largest));
    for (std::int64_t c = 0; c < classes; ++c) to[c] = T((A(from[c]) - largest) - log_sum);
  }
};

template <class T>
struct LogSoftmaxBackward {
  using A = Accumulator<T>;
  std::int64_t classes;
  Span<const T> y, dy;
  Span<T> dx;
  ATROUS_HD void operator()(std::int64_t p) const {
    const std::int64_t at = p * classes;
    A sum = A(0);
    for (std::int64_t c = 0; c < classes; ++c) sum += A(dy[at + c]);
    for (std::int64_t c = 0; c < classes; ++c) dx[at + c] = T(A(dy[at + c]) - std::exp(A(y[at + c])) * sum);
  }
};

/// The first of the greatest.
template <class T>
ATROUS_HD std::int64_t argmax_of(const T* x, std::int64_t classes) {
  std::int64_t arg = 0;
  for (std::int64_t c = 1; c < classes; ++c) arg = Accumulator<T>(x[c]) > Accumulator<T>(x[arg]) ? c : arg;
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
ATROUS_HD Accumulator<T> cross_entropy_of(const T* x, std::int64_t classes, std::int32_t target) {
  using A = Accumulator<T>;
  const A largest = largest_of(x, classes);
  return std::log(sum_of_exp(x, classes, largest)) + (largest - A(x[target]));
}

/// The gradient of one pixel.
template <class T>
ATROUS_HD void cross_entropy_gradient(const T* x, std::int64_t classes, std::int32_t target,
                                      Accumulator<T> scale, T* dx) {
  using A = Accumulator<T>;
  if (scale == A(0)) {
    for (std::int64_t c = 0; c < classes; ++c) dx[c] = T(0);
    return;
  }
  const A largest = largest_of(x, classes), factor = scale / sum_of_exp(x, classes, largest);
  for (std::int64_t c = 0; c < classes; ++c) {
    const A share = std::exp(A(x[c]) - largest) * factor;
    dx[c] = T(c == target ? share - scale : share);
  }
}

}  // namespace atrous::kernels
