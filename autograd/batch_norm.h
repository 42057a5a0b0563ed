#pragma once

#include "atrous/autograd/channel_statistics.h"
#include "atrous/autograd/variable.h"
#include "atrous/kernels/conv2d/conv2d.h"

// Batch normalisation. Training normalises each channel by the mean and variance of the batch at hand and
// keeps a running average of both; in use, and when a network is fine-tuned on small batches, the layer is
// frozen and the running averages take their place. The running averages are buffers, not parameters: they
// have no gradient and are changed in place.
//
// What networks put behind it, the addition of a residual and an activation, is part of the operation: one
// pass over memory instead of three, and nothing kept for the backward pass of the steps between.

namespace atrous {

using kernels::Activation;  // of which batch norm takes none, relu and relu6

enum class BatchNormMode { training, frozen };

struct BatchNormOptions {
  BatchNormMode mode = BatchNormMode::training;
  double epsilon = 1e-5;  ///< inside the root, at least 0
  double decay = 0.9;     ///< of the running averages, 0..1; PyTorch's momentum is 1 - decay
  Activation activation = Activation::none;
};

/// Batch normalisation over all axes but the last, with what follows it.
///
///   y[..,c] = activation(gamma[c] (x[..,c] - mean[c]) / sqrt(var[c] + epsilon) + beta[c] + residual[..,c])
///
/// Training: mean and var are the batch's, var divided by m = N H W, and the gradient goes through both;
/// then running = decay running + (1 - decay) batch, there with the variance divided by m - 1. The running
/// averages stay as they are if any of the new ones is not finite. A single pixel has no variance: with m = 1
/// they are used instead of the batch's, and stay (as for an empty batch).
/// Frozen: mean and var are the running averages, constants; x, gamma and beta have gradients.
///
///   x                          [N, H, W, C]
///   gamma, beta                [C]
///   running_mean, running_var  [C], of the accumulator's dtype (f32 for bf16); overwritten in training
///   residual                   [N, H, W, C], or undefined for none; its gradient is what the activation lets
///                              through
///   statistics                 of x, if something else has computed them. They change no formula, and the
///                              gradient still goes through them. Of no use when frozen
///   returns                    [N, H, W, C]
///
/// Throws ShapeError, DtypeError or DeviceError for tensors that do not fit x, ValueError for options out of
/// range.
/// Source: Ioffe & Szegedy, "Batch Normalization", ICML 2015; the residual: He et al., "Deep residual
/// learning", CVPR 2016, section 3.2.
Variable batch_norm(const Variable& x, const Variable& gamma, const Variable& beta, Tensor& running_mean,
                    Tensor& running_var, const BatchNormOptions& options, const Variable& residual = {},
                    const ChannelStatistics& statistics = {});

}  // namespace atrous
