#pragma once

#include <cstdint>
#include <optional>

#include "atrous/core/tensor.h"

// Unary energies of a dense CRF: what each label costs at each pixel, U = -log p. Lower is better. They are
// on the device of what they are made of.

namespace atrous::models {

/// U = -log softmax(logits): finite for all finite logits, so the way to prefer.
///   logits   [.., C], f32 or f64
///   returns  the same shape and type
/// Throws ValueError, naming the pixel, for a logit that is not finite.
Tensor unary_from_logits(const Tensor& logits);

struct ProbabilityOptions {
  double clip = 1e-5;                ///< probabilities are raised to this before the logarithm; 0: not at all
  std::optional<double> scale = {};  ///< s in (0, 1]: p becomes s p + (1 - s) / C first, a uniform share
};
/// U = -log max(p, clip).
///   probabilities  [.., C], f32 or f64, each in 0..1 (they are not made to add up to 1)
/// Throws ValueError, naming the pixel, for one that is NaN or outside of 0..1, and for 0 where clip is 0.
Tensor unary_from_probabilities(const Tensor& probabilities, const ProbabilityOptions& options = {});

struct LabelOptions {
  double confidence = 0.7;  ///< that a label is right, in (0, 1)
  /// Pixels of this label are unknown: every class costs log C.
  std::optional<std::int64_t> unknown_label = 255;
};
/// U = -log(confidence) for the label, -log((1 - confidence) / (C - 1)) for every other.
///   labels   [N, H, W], u8 or i32: 0..C-1 or the unknown label
///   returns  [N, H, W, C], f32
/// Throws ValueError for fewer than two classes (there is nothing to be unsure between), a confidence outside
/// (0, 1), and a label that is neither, naming the pixel; of labels on a CUDA device that is when something
/// is next read of it (check_later).
Tensor unary_from_labels(const Tensor& labels, std::int64_t classes, const LabelOptions& options = {});

}  // namespace atrous::models
