#pragma once

#include <cstdint>

#include "atrous/autograd/variable.h"

// Elementwise operations on tensors of any shape. Two tensors must have the same shape: nothing is broadcast.

namespace atrous {

/// y = max(x, 0), element by element. The gradient at 0 is 0; NaN stays NaN.
Variable relu(const Variable& x);

/// y = min(max(x, 0), 6), element by element: the activation of MobileNets. The gradient at 0 and at 6 is 0;
/// NaN stays NaN.
Variable relu6(const Variable& x);

/// a + b. Throws ShapeError unless the shapes agree.
Variable add(const Variable& a, const Variable& b);

/// a * b, element by element. Throws ShapeError unless the shapes agree.
Variable mul(const Variable& a, const Variable& b);

/// factor * x.
Variable scale(const Variable& x, double factor);

struct DropoutOptions {
  double probability = 0.5;  ///< that an element is dropped, in [0, 1]
  std::uint64_t seed = 0;
  std::uint64_t call = 0;    ///< a counter: each value gives another mask
  bool channelwise = false;  ///< drops whole channels of a sample (x is [N, ..., C])
};

/// Inverted dropout: an element is 0 with the given probability, else multiplied by 1 / (1 - probability).
/// The mask is a function of seed, call and the element's index alone, so it is the same on every device and
/// for every number of threads; nothing but the rule is kept for backward. A dropped element is 0 even if it
/// was not finite.
///
/// Throws ValueError unless 0 <= probability <= 1, ShapeError if channelwise and x has fewer than two axes.
/// Source: Srivastava et al., "Dropout", JMLR 2014 (there the scale is applied at test time instead);
/// channelwise: Tompson et al., CVPR 2015, "SpatialDropout".
Variable dropout(const Variable& x, const DropoutOptions& options);

}  // namespace atrous
