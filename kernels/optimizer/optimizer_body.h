#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/dtype.h"
#include "atrous/core/span.h"
#include "atrous/kernels/optimizer/optimizer.h"

// The arithmetic of one element of each kernel of optimizer.h.

namespace atrous::kernels {

/// A weight and its master, if it has one.
template <class T>
struct MasteredWeight {
  using A = Accumulator<T>;
  Span<A> master;
  Span<T> weight;
  ATROUS_HD A read(std::int64_t i) const {
    const A stored = A(weight[i]);
    return !master.empty() && A(T(master[i])) == stored ? master[i] : stored;
  }
  ATROUS_HD void write(std::int64_t i, A value) const {
    if (!master.empty()) master[i] = value;
    weight[i] = T(value);
  }
};

template <class T>
struct SgdStep {
  using A = Accumulator<T>;
  A learning_rate, momentum, weight_decay;
  bool nesterov;
  Span<const T> gradient;
  Span<A> velocity;
  MasteredWeight<T> weight;
  SgdStep(const SgdRule& r, Span<const T> g, Span<A> v, Span<A> master, Span<T> w)
      : learning_rate(A(r.learning_rate)),
        momentum(A(r.momentum)),
        weight_decay(A(r.weight_decay)),
        nesterov(r.nesterov),
        gradient(g),
        velocity(v),
        weight{master, w} {}
  ATROUS_HD void operator()(std::int64_t i) const {
    const A w = weight.read(i), g = A(gradient[i]) + weight_decay * w;
    A v = g;
    if (!velocity.empty()) v = velocity[i] = momentum * velocity[i] + g;
    weight.write(i, w - learning_rate * (nesterov ? g + momentum * v : v));
  }
};

/// What adamw_step computes once for all elements.
template <class A>
struct AdamwFactors {
  A shrink, beta1, beta2, rest1, rest2, rate, root, epsilon;
  explicit AdamwFactors(const AdamwRule& r)
      : shrink(A(1 - r.learning_rate * r.weight_decay)),
        beta1(A(r.beta1)),
        beta2(A(r.beta2)),
        rest1(A(1 - r.beta1)),
        rest2(A(1 - r.beta2)),
        rate(A(r.learning_rate / (1 - std::pow(r.beta1, double(r.step))))),
        root(A(1 / std::sqrt(1 - std::pow(r.beta2, double(r.step))))),
        epsilon(A(r.epsilon)) {}
};

template <class T>
struct AdamwStep {
  using A = Accumulator<T>;
  AdamwFactors<A> f;
  Span<const T> gradient;
  Span<A> mean, square;
  MasteredWeight<T> weight;
  ATROUS_HD void operator()(std::int64_t i) const {
    const A g = A(gradient[i]);
    const A m = mean[i] = f.beta1 * mean[i] + f.rest1 * g;
    const A s = square[i] = f.beta2 * square[i] + f.rest2 * (g * g);
    weight.write(i, f.shrink * weight.read(i) - f.rate * m / (f.root * std::sqrt(s) + f.epsilon));
  }
};

}  // namespace atrous::kernels
