#pragma once

#include <cstdint>

#include "atrous/core/host_device.h"
#include "atrous/core/span.h"

// The arithmetic of one element of each kernel of elementwise.h.

namespace atrous::kernels {

template <class T>
struct ReluForward {
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t i) const { y[i] = x[i] <= T(0) ? T(0) : x[i]; }
};

template <class T>
struct ReluBackward {
  Span<const T> y, dy;
  Span<T> dx;
  ATROUS_HD void operator()(std::int64_t i) const { dx[i] = y[i] <= T(0) ? T(0) : dy[i]; }
};

template <class T>
struct Relu6Forward {
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t i) const {
    const T positive = x[i] <= T(0) ? T(0) : x[i];
    y[i] = positive >= T(6) ? T(6) : positive;
  }
};

template <class T>
struct Relu6Backward {
  Span<const T> y, dy;
  Span<T> dx;
  // Both comparisons are always made, so that the loop has no branch. A NaN passes dy on, as in relu.
  ATROUS_HD void operator()(std::int64_t i) const { dx[i] = (y[i] <= T(0)) | (y[i] >= T(6)) ? T(0) : dy[i]; }
};

template <class T>
struct AddForward {
  Span<const T> a, b;
  Span<T> sum;
  ATROUS_HD void operator()(std::int64_t i) const { sum[i] = a[i] + b[i]; }
};

template <class T>
struct MulForward {
  Span<const T> a, b;
  Span<T> product;
  ATROUS_HD void operator()(std::int64_t i) const { product[i] = a[i] * b[i]; }
};

template <class T>
struct ScaleForward {
  T factor;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t i) const { y[i] = factor * x[i]; }
};

}  // namespace atrous::kernels
