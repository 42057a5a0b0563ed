#pragma once

#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/conv2d/conv2d.h"

// Batch norm with what networks put behind it: the addition of a residual and an activation. One pass where
// the kernels of batch_norm.h, elementwise.h and an addition take three.

namespace atrous::kernels {

/// Elements of Accumulator<T> that the coefficients of one call take: the workspace `coefficients`.
inline std::int64_t batch_norm_activation_coefficients_size(const BatchNormDims& dims) {
  return 6 * dims.channels;
}

/// y = activation(gamma (x - mean) / sqrt(var + epsilon) + beta + residual).
///   x, y      [pixels, channels]
///   residual  [pixels, channels], or empty for none
ATROUS_KERNEL(batch_norm_activation_forward, const BatchNormDims& dims, Activation activation,
              Span<const T> x, Span<const T> residual, Span<const double> mean, Span<const double> var,
              double epsilon, Span<const T> gamma, Span<const T> beta, Span<Accumulator<T>> coefficients,
              Span<T> y);

/// Its gradients. With g = dy where the activation passes y, else 0: dresidual = g, and dx, dgamma and dbeta
/// are what batch_norm_backward_training makes of g or, not training, batch_norm_backward_frozen.
///   y          what the forward kernel made; may be empty if there was no residual
///   dx         overwritten
///   dresidual  overwritten; may be empty if it is not wanted
ATROUS_KERNEL(batch_norm_activation_backward, const BatchNormDims& dims, Activation activation, bool training,
              Span<const T> x, Span<const T> y, Span<const T> dy, Span<const double> mean,
              Span<const double> var, double epsilon, Span<const T> gamma, Span<const T> beta,
              Span<double> sums, Span<Accumulator<T>> coefficients, Span<T> dx, Span<T> dresidual,
              Span<T> dgamma, Span<T> dbeta);

}  // namespace atrous::kernels
