#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/dtype.h"
#include "atrous/core/span.h"

// The arithmetic of one channel or one element of each kernel of batch_norm.h.

namespace atrous::kernels {

/// Pixels of a chunk: about 128 kB of floats, so that a chunk is still in the L2 cache when it is read a
/// second time, and 32 at least, for its sums are two doubles a channel. By the number of channels alone.
ATROUS_HD inline std::int64_t batch_norm_chunk(std::int64_t channels) {
  const std::int64_t pixels = (std::int64_t(1) << 15) / (channels > 0 ? channels : 1);
  return pixels < 32 ? 32 : pixels;
}

/// x - mean is computed as (x - center) - rest with center = A(mean), A = Accumulator<T>: the difference of
/// two near numbers is exact, and what rounding the mean to A lost is put into the constant.
template <class A>
ATROUS_HD double mean_rest(double mean) {
  return mean - double(A(mean));
}

/// The coefficients of y = (x - center) scale + shift for channel c: three arrays of `channels` in a row.
template <class T>
struct BatchNormCoefficients {
  using A = Accumulator<T>;
  std::int64_t channels;
  Span<const double> mean, var;
  double epsilon;
  Span<const T> gamma, beta;
  Span<A> coefficients;
  ATROUS_HD void operator()(std::int64_t c) const {
    const double scale = double(A(gamma[c])) / std::sqrt(var[c] + epsilon);
    coefficients[c] = A(mean[c]);
    coefficients[channels + c] = A(scale);
    coefficients[2 * channels + c] = A(double(A(beta[c])) - mean_rest<A>(mean[c]) * scale);
  }
};

/// dgamma, dbeta and the coefficients of dx = center: a dy + b (x - center) + c, from the two sums over
/// pixels sum_dy and sum_dyx = sum dy (x - center).
template <class T>
struct BatchNormGradientCoefficients {
  using A = Accumulator<T>;
  std::int64_t pixels, channels;
  bool training;
  Span<const double> mean, var, sum_dy, sum_dyx;
  double epsilon;
  Span<const T> gamma;
  Span<A> coefficients;
  Span<T> dgamma, dbeta;
  ATROUS_HD void operator()(std::int64_t c) const {
    const double r = 1 / std::sqrt(var[c] + epsilon), a = double(A(gamma[c])) * r;
    const double centred = sum_dyx[c] - mean_rest<A>(mean[c]) * sum_dy[c];
    dbeta[c] = T(sum_dy[c]);
    dgamma[c] = T(centred * r);
    const double b = training ? -a * r * r * centred / double(pixels) : 0;
    const double constant = training ? -a * sum_dy[c] / double(pixels) - b * mean_rest<A>(mean[c]) : 0;
    coefficients[c] = A(mean[c]);
    coefficients[channels + c] = A(a);
    coefficients[2 * channels + c] = A(b);
    coefficients[3 * channels + c] = A(constant);
  }
};

/// The same coefficients, bit for bit, where mean and var are constants: no sums are needed for dx = a dy.
template <class T>
struct BatchNormFrozenCoefficients {
  using A = Accumulator<T>;
  std::int64_t channels;
  Span<const double> mean, var;
  double epsilon;
  Span<const T> gamma;
  Span<A> coefficients;
  ATROUS_HD void operator()(std::int64_t c) const {
    coefficients[c] = A(mean[c]);
    coefficients[channels + c] = A(double(A(gamma[c])) * (1 / std::sqrt(var[c] + epsilon)));
    coefficients[2 * channels + c] = coefficients[3 * channels + c] = A(0);
  }
};

/// Channel c of running averages in double.
template <class A>
struct BatchNormRunningStatistics {
  Span<const A> running_mean, running_var;
  Span<double> mean, var;
  ATROUS_HD void operator()(std::int64_t c) const {
    mean[c] = double(running_mean[c]);
    var[c] = double(running_var[c]);
  }
};

/// The running average of one channel after a batch.
template <class A>
ATROUS_HD A next_running(A running, double batch, double decay) {
  return A(decay * double(running) + (1 - decay) * batch);
}

/// Element i of the folded weight.
template <class T>
struct BatchNormFold {
  using A = Accumulator<T>;
  std::int64_t channels;
  Span<const T> gamma;
  Span<const A> var;
  double epsilon;
  Span<const T> weight;
  Span<T> folded_weight;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t k = i % channels;
    folded_weight[i] = T(double(A(weight[i])) * double(A(gamma[k])) / std::sqrt(double(var[k]) + epsilon));
  }
};

/// Channel k of the folded bias.
template <class T>
struct BatchNormFoldBias {
  using A = Accumulator<T>;
  Span<const T> gamma, beta;
  Span<const A> mean, var;
  double epsilon;
  Span<const T> bias;
  Span<T> folded_bias;
  ATROUS_HD void operator()(std::int64_t k) const {
    const double scale = double(A(gamma[k])) / std::sqrt(double(var[k]) + epsilon);
    const double before = bias.empty() ? 0.0 : double(A(bias[k]));
    folded_bias[k] = T((before - double(mean[k])) * scale + double(A(beta[k])));
  }
};

}  // namespace atrous::kernels
