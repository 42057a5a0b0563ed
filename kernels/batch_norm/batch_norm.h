#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// Batch normalisation: every channel is shifted and scaled so that its values over the batch's pixels have
// mean 0 and variance 1, then scaled by gamma and shifted by beta, which are learned.
//
//   y = gamma (x - mean) / sqrt(var + epsilon) + beta         epsilon inside the root; var divided by pixels
//
// In training mean and var are the batch's own, and the gradient flows through them too; frozen, they are
// numbers kept from training, and the whole is one multiply-add a value, which batch_norm_fold moves into the
// weights of the convolution before it. Statistics and all sums over pixels are kept in double, merged from
// chunks of pixels that are cut by the shape alone: exact also where the mean is much larger than the
// deviation, and the same bits for any number of threads. Running averages and coefficients are of
// Accumulator<T>: in bf16 an average would stop moving. Source: Ioffe & Szegedy, "Batch Normalization",
// ICML 2015, algorithm 1.

namespace atrous::kernels {

/// x is [pixels, channels]: N * H * W of them.
struct BatchNormDims {
  std::int64_t pixels, channels;
};

/// Doubles that the sums of one call take: the workspace `sums`.
std::int64_t batch_norm_sums_size(const BatchNormDims& dims, Device device = kCpu);
/// Elements of Accumulator<T> that the coefficients of one call take: the workspace `coefficients`.
inline std::int64_t batch_norm_coefficients_size(const BatchNormDims& dims) { return 4 * dims.channels; }

/// Mean and variance (divided by pixels, of which there is at least one) of every channel.
///   x          [pixels, channels]
///   mean, var  [channels], overwritten
ATROUS_KERNEL(batch_norm_statistics, const BatchNormDims& dims, Span<const T> x, Span<double> sums,
              Span<double> mean, Span<double> var);

/// Running averages as the kernels below take statistics: in double, on the same device.
///   running_mean, running_var  [channels]
///   mean, var                  [channels], overwritten
ATROUS_KERNEL(batch_norm_running_statistics, Span<const Accumulator<T>> running_mean,
              Span<const Accumulator<T>> running_var, Span<double> mean, Span<double> var);

/// running = decay running + (1 - decay) batch, with the unbiased variance (divided by pixels - 1, of which
/// there are at least two). Nothing changes unless every new number is finite: one bad batch does not spoil a
/// model.
ATROUS_KERNEL(batch_norm_update_running, const BatchNormDims& dims, Span<const double> mean,
              Span<const double> var, double decay, Span<Accumulator<T>> running_mean,
              Span<Accumulator<T>> running_var);

/// y = gamma (x - mean) / sqrt(var + epsilon) + beta.
ATROUS_KERNEL(batch_norm_forward, const BatchNormDims& dims, Span<const T> x, Span<const double> mean,
              Span<const double> var, double epsilon, Span<const T> gamma, Span<const T> beta,
              Span<Accumulator<T>> coefficients, Span<T> y);

/// Gradients where mean and var are the batch's own. With r = 1 / sqrt(var + epsilon):
///
///   dbeta = sum dy,   dgamma = r sum dy (x - mean)
///   dx = gamma r (dy - dbeta / pixels - (x - mean) r dgamma / pixels)
///
/// dx may be empty: then it is not wanted.
ATROUS_KERNEL(batch_norm_backward_training, const BatchNormDims& dims, Span<const T> x, Span<const T> dy,
              Span<const double> mean, Span<const double> var, double epsilon, Span<const T> gamma,
              Span<double> sums, Span<Accumulator<T>> coefficients, Span<T> dx, Span<T> dgamma,
              Span<T> dbeta);

/// Gradients where mean and var are constants: dx = gamma r dy, dgamma and dbeta as above. dx may be empty,
/// and dgamma and dbeta may both be empty (then x is not read and may be empty too).
ATROUS_KERNEL(batch_norm_backward_frozen, const BatchNormDims& dims, Span<const T> x, Span<const T> dy,
              Span<const double> mean, Span<const double> var, double epsilon, Span<const T> gamma,
              Span<double> sums, Span<Accumulator<T>> coefficients, Span<T> dx, Span<T> dgamma,
              Span<T> dbeta);

/// Moves a frozen batch norm into the convolution before it, for inference:
///
///   folded_weight[.., k] = weight[.., k] s[k],   folded_bias[k] = (bias[k] - mean[k]) s[k] + beta[k]
///   s[k] = gamma[k] / sqrt(var[k] + epsilon)
///
///   weight  [R, S, C, channels]; a depthwise [R, S, C, M] has channels = C * M
///   bias    [channels], or empty for none
///   folded_weight, folded_bias  overwritten; may be weight and bias themselves
ATROUS_KERNEL(batch_norm_fold, std::int64_t channels, Span<const T> gamma, Span<const T> beta,
              Span<const Accumulator<T>> mean, Span<const Accumulator<T>> var, double epsilon,
              Span<const T> weight, Span<const T> bias, Span<T> folded_weight, Span<T> folded_bias);

}  // namespace atrous::kernels
