#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"
#include "atrous/kernels/resize/resize.h"

// Where a segmentation network ends: its logits are coarse, its labels as fine as the image. Here the
// bilinear resize and what follows it are one step, so that the fine logits (177 MB of floats for eight
// images of 513x513 and 21 classes, and as much for their gradient) are never in memory. Every kernel is
// defined by the two that it replaces: resize_bilinear_forward, then cross_entropy or argmax_channels.
//
// Shapes, with dims = {batch, in_h, in_w, out_h, out_w, channels}: logits [batch, in_h, in_w, channels], a
// channel a class; everything of a pixel [batch, out_h, out_w].

namespace atrous::kernels {

/// losses[p] = log(sum over c of exp(z[p,c])) - z[p,targets[p]], z the resized logits;  0 where targets[p] is
/// -1. For hard-pixel mining (cross_entropy_scales).
ATROUS_KERNEL(upsample_cross_entropy_losses, const ResizeDims& dims, Span<const T> logits,
              Span<const std::int32_t> targets, Span<Accumulator<T>> losses);

/// Doubles for the partial sums of the loss, and accumulators for what else upsample_cross_entropy keeps on
/// a device, with or without the gradient. Cut by the shape alone.
template <class T>
std::int64_t upsample_cross_entropy_sums_size(const ResizeDims& dims, Device device = kCpu);
template <class T>
std::int64_t upsample_cross_entropy_workspace_size(const ResizeDims& dims, bool gradient,
                                                   Device device = kCpu);
/// loss = sum over p of scales[p] (log(sum over c of exp(z[p,c])) - z[p,targets[p]]), z the resized logits,
/// and its gradient by the logits
///
///   dlogits[n,h,w,c] = sum over the p that read (h,w), with weight b, of
///                      b scales[p] (softmax(z[p])[c] - (c == targets[p]))
///
/// Pixels of scale 0 have no loss and no gradient, even where their logits are not finite.
///   targets, scales  of cross_entropy_targets and cross_entropy_scales
///   loss             one element, overwritten
///   dlogits          like logits, overwritten, or empty if it is not wanted
ATROUS_KERNEL(upsample_cross_entropy, const ResizeDims& dims, Span<const T> logits,
              Span<const std::int32_t> targets, Span<const Accumulator<T>> scales, Span<double> sums,
              Span<Accumulator<T>> workspace, Span<T> loss, Span<T> dlogits);

/// counts[t,c] = the pixels of target t whose greatest resized logit is that of class c (as resize_argmax has
/// it). Pixels of target -1 are not counted.
///   counts  [channels, channels], overwritten
ATROUS_KERNEL(upsample_confusion, const ResizeDims& dims, Span<const T> logits,
              Span<const std::int32_t> targets, Span<std::int64_t> counts);

}  // namespace atrous::kernels
