#include <algorithm>
#include <cmath>

#include "atrous/kernels/batch_norm/batch_norm_passes.h"
#include "atrous/kernels/reduce/channel_strips.h"

namespace atrous::kernels {

// Two numbers for each chunk and channel, and two for each channel.
std::int64_t batch_norm_sums_size(const BatchNormDims& dims, Device device) {
  const std::int64_t chunks =
      device.is_cpu() ? cpu::batch_norm_chunks(dims) : strip_count(dims.pixels, dims.channels);
  return 2 * (chunks + 1) * dims.channels;
}

namespace cpu {

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
  const std::int64_t chunk = batch_norm_chunk(channels), chunks = batch_norm_chunks(dims);
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
  const bool past_cache = leaves_cache(dims, y);
  for_each_chunk(dims, true, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    chunk_normalise(x.data() + first * channels, count, channels, k, k + channels, k + 2 * channels,
                    y.data() + first * channels, past_cache);
  });
}
ATROUS_INSTANTIATE(batch_norm_forward);

template <class T>
void batch_norm_running_statistics(Stream, Span<const Accumulator<T>> running_mean,
                                   Span<const Accumulator<T>> running_var, Span<double> mean,
                                   Span<double> var) {
  for_each(mean.size(), BatchNormRunningStatistics<Accumulator<T>>{running_mean, running_var, mean, var});
}
ATROUS_INSTANTIATE(batch_norm_running_statistics);

template <class T>
void batch_norm_backward_training(Stream, const BatchNormDims& dims, Span<const T> x, Span<const T> dy,
                                  Span<const double> mean, Span<const double> var, double epsilon,
                                  Span<const T> gamma, Span<double> sums, Span<Accumulator<T>> coefficients,
                                  Span<T> dx, Span<T> dgamma, Span<T> dbeta) {
  gradient_sums(dims, true, x, mean, var, epsilon, gamma, sums, coefficients, dgamma, dbeta,
                [&](std::int64_t first, std::int64_t) { return dy.data() + first * dims.channels; });
  if (!dx.empty()) input_gradient<T>(dims, x, dy, coefficients, dx);
}
ATROUS_INSTANTIATE(batch_norm_backward_training);

template <class T>
void batch_norm_backward_frozen(Stream, const BatchNormDims& dims, Span<const T> x, Span<const T> dy,
                                Span<const double> mean, Span<const double> var, double epsilon,
                                Span<const T> gamma, Span<double> sums, Span<Accumulator<T>> coefficients,
                                Span<T> dx, Span<T> dgamma, Span<T> dbeta) {
  if (!dgamma.empty())
    gradient_sums(dims, false, x, mean, var, epsilon, gamma, sums, coefficients, dgamma, dbeta,
                  [&](std::int64_t first, std::int64_t) { return dy.data() + first * dims.channels; });
  if (!dx.empty()) scaled_gradient(dims, mean, var, epsilon, gamma, dy, coefficients, dx);
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
