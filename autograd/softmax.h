#pragma once

#include <cstdint>
#include <optional>

#include "atrous/autograd/variable.h"

// From logits to classes and to the loss. A logit is any number; softmax makes the logits of a pixel into
// probabilities, cross entropy asks for the logarithm of the right one, and argmax_channels names the
// greatest. Classes are the last axis.

namespace atrous {

/// y[..,c] = exp(x[..,c]) / sum over j of exp(x[..,j]). Probabilities; any rank from 1 on. Safe for large
/// logits; an infinite or NaN logit makes its pixel NaN. Throws ShapeError where the last axis is empty.
Variable softmax(const Variable& x);

/// y[..,c] = x[..,c] - log(sum over j of exp(x[..,j])). Log-probabilities, computed without their
/// exponentials vanishing.
Variable log_softmax(const Variable& x);

struct CrossEntropyOptions {
  /// Pixels of this label are left out: no loss, no gradient. None: every label must be a class.
  std::optional<std::int64_t> ignore_label = 255;
  /// [C], at least 0, or undefined: all 1.
  Tensor class_weights = {};
  /// Below 1 only this share of the valid pixels counts: those with the largest losses.
  double hard_fraction = 1.0;
};

/// Softmax cross entropy of every pixel, averaged to one number.
///
///   loss = sum over counted pixels p of w[label_p] l_p / sum over counted pixels of w[label_p]
///   l_p = log(sum over c of exp(logits[p,c])) - logits[p,label_p]
///
/// All valid pixels (those that are not ignored) are counted; with hard_fraction < 1 only the k =
/// ceil(hard_fraction * valid pixels) of the largest w[label_p] l_p, over the whole batch. Of pixels with
/// equal losses those that come first in row-major order are kept, and NaN counts as the largest; the divisor
/// is the sum of the weights of the kept. Loss and gradients are 0 where nothing is counted or all that is
/// has weight 0.
///
///   logits   [N, H, W, C]; an infinite or NaN one at a counted pixel makes the loss NaN
///   labels   [N, H, W], u8 or i32: a class 0..C-1 or ignore_label
///   returns  one element, rank 0
///
/// Throws ShapeError or DtypeError for tensors that do not fit; ValueError for a label that is neither (the
/// text names pixel, label and number of classes), a weight below 0 or not finite, a fraction outside (0, 1].
/// Hard-pixel mining: Wu et al., "Bridging Category-level and Instance-level Semantic Image Segmentation",
/// arXiv 1605.06885, section 3.2, with a share in place of a threshold.
Variable softmax_cross_entropy(const Variable& logits, const Tensor& labels,
                               const CrossEntropyOptions& options = {});

/// The class of the greatest logit of each pixel, the first of equals. Not differentiable.
///   logits   [N, H, W, C] (or any rank from 1 on), f32 or f64, C >= 1
///   returns  [N, H, W], u8 for C <= 255, else i32
Tensor argmax_channels(const Tensor& logits);

}  // namespace atrous
