#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// One step of an optimiser on one parameter: weights and the optimiser's own state are overwritten, element
// by element. A gradient that is not finite goes straight into both: callers look first (all_finite of
// kernels/reduce).
//
// A weight in bf16 has 8 bits: a step below 1/256 of it would be lost, and so would all that follow. So it
// has a master, the same weight in Accumulator<T>, which takes the steps; the weight is the master rounded.
// Where the weight is not that (at first, or because something else has written it), the master begins anew
// from the weight. Source: Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.1.

namespace atrous::kernels {

struct SgdRule {
  double learning_rate;
  double momentum = 0;
  double weight_decay = 0;  ///< of the penalty weight_decay/2 * |w|^2: added to the gradient
  bool nesterov = false;
};

/// Stochastic gradient descent with momentum, in the form of PyTorch and TensorFlow (the learning rate stays
/// outside of the velocity, so a change of it acts at once; Caffe's stands inside):
///
///   g = gradient + weight_decay * weight;  velocity = momentum * velocity + g
///   weight -= learning_rate * velocity                     or, with nesterov,
///   weight -= learning_rate * (g + momentum * velocity)
///
///   velocity  starts as zeros; may be empty if momentum is 0. In bf16 it would stand still
///   master    as above; starts as anything finite, may be empty for none
///
/// Source: Sutskever et al., ICML 2013.
ATROUS_KERNEL(sgd_step, const SgdRule& rule, Span<const T> gradient, Span<Accumulator<T>> velocity,
              Span<Accumulator<T>> master, Span<T> weight);

struct AdamwRule {
  double learning_rate;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;    ///< outside of the root
  double weight_decay = 0;  ///< decoupled: the weight shrinks by learning_rate * weight_decay of itself
  std::int64_t step = 1;    ///< 1 for the first step: the bias correction needs it
};

/// Adam with decoupled weight decay:
///
///   weight -= learning_rate * weight_decay * weight
///   mean   = beta1 * mean + (1 - beta1) * gradient;  square = beta2 * square + (1 - beta2) * gradient^2
///   weight -= learning_rate * mean / (1 - beta1^step) / (sqrt(square / (1 - beta2^step)) + epsilon)
///
///   mean, square  start as zeros; of Accumulator<T>, as above
///   master        as in sgd_step
///
/// Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
ATROUS_KERNEL(adamw_step, const AdamwRule& rule, Span<const T> gradient, Span<Accumulator<T>> mean,
              Span<Accumulator<T>> square, Span<Accumulator<T>> master, Span<T> weight);

}  // namespace atrous::kernels
