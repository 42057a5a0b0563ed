#pragma once

#include <cmath>

#include "atrous/kernels/gaussian_filter/gaussian_filter.h"

namespace atrous::kernels {

template <class T>
ATROUS_HD inline T gaussian_weight(const T* f, const T* g, std::int64_t features) {
  T squares = 0;
  for (std::int64_t k = 0; k < features; ++k) squares += (f[k] - g[k]) * (f[k] - g[k]);
  return std::exp(T(-0.5) * squares);
}

/// All classes of point i.
template <class T>
struct GaussianFilter {
  GaussianDims d;
  Span<const T> features, pre, post, values;
  Span<T> out;
  ATROUS_HD void operator()(std::int64_t i) const {
    const T* own = features.data() + i * d.features;
    T* result = out.data() + i * d.classes;
    for (std::int64_t c = 0; c < d.classes; ++c) result[c] = 0;
    for (std::int64_t j = 0; j < d.points; ++j) {
      T weight = gaussian_weight(own, features.data() + j * d.features, d.features);
      if (!pre.empty()) weight *= pre[j];
      for (std::int64_t c = 0; c < d.classes; ++c) result[c] += weight * values[j * d.classes + c];
    }
    if (!post.empty())
      for (std::int64_t c = 0; c < d.classes; ++c) result[c] *= post[i];
  }
};

/// Feature k of point i.
template <class T>
struct GaussianBackwardFeatures {
  GaussianDims d;
  Span<const T> features, pre, post, values, dout;
  Span<T> dfeatures;
  ATROUS_HD void operator()(std::int64_t element) const {
    const std::int64_t i = element / d.features, k = element % d.features;
    const T* own = features.data() + i * d.features;
    T sum = 0;
    for (std::int64_t j = 0; j < d.points; ++j) {
      const T* other = features.data() + j * d.features;
      T gv = 0, vg = 0;
      for (std::int64_t c = 0; c < d.classes; ++c) {
        gv += dout[i * d.classes + c] * values[j * d.classes + c];
        vg += dout[j * d.classes + c] * values[i * d.classes + c];
      }
      gv *= (post.empty() ? T(1) : post[i]) * (pre.empty() ? T(1) : pre[j]);
      vg *= (post.empty() ? T(1) : post[j]) * (pre.empty() ? T(1) : pre[i]);
      sum += gaussian_weight(own, other, d.features) * (gv + vg) * (other[k] - own[k]);
    }
    dfeatures[element] = sum;
  }
};

template <class T>
struct IdentityRows {
  GaussianDims d;
  Span<const T> features, scale, values;
  Span<T> rows;
  ATROUS_HD void operator()(std::int64_t element) const {
    const std::int64_t c = element % d.classes, row = element / d.classes, k = row % (d.features + 1),
                       i = row / (d.features + 1);
    const T v = (scale.empty() ? T(1) : scale[i]) * values[i * d.classes + c];
    rows[element] = k == 0 ? v : features[i * d.features + k - 1] * v;
  }
};

/// Feature k of point i.
template <class T>
struct IdentityBackwardFeatures {
  GaussianDims d;
  Span<const T> features, v, g, kv, kg;
  Span<T> dfeatures;
  ATROUS_HD void operator()(std::int64_t element) const {
    const std::int64_t i = element / d.features, k = element % d.features;
    const std::int64_t row = i * (d.features + 1) * d.classes, moved = row + (k + 1) * d.classes;
    const T f = features[element];
    T sum = 0;
    for (std::int64_t c = 0; c < d.classes; ++c)
      sum += g[row + c] * (kv[moved + c] - f * kv[row + c]) + v[row + c] * (kg[moved + c] - f * kg[row + c]);
    dfeatures[element] = sum;
  }
};

}  // namespace atrous::kernels
