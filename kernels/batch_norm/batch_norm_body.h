#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/host_device.h"
#include "atrous/core/span.h"

// The arithmetic of one channel or one element of each kernel of batch_norm.h.

namespace atrous::kernels {

/// Pixels of a chunk: about 128 kB of floats, so that a chunk is still in the L2 cache when it is read a
/// second time. By the number of channels alone.
ATROUS_HD inline std::int64_t batch_norm_chunk(std::int64_t channels) {
  const std::int64_t pixels = (std::int64_t(1) << 15) / (channels > 0 ? channels : 1);
  return pixels < 8 ? 8 : pixels;
}

/// x - mean is computed as (x - center) - rest with center = T(mean): the difference of two near numbers is
/// exact, and what rounding the mean to T lost is put into the constant.
template <class T>
ATROUS_HD double mean_rest(double mean) {
  return mean - double(T(mean));
}

/// The coefficients of y = (x - center) scale + shift for channel c: three arrays of `channels` in a row.
template <class T>
struct BatchNormCoefficients {
  std::int64_t channels;
  Span<const double> mean, var;
  double epsilon;
  Span<const T> gamma, beta;
  Span<T> coefficients;
  ATROUS_HD void operator()(std::int64_t c) const {
    const double scale = double(gamma[c]) / std::sqrt(var[c] + epsilon);
    coefficients[c] = T(mean[c]);
    coefficients[channels + c] = T(scale);
    coefficients[2 * channels + c] = T(double(beta[c]) - mean_rest<T>(mean[c]) * scale);
  }
};

/// dgamma, dbeta and the coefficients of dx = center: a dy + b (x - center) + c, from the two sums over
/// pixels sum_dy and sum_dyx = sum dy (x - center).
template <class T>
struct BatchNormGradientCoefficients {
  std::int64_t pixels, channels;
  bool training;
  Span<const double> mean, var, sum_dy, sum_dyx;
  double epsilon;
  Span<const T> gamma;
  Span<T> coefficients, dgamma, dbeta;
  ATROUS_HD void operator()(std::int64_t c) const {
    const double r = 1 / std::sqrt(var[c] + epsilon), a = double(gamma[c]) * r;
    const double centred = sum_dyx[c] - mean_rest<T>(mean[c]) * sum_dy[c];
    dbeta[c] = T(sum_dy[c]);
    dgamma[c] = T(centred * r);
    const double b = training ? -a * r * r * centred / double(pixels) : 0;
    const double constant = training ? -a * sum_dy[c] / double(pixels) - b * mean_rest<T>(mean[c]) : 0;
    coefficients[c] = T(mean[c]);
    coefficients[channels + c] = T(a);
    coefficients[2 * channels + c] = T(b);
    coefficients[3 * channels + c] = T(constant);
  }
};

/// Element i of the folded weight.
template <class T>
struct BatchNormFold {
  std::int64_t channels;
  Span<const T> gamma, var;
  double epsilon;
  Span<const T> weight;
  Span<T> folded_weight;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t k = i % channels;
    folded_weight[i] = T(double(weight[i]) * double(gamma[k]) / std::sqrt(double(var[k]) + epsilon));
  }
};

}  // namespace atrous::kernels
