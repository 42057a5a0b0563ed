#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// What turns logits into classes: softmax and its logarithm over the last axis, and the first of the
// greatest. The loss is in cross_entropy.h. x is [pixels, classes]: one row of logits a pixel. The greatest
// logit is subtracted before anything is exponentiated, so logits of any finite size are safe; an infinite or
// NaN logit makes its pixel NaN.

namespace atrous::kernels {

struct SoftmaxDims {
  std::int64_t pixels, classes;
};

/// y[p,c] = exp(x[p,c]) / sum over j of exp(x[p,j])
ATROUS_KERNEL(softmax_forward, const SoftmaxDims& dims, Span<const T> x, Span<T> y);
/// dx[p,c] = y[p,c] (dy[p,c] - sum over j of y[p,j] dy[p,j])
ATROUS_KERNEL(softmax_backward, const SoftmaxDims& dims, Span<const T> y, Span<const T> dy, Span<T> dx);

/// y[p,c] = x[p,c] - log(sum over j of exp(x[p,j]))
ATROUS_KERNEL(log_softmax_forward, const SoftmaxDims& dims, Span<const T> x, Span<T> y);
/// dx[p,c] = dy[p,c] - exp(y[p,c]) sum over j of dy[p,j]
ATROUS_KERNEL(log_softmax_backward, const SoftmaxDims& dims, Span<const T> y, Span<const T> dy, Span<T> dx);

/// The class of the greatest logit of each pixel, the first of equals. A NaN is not greater than anything: it
/// wins as class 0 alone. Of labels8 and labels32, [pixels], the one that is not empty is overwritten.
ATROUS_KERNEL(argmax_channels, const SoftmaxDims& dims, Span<const T> x, Span<std::uint8_t> labels8,
              Span<std::int32_t> labels32);

}  // namespace atrous::kernels
