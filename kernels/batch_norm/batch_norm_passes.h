#pragma once

#include <algorithm>

#include "atrous/core/parallel.h"
#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/batch_norm/batch_norm_body.h"
#include "atrous/kernels/batch_norm/batch_norm_chunks.h"
#include "atrous/kernels/batch_norm/batch_norm_simd.h"
#include "atrous/kernels/for_each.h"
#include "atrous/kernels/streaming_fence.h"

// How the CPU's kernels walk the pixels: chunk after chunk, one thread a chunk, floats through the vector
// code.

namespace atrous::kernels::cpu {

inline std::int64_t batch_norm_chunks(const BatchNormDims& dims) {
  const std::int64_t chunk = batch_norm_chunk(dims.channels);
  return (dims.pixels + chunk - 1) / chunk;
}

/// body(q, first, count) for every chunk q of pixels first .. first + count - 1. Backwards where what the
/// pass before touched last is still in the cache.
template <class Body>
void for_each_chunk(const BatchNormDims& dims, bool backwards, const Body& body) {
  const std::int64_t chunk = batch_norm_chunk(dims.channels);
  const std::int64_t grain = grain_of(chunk * dims.channels);
  parallel_for(batch_norm_chunks(dims), grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t q = backwards ? begin + end - 1 - i : i;
      body(q, q * chunk, std::min(chunk, dims.pixels - q * chunk));
    }
  });
}

/// Whether a result is written past the cache: in whole lines.
template <class T>
bool leaves_cache(const BatchNormDims& dims, Span<T> result) {
  return dims.channels % 16 == 0 && kernels::leaves_cache(result);
}

// These overloads are preferred to the plain templates.
inline void chunk_statistics(const float* x, std::int64_t pixels, std::int64_t channels, double* mean,
                             double* squares) {
  simd::chunk_statistics(x, pixels, channels, mean, squares);
}
inline void chunk_normalise(const float* x, std::int64_t pixels, std::int64_t channels, const float* center,
                            const float* scale, const float* shift, float* y, bool past_cache) {
  simd::chunk_normalise(x, pixels, channels, center, scale, shift, nullptr, 0, y, past_cache);
  if (past_cache) streaming_fence();
}
inline void chunk_gradient_sums(const float* x, const float* dy, std::int64_t pixels, std::int64_t channels,
                                const float* center, double* sum_dy, double* sum_dyx) {
  simd::chunk_gradient_sums(x, dy, pixels, channels, center, sum_dy, sum_dyx);
}
inline void chunk_input_gradient(const float* x, const float* dy, std::int64_t pixels, std::int64_t channels,
                                 const float* center, const float* a, const float* b, const float* constant,
                                 float* dx, bool past_cache) {
  simd::chunk_input_gradient(x, dy, pixels, channels, center, a, b, constant, dx, past_cache);
  if (past_cache) streaming_fence();
}
inline void chunk_scale(const float* dy, std::int64_t pixels, std::int64_t channels, const float* a,
                        float* dx) {
  simd::chunk_scale(dy, pixels, channels, a, dx);
}

/// Sums over pixels, then what follows from them for each channel: dgamma, dbeta and the coefficients of dx.
/// arriving(first, count) gives the gradient that arrives at pixels first .. first + count - 1.
template <class T, class Arriving>
void gradient_sums(const BatchNormDims& dims, bool training, Span<const T> x, Span<const double> mean,
                   Span<const double> var, double epsilon, Span<const T> gamma, Span<double> sums,
                   Span<Accumulator<T>> coefficients, Span<T> dgamma, Span<T> dbeta,
                   const Arriving& arriving) {
  const std::int64_t channels = dims.channels, chunks = batch_norm_chunks(dims);
  const Accumulator<T>* center = coefficients.data();
  for_each(channels, [&](std::int64_t c) { coefficients[c] = Accumulator<T>(mean[c]); });
  for_each_chunk(dims, false, [&](std::int64_t q, std::int64_t first, std::int64_t count) {
    double* of_chunk = sums.data() + 2 * q * channels;
    chunk_gradient_sums(x.data() + first * channels, arriving(first, count), count, channels, center,
                        of_chunk, of_chunk + channels);
  });
  const Span<double> total = sums.part(2 * chunks * channels, 2 * channels);
  parallel_for(2 * channels, 1 + (1 << 14) / (chunks + 1), [&](std::int64_t begin, std::int64_t end) {
    std::fill(total.data() + begin, total.data() + end, 0.0);
    for (std::int64_t q = 0; q < chunks; ++q)
      for (std::int64_t c = begin; c < end; ++c) total[c] += sums[2 * q * channels + c];
  });
  for_each(channels, BatchNormGradientCoefficients<T>{dims.pixels, channels, training, mean, var,
                                                      total.part(0, channels), total.part(channels, channels),
                                                      epsilon, gamma, coefficients, dgamma, dbeta});
}

/// dx = a dy + b (x - center) + constant by the coefficients of gradient_sums().
template <class T>
void input_gradient(const BatchNormDims& dims, Span<const T> x, Span<const T> dy,
                    Span<const Accumulator<T>> coefficients, Span<T> dx) {
  const std::int64_t channels = dims.channels;
  const Accumulator<T>* k = coefficients.data();
  const bool past_cache = leaves_cache(dims, dx);
  for_each_chunk(dims, true, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    const std::int64_t at = first * channels;
    chunk_input_gradient(x.data() + at, dy.data() + at, count, channels, k, k + channels, k + 2 * channels,
                         k + 3 * channels, dx.data() + at, past_cache);
  });
}

/// dx = a dy; dx may be dy.
template <class T>
void scaled_gradient(const BatchNormDims& dims, Span<const double> mean, Span<const double> var,
                     double epsilon, Span<const T> gamma, Span<const T> dy, Span<Accumulator<T>> coefficients,
                     Span<T> dx) {
  const std::int64_t channels = dims.channels;
  for_each(channels, BatchNormFrozenCoefficients<T>{channels, mean, var, epsilon, gamma, coefficients});
  const Accumulator<T>* a = coefficients.data() + channels;
  for_each_chunk(dims, true, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    chunk_scale(dy.data() + first * channels, count, channels, a, dx.data() + first * channels);
  });
}

}  // namespace atrous::kernels::cpu
