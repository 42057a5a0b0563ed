#pragma once

#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/conv2d/conv2d.h"

// Batch norm with what networks put behind it: the addition of a residual and an activation. One pass where
// the kernels of batch_norm.h, elementwise.h and an addition take three.

namespace atrous::kernels {

/// How every channel is normalised, and what is then learned of it; all arrays are [channels].
template <class T>
struct BatchNormChannels {
  Span<const double> mean, var;
  double epsilon;  ///< inside the root
  Span<const T> gamma, beta;
};

/// Where the backward kernel writes.
template <class T>
struct BatchNormGradients {
  Span<T> dx;             ///< [pixels, channels]
  Span<T> dresidual;      ///< [pixels, channels], or empty if it is not wanted
  Span<T> dgamma, dbeta;  ///< [channels]; not in training both may be empty
};

/// Elements of Accumulator<T> that the coefficients of one call take: the workspace `coefficients`.
inline std::int64_t batch_norm_activation_coefficients_size(const BatchNormDims& dims) {
  return 6 * dims.channels;
}

/// y = activation(gamma (x - mean) / sqrt(var + epsilon) + beta + residual).
///   x, y      [pixels, channels]
///   residual  [pixels, channels], or empty for none
ATROUS_KERNEL(batch_norm_activation_forward, const BatchNormDims& dims, Activation activation,
              const BatchNormChannels<T>& norm, Span<const T> x, Span<const T> residual,
              Span<Accumulator<T>> coefficients, Span<T> y);

/// Statistics and forward pass in one, for training: what batch_norm_statistics gives, and with that what
/// batch_norm_activation_forward gives, bit for bit. On a device, a map that fits on the chip is read once.
///   mean, var  overwritten
ATROUS_KERNEL(batch_norm_training_forward, const BatchNormDims& dims, Activation activation, Span<const T> x,
              Span<const T> residual, double epsilon, Span<const T> gamma, Span<const T> beta,
              Span<double> sums, Span<double> mean, Span<double> var, Span<Accumulator<T>> coefficients,
              Span<T> y);

/// Its gradients. With g = dy where the activation passes y, else 0: dresidual = g, and dx, dgamma and dbeta
/// are what batch_norm_backward_training makes of g or, not training, batch_norm_backward_frozen.
///   x     not used, but of its size, if y is given and dgamma and dbeta are empty
///   y     what the forward kernel made; may be empty if there was no residual
///   sums  may be empty if dgamma and dbeta are
ATROUS_KERNEL(batch_norm_activation_backward, const BatchNormDims& dims, Activation activation, bool training,
              const BatchNormChannels<T>& norm, Span<const T> x, Span<const T> y, Span<const T> dy,
              Span<double> sums, Span<Accumulator<T>> coefficients, const BatchNormGradients<T>& gradients);

}  // namespace atrous::kernels
