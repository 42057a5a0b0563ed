#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"
#include "atrous/kernels/softmax/softmax.h"

// Softmax cross entropy of every pixel, in three steps. Labels become targets: a class, or -1 for a pixel
// that is left out. Targets become scales: what the loss of each pixel counts in the result, class weights,
// hard-pixel mining and the division included; 0 for a pixel that does not count, whatever its logits are.
// Then one pass over the logits makes the loss and, where it is wanted, the gradient. Losses, weights and
// scales are of Accumulator<T>: one part in a million pixels is not for bf16.

namespace atrous::kernels {

/// targets[p] = labels[p], or -1 where labels[p] is ignore_label or no class. T is std::uint8_t or
/// std::int32_t.
///   labels     [pixels]
///   targets    [pixels], overwritten
///   first_bad  one element: the first pixel whose label is neither a class nor ignore_label, or pixels
ATROUS_KERNEL(cross_entropy_targets, const SoftmaxDims& dims, std::int64_t ignore_label, Span<const T> labels,
              Span<std::int32_t> targets, Span<std::int64_t> first_bad);

/// losses[p] = log(sum over c of exp(logits[p,c])) - logits[p,targets[p]];  0 where targets[p] is -1.
ATROUS_KERNEL(cross_entropy_losses, const SoftmaxDims& dims, Span<const T> logits,
              Span<const std::int32_t> targets, Span<Accumulator<T>> losses);

/// Doubles that the sums of a call take: one for each chunk of pixels, cut by shape alone.
std::int64_t cross_entropy_sums_size(const SoftmaxDims& dims, Device device = kCpu);
/// Elements of Accumulator<T> that mining takes as its workspace: where hard_fraction is below 1.
std::int64_t cross_entropy_workspace_size(const SoftmaxDims& dims, Device device = kCpu);
/// scales[p] = w[p] / sum of w over the pixels that count; all 0 if that sum is 0.
///
/// w[p] is class_weights[targets[p]], or 1 where class_weights is empty. Where hard_fraction is below 1 only
/// the k = ceil(hard_fraction * pixels with a target) pixels of the largest w[p] losses[p] count; of equal
/// ones those that come first, and NaN counts as infinite.
///   losses     [pixels], read only where hard_fraction < 1, else may be empty
///   workspace  cross_entropy_workspace_size() where hard_fraction < 1, else may be empty
///   scales     [pixels], overwritten
ATROUS_KERNEL(cross_entropy_scales, const SoftmaxDims& dims, Span<const std::int32_t> targets,
              Span<const Accumulator<T>> class_weights, double hard_fraction,
              Span<const Accumulator<T>> losses, Span<Accumulator<T>> workspace, Span<double> sums,
              Span<Accumulator<T>> scales);

/// loss = sum over p of scales[p] (log(sum over c of exp(logits[p,c])) - logits[p,targets[p]]), and its
/// gradient
///
///   dlogits[p,c] = scales[p] (softmax(logits[p])[c] - (c == targets[p]))
///
/// in one pass. Pixels of scale 0 have no loss and no gradient, even where their logits are not finite.
///   logits   [pixels, classes]
///   loss     one element, overwritten
///   dlogits  [pixels, classes], overwritten, or empty if it is not wanted
ATROUS_KERNEL(cross_entropy, const SoftmaxDims& dims, Span<const T> logits, Span<const std::int32_t> targets,
              Span<const Accumulator<T>> scales, Span<double> sums, Span<T> loss, Span<T> dlogits);

/// scaled[i] = factor[0] dlogits[i]: the chain rule after cross_entropy.
ATROUS_KERNEL(cross_entropy_chain, Span<const T> factor, Span<const T> dlogits, Span<T> scaled);

}  // namespace atrous::kernels
