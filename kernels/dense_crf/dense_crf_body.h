#pragma once

#include <cmath>

#include "atrous/core/dtype.h"
#include "atrous/kernels/dense_crf/dense_crf.h"

namespace atrous::kernels {

template <class T>
struct CrfAddMessage {
  CrfDims d;
  CrfCompatibility kind;
  Span<const T> mu, message;
  Span<T> z;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t c = i % d.classes;
    if (kind == CrfCompatibility::matrix) {
      T sum = 0;
      for (std::int64_t b = 0; b < d.classes; ++b) sum += mu[c * d.classes + b] * message[i - c + b];
      z[i] -= sum;
    } else {
      z[i] += mu[kind == CrfCompatibility::potts ? 0 : c] * message[i];
    }
  }
};

template <class T>
struct CrfRelax {
  T relax;
  Span<const T> old;
  Span<T> q;
  ATROUS_HD void operator()(std::int64_t i) const { q[i] = old[i] + relax * (q[i] - old[i]); }
};

template <class T>
struct PixelFeatures {
  PixelFeatureDims d;
  Span<const T> image, sigma;
  Span<T> features;
  ATROUS_HD void operator()(std::int64_t p) const {
    const std::int64_t count = 2 + d.channels;
    features[p * count] = T(p % d.width) / sigma[0];
    features[p * count + 1] = T(p / d.width % d.height) / sigma[1];
    for (std::int64_t c = 0; c < d.channels; ++c)
      features[p * count + 2 + c] = image[p * d.channels + c] / sigma[2 + c];
  }
};

/// Feature k of image row r: the gradient by the image, and the row's part of that by sigma.
template <class T>
struct PixelFeaturesBackward {
  PixelFeatureDims d;
  Span<const T> features, sigma, dfeatures;
  Span<double> sums;
  Span<T> dimage;
  /// Writes the gradient by pixel p and returns its part of that by sigma[k], times sigma[k].
  ATROUS_HD double pixel(std::int64_t p, std::int64_t k) const {
    const std::int64_t at = p * (2 + d.channels) + k;
    if (k >= 2 && !dimage.empty()) dimage[p * d.channels + k - 2] = dfeatures[at] / sigma[k];
    return -double(features[at]) * double(dfeatures[at]);
  }
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t count = 2 + d.channels, k = i % count, r = i / count;
    double sum = 0;
    for (std::int64_t p = r * d.width; p < (r + 1) * d.width; ++p) sum += pixel(p, k);
    sums[i] = sum;
  }
};
template <class T>
struct PixelSigmaSum {
  std::int64_t rows, count;
  Span<const double> sums;
  Span<const T> sigma;
  Span<T> dsigma;
  ATROUS_HD void finish(std::int64_t k, double sum) const { dsigma[k] = T(sum / double(sigma[k])); }
  ATROUS_HD void operator()(std::int64_t k) const {
    double sum = 0;
    for (std::int64_t r = 0; r < rows; ++r) sum += sums[r * count + k];
    finish(k, sum);
  }
};

template <class T>
ATROUS_HD inline T power_of_normalizer(T n, double power) {
  const T safe = n > T(1e-20) ? n : T(1e-20);
  return power == 0.5 ? 1 / std::sqrt(safe) : 1 / safe;
}
template <class T>
struct CrfNormalizers {
  double pre_power, post_power;
  Span<const T> n;
  Span<T> pre, post;
  ATROUS_HD void operator()(std::int64_t i) const {
    if (!pre.empty()) pre[i] = power_of_normalizer(n[i], pre_power);
    if (!post.empty()) post[i] = power_of_normalizer(n[i], post_power);
  }
};
template <class T>
struct CrfNormalizersBackward {
  CrfDims d;
  double pre_power, post_power;
  Span<const T> n, values, dvalues, out, dout;
  Span<T> dn;
  ATROUS_HD void operator()(std::int64_t i) const {
    double after = 0, before = 0;
    for (std::int64_t j = i * d.classes; j < (i + 1) * d.classes; ++j) {
      after += double(dout[j]) * double(out[j]);
      before += double(dvalues[j]) * double(values[j]);
    }
    const double safe = double(n[i]) > 1e-20 ? double(n[i]) : 1e-20;
    dn[i] = T(-(post_power * after + pre_power * before) / safe);
  }
};

template <class T>
struct CrfUnary {
  double share, uniform, clip;
  Span<const T> p;
  Span<T> u;
  ATROUS_HD void operator()(std::int64_t i) const {
    const double given = double(Accumulator<T>(p[i]));
    double v = share * given + uniform;
    v = v > clip ? v : clip;
    // What is no probability gets the logarithm of a negative number: NaN. That of 0 is infinite.
    u[i] = T(Accumulator<T>(-std::log(!(given >= 0 && given <= kMostProbability) ? -1 : v < 1 ? v : 1)));
  }
};

template <class T>
struct CrfUnaryOfTargets {
  std::int64_t classes;
  T right, wrong, unknown;
  Span<const std::int32_t> targets;
  Span<T> u;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int32_t target = targets[i / classes];
    u[i] = target < 0 ? unknown : target == i % classes ? right : wrong;
  }
};

}  // namespace atrous::kernels
