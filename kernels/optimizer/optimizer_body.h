#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/host_device.h"
#include "atrous/core/span.h"
#include "atrous/kernels/optimizer/optimizer.h"

// The arithmetic of one element of each kernel of optimizer.h.

namespace atrous::kernels {

template <class T>
struct SgdStep {
  T learning_rate, momentum, weight_decay;
  bool nesterov;
  Span<const T> gradient;
  Span<T> velocity, weight;
  ATROUS_HD void operator()(std::int64_t i) const {
    const T g = gradient[i] + weight_decay * weight[i];
    T v = g;
    if (!velocity.empty()) v = velocity[i] = momentum * velocity[i] + g;
    weight[i] -= learning_rate * (nesterov ? g + momentum * v : v);
  }
};

/// What adamw_step computes once for all elements.
template <class T>
struct AdamwFactors {
  T shrink, beta1, beta2, rest1, rest2, rate, root, epsilon;
  explicit AdamwFactors(const AdamwRule& r)
      : shrink(T(1 - r.learning_rate * r.weight_decay)),
        beta1(T(r.beta1)),
        beta2(T(r.beta2)),
        rest1(T(1 - r.beta1)),
        rest2(T(1 - r.beta2)),
        rate(T(r.learning_rate / (1 - std::pow(r.beta1, double(r.step))))),
        root(T(1 / std::sqrt(1 - std::pow(r.beta2, double(r.step))))),
        epsilon(T(r.epsilon)) {}
};

template <class T>
struct AdamwStep {
  AdamwFactors<T> f;
  Span<const T> gradient;
  Span<T> mean, square, weight;
  ATROUS_HD void operator()(std::int64_t i) const {
    const T g = gradient[i];
    mean[i] = f.beta1 * mean[i] + f.rest1 * g;
    square[i] = f.beta2 * square[i] + f.rest2 * (g * g);
    weight[i] = f.shrink * weight[i] - f.rate * mean[i] / (f.root * std::sqrt(square[i]) + f.epsilon);
  }
};

}  // namespace atrous::kernels
