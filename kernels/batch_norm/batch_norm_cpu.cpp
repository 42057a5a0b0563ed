#include <algorithm>
#include <cmath>

#include "atrous/core/parallel.h"
#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/batch_norm/batch_norm_body.h"
#include "atrous/kernels/batch_norm/batch_norm_chunks.h"
#include "atrous/kernels/batch_norm/batch_norm_simd.h"
#include "atrous/kernels/for_each.h"
#include "atrous/kernels/reduce/channel_strips.h"

namespace atrous::kernels {
namespace {

std::int64_t chunks_of(const BatchNormDims& dims) {
  const std::int64_t chunk = batch_norm_chunk(dims.channels);
  return (dims.pixels + chunk - 1) / chunk;
}

// body(q, first, count) for every chunk q of pixels first .. first + count - 1. Backwards where what the pass
// before touched last is still in the cache.
template <class Body>
void for_each_chunk(const BatchNormDims& dims, bool backwards, const Body& body) {
  const std::int64_t chunk = batch_norm_chunk(dims.channels);
  parallel_for(chunks_of(dims), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t q = backwards ? begin + end - 1 - i : i;
      body(q, q * chunk, std::min(chunk, dims.pixels - q * chunk));
    }
  });
}

}  // namespace

// Two numbers for each chunk and channel, and two for each channel.
std::int64_t batch_norm_sums_size(const BatchNormDims& dims, Device device) {
  const std::int64_t chunks = device.is_cpu() ? chunks_of(dims) : strip_count(dims.pixels, dims.channels);
  return 2 * (chunks + 1) * dims.channels;
}

namespace cpu {

// Floats go through the vector code: these overloads are preferred to the plain templates.
static void chunk_statistics(const float* x, std::int64_t pixels, std::int64_t channels, double* mean,
                             double* squares) {
  simd::chunk_statistics(x, pixels, channels, mean, squares);
}
static void chunk_normalise(const float* x, std::int64_t pixels, std::int64_t channels, const float* center,
                            const float* scale, const float* shift, float* y) {
  simd::chunk_normalise(x, pixels, channels, center, scale, shift, y);
}
static void chunk_gradient_sums(const float* x, const float* dy, std::int64_t pixels, std::int64_t channels,
                                const float* center, double* sum_dy, double* sum_dyx) {
  simd::chunk_gradient_sums(x, dy, pixels, channels, center, sum_dy, sum_dyx);
}
static void chunk_input_gradient(const float* x, const float* dy, std::int64_t pixels, std::int64_t channels,
                                 const float* center, const float* a, const float* b, const float* constant,
                                 float* dx) {
  simd::chunk_input_gradient(x, dy, pixels, channels, center, a, b, constant, dx);
}
static void chunk_scale(const float* dy, std::int64_t pixels, std::int64_t channels, const float* a,
                        float* dx) {
  simd::chunk_scale(dy, pixels, channels, a, dx);
}

template <class T>
void batch_norm_statistics(Stream, const BatchNormDims& dims, Span<const T> x, Span<double> sums,
                           Span<double> mean, Span<double> var) {
  const std::int64_t channels = dims.channels;
  for_each_chunk(dims, false, [&](std::int64_t q, std::int64_t first, std::int64_t count) {
    double* of_chunk = sums.data() + 2 * q * channels;
    chunk_statistics(x.data() + first * channels, count, channels, of_chunk, of_chunk + channels);
  });
  // Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1982,
  // chunk after chunk.
  const std::int64_t chunk = batch_norm_chunk(channels), chunks = chunks_of(dims);
  parallel_for(channels, 1 + (1 << 14) / chunks, [&](std::int64_t begin, std::int64_t end) {
    std::fill(mean.data() + begin, mean.data() + end, 0.0);
    std::fill(var.data() + begin, var.data() + end, 0.0);
    for (std::int64_t q = 0; q < chunks; ++q) {
      const double before = double(q * chunk), count = double(std::min(chunk, dims.pixels - q * chunk));
      const double share = count / (before + count), weight = before * share;
      const double* of_chunk = sums.data() + 2 * q * channels;
      for (std::int64_t c = begin; c < end; ++c) {
        const double gap = of_chunk[c] - mean[c];
        mean[c] += gap * share;
        var[c] += of_chunk[channels + c] + gap * gap * weight;
      }
    }
    for (std::int64_t c = begin; c < end; ++c) var[c] /= double(dims.pixels);
  });
}
ATROUS_INSTANTIATE(batch_norm_statistics);

template <class T>
void batch_norm_update_running(Stream, const BatchNormDims& dims, Span<const double> mean,
                               Span<const double> var, double decay, Span<Accumulator<T>> running_mean,
                               Span<Accumulator<T>> running_var) {
  const double unbiased = double(dims.pixels) / double(dims.pixels - 1);
  const auto next = [&](Accumulator<T> running, double batch) { return next_running(running, batch, decay); };
  for (std::int64_t c = 0; c < dims.channels; ++c)
    if (!std::isfinite(next(running_mean[c], mean[c])) ||
        !std::isfinite(next(running_var[c], var[c] * unbiased)))
      return;
  for (std::int64_t c = 0; c < dims.channels; ++c) {
    running_mean[c] = next(running_mean[c], mean[c]);
    running_var[c] = next(running_var[c], var[c] * unbiased);
  }
}
ATROUS_INSTANTIATE(batch_norm_update_running);

template <class T>
void batch_norm_forward(Stream, const BatchNormDims& dims, Span<const T> x, Span<const double> mean,
                        Span<const double> var, double epsilon, Span<const T> gamma, Span<const T> beta,
                        Span<Accumulator<T>> coefficients, Span<T> y) {
  const std::int64_t channels = dims.channels;
  for_each(channels, BatchNormCoefficients<T>{channels, mean, var, epsilon, gamma, beta, coefficients});
  const Accumulator<T>* k = coefficients.data();
  for_each_chunk(dims, true, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    chunk_normalise(x.data() + first * channels, count, channels, k, k + channels, k + 2 * channels,
                    y.data() + first * channels);
  });
}
ATROUS_INSTANTIATE(batch_norm_forward);

namespace {

// Sums over pixels, then what follows from them for each channel: dgamma, dbeta and the coefficients of dx.
template <class T>
void backward_sums(const BatchNormDims& dims, bool training, Span<const T> x, Span<const T> dy,
                   Span<const double> mean, Span<const double> var, double epsilon, Span<const T> gamma,
                   Span<double> sums, Span<Accumulator<T>> coefficients, Span<T> dgamma, Span<T> dbeta) {
  const std::int64_t channels = dims.channels, chunks = chunks_of(dims);
  const Accumulator<T>* center = coefficients.data();
  for_each(channels, [&](std::int64_t c) { coefficients[c] = Accumulator<T>(mean[c]); });
  for_each_chunk(dims, false, [&](std::int64_t q, std::int64_t first, std::int64_t count) {
    double* of_chunk = sums.data() + 2 * q * channels;
    chunk_gradient_sums(x.data() + first * channels, dy.data() + first * channels, count, channels, center,
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

}  // namespace

template <class T>
void batch_norm_backward_training(Stream, const BatchNormDims& dims, Span<const T> x, Span<const T> dy,
                                  Span<const double> mean, Span<const double> var, double epsilon,
                                  Span<const T> gamma, Span<double> sums, Span<Accumulator<T>> coefficients,
                                  Span<T> dx, Span<T> dgamma, Span<T> dbeta) {
  backward_sums(dims, true, x, dy, mean, var, epsilon, gamma, sums, coefficients, dgamma, dbeta);
  if (dx.empty()) return;
  const std::int64_t channels = dims.channels;
  const Accumulator<T>* k = coefficients.data();
  for_each_chunk(dims, true, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    const std::int64_t at = first * channels;
    chunk_input_gradient(x.data() + at, dy.data() + at, count, channels, k, k + channels, k + 2 * channels,
                         k + 3 * channels, dx.data() + at);
  });
}
ATROUS_INSTANTIATE(batch_norm_backward_training);

template <class T>
void batch_norm_backward_frozen(Stream, const BatchNormDims& dims, Span<const T> x, Span<const T> dy,
                                Span<const double> mean, Span<const double> var, double epsilon,
                                Span<const T> gamma, Span<double> sums, Span<Accumulator<T>> coefficients,
                                Span<T> dx, Span<T> dgamma, Span<T> dbeta) {
  const std::int64_t channels = dims.channels;
  if (!dgamma.empty())
    backward_sums(dims, false, x, dy, mean, var, epsilon, gamma, sums, coefficients, dgamma, dbeta);
  if (dx.empty()) return;
  using A = Accumulator<T>;
  const Span<A> a = coefficients.part(channels, channels);
  for_each(channels, [&](std::int64_t c) { a[c] = A(double(A(gamma[c])) / std::sqrt(var[c] + epsilon)); });
  for_each_chunk(dims, true, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    chunk_scale(dy.data() + first * channels, count, channels, a.data(), dx.data() + first * channels);
  });
}
ATROUS_INSTANTIATE(batch_norm_backward_frozen);

template <class T>
void batch_norm_fold(Stream, std::int64_t channels, Span<const T> gamma, Span<const T> beta,
                     Span<const Accumulator<T>> mean, Span<const Accumulator<T>> var, double epsilon,
                     Span<const T> weight, Span<const T> bias, Span<T> folded_weight, Span<T> folded_bias) {
  for_each(weight.size(), BatchNormFold<T>{channels, gamma, var, epsilon, weight, folded_weight});
  for_each(channels, BatchNormFoldBias<T>{gamma, beta, mean, var, epsilon, bias, folded_bias});
}
ATROUS_INSTANTIATE(batch_norm_fold);

}  // namespace cpu
}  // namespace atrous::kernels
