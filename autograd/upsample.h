#pragma once

#include "atrous/autograd/softmax.h"

// The end of a segmentation network in one step: coarse logits against labels as fine as the image. The
// bilinearly resized logits, larger than anything else in a training step, are never stored; the results are
// those of resize_bilinear and softmax_cross_entropy or argmax_channels, within rounding. upsample_argmax,
// for labels alone, is in resize.h.

namespace atrous {

struct UpsampleLossOptions {
  CrossEntropyOptions loss = {};
  bool align_corners = true;  ///< of resize_bilinear
};

/// softmax_cross_entropy(resize_bilinear(logits, the size of the labels), labels)
///
///   loss = sum over counted pixels p of w[label_p] l_p / sum over counted pixels of w[label_p]
///   l_p = log(sum over c of exp(z[p,c])) - z[p,label_p],  z the resized logits
///
///   logits   [N, H, W, C]; an infinite or NaN one that a counted pixel reads makes the loss NaN
///   labels   [N, OH, OW], u8 or i32: a class 0..C-1 or the label to ignore
///   returns  one element, rank 0
///
/// Throws as the two do.
Variable upsample_cross_entropy(const Variable& logits, const Tensor& labels,
                                const UpsampleLossOptions& options = {});

struct UpsampleConfusionOptions {
  std::optional<std::int64_t> ignore_label = 255;  ///< pixels of this label are not counted
  bool align_corners = true;
};

/// How many pixels of each class were taken for which: the counts of labels against
/// upsample_argmax(logits, the size of the labels). Not differentiable.
///
///   logits   [N, H, W, C]
///   labels   [N, OH, OW], u8 or i32: a class 0..C-1 or ignore_label
///   returns  [C, C], i64: [true class, predicted class]
///
/// Throws ShapeError for tensors that do not fit, ValueError for a label that is neither.
Tensor upsample_confusion(const Tensor& logits, const Tensor& labels,
                          const UpsampleConfusionOptions& options = {});

}  // namespace atrous
