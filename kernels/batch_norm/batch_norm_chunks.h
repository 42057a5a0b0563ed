#pragma once

#include <cstdint>

#include "atrous/core/dtype.h"

// What is done to one chunk of pixels, plainly: for double and bf16, and to compare the vector code with. All
// arrays over channels have `channels` elements.

namespace atrous::kernels::cpu {

/// mean[c] and squares[c]: the chunk's mean, and the sum of squared deviations about it. The deviations are
/// taken about a first mean of limited precision, and what is left of their own mean corrects both.
template <class T>
void chunk_statistics(const T* x, std::int64_t pixels, std::int64_t channels, double* mean, double* squares) {
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = 0, rest = 0, square = 0;
    for (std::int64_t p = 0; p < pixels; ++p) sum += double(Accumulator<T>(x[p * channels + c]));
    const double first = sum / double(pixels);
    for (std::int64_t p = 0; p < pixels; ++p) {
      const double d = double(Accumulator<T>(x[p * channels + c])) - first;
      rest += d;
      square += d * d;
    }
    mean[c] = first + rest / double(pixels);
    squares[c] = square - rest * rest / double(pixels);
  }
}

/// y = (x - center) scale + shift.
template <class T>
void chunk_normalise(const T* x, std::int64_t pixels, std::int64_t channels, const Accumulator<T>* center,
                     const Accumulator<T>* scale, const Accumulator<T>* shift, T* y, bool /*past_cache*/) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, y += channels)
    for (std::int64_t c = 0; c < channels; ++c)
      y[c] = T((Accumulator<T>(x[c]) - center[c]) * scale[c] + shift[c]);
}

/// sum_dy[c] = sum of dy, sum_dyx[c] = sum of dy (x - center).
template <class T>
void chunk_gradient_sums(const T* x, const T* dy, std::int64_t pixels, std::int64_t channels,
                         const Accumulator<T>* center, double* sum_dy, double* sum_dyx) {
  using A = Accumulator<T>;
  for (std::int64_t c = 0; c < channels; ++c) sum_dy[c] = sum_dyx[c] = 0;
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, dy += channels)
    for (std::int64_t c = 0; c < channels; ++c) {
      sum_dy[c] += double(A(dy[c]));
      sum_dyx[c] += double(A(dy[c])) * double(A(x[c]) - center[c]);
    }
}

/// dx = a dy + b (x - center) + constant.
template <class T>
void chunk_input_gradient(const T* x, const T* dy, std::int64_t pixels, std::int64_t channels,
                          const Accumulator<T>* center, const Accumulator<T>* a, const Accumulator<T>* b,
                          const Accumulator<T>* constant, T* dx, bool /*past_cache*/) {
  using A = Accumulator<T>;
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, dy += channels, dx += channels)
    for (std::int64_t c = 0; c < channels; ++c)
      dx[c] = T(a[c] * A(dy[c]) + (b[c] * (A(x[c]) - center[c]) + constant[c]));
}

/// dx = a dy.
template <class T>
void chunk_scale(const T* dy, std::int64_t pixels, std::int64_t channels, const Accumulator<T>* a, T* dx) {
  for (std::int64_t p = 0; p < pixels; ++p, dy += channels, dx += channels)
    for (std::int64_t c = 0; c < channels; ++c) dx[c] = T(a[c] * Accumulator<T>(dy[c]));
}

}  // namespace atrous::kernels::cpu
