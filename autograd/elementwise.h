#pragma once

#include <cstdint>

#include "atrous/autograd/variable.h"

// Elementwise operations on tensors of any shape. Two tensors must have the same shape: nothing is broadcast
// but the factors of scale_channels.

namespace atrous {

/// y = max(x, 0), element by element. The gradient at 0 is 0; NaN stays NaN.
Variable relu(const Variable& x);

/// y = min(max(x, 0), 6), element by element: the activation of MobileNets. The gradient at 0 and at 6 is 0;
/// NaN stays NaN.
Variable relu6(const Variable& x);

/// y = x min(max(x + 3, 0), 6) / 6, element by element. The gradient is 0 up to -3, 1 from 3 on.
/// Source: Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2.
Variable hard_swish(const Variable& x);

/// y = min(max(x + 3, 0), 6) / 6, element by element. The gradient where y is 0 or 1 is 0.
/// Source: Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2.
Variable hard_sigmoid(const Variable& x);

/// y = 1 / (1 + exp(-x)), element by element.
Variable sigmoid(const Variable& x);

/// y[i] = e^x[i]: a parameter that must stay positive is learned by its logarithm.
Variable exp(const Variable& x);

/// a + b. Throws ShapeError unless the shapes agree.
Variable add(const Variable& a, const Variable& b);

/// a * b, element by element. Throws ShapeError unless the shapes agree.
Variable mul(const Variable& a, const Variable& b);

/// The greater of a and b, element by element, a NaN before anything else. The gradient goes to where the
/// value came from, of equals to a. Throws ShapeError unless the shapes agree.
Variable maximum(const Variable& a, const Variable& b);

/// A factor for each channel of each image.
///
///   y[n,h,w,c] = factors[n,0,0,c] * x[n,h,w,c]
///
///   x        [N, H, W, C]
///   factors  [N, 1, 1, C]
///
/// Throws ShapeError for other shapes.
Variable scale_channels(const Variable& x, const Variable& factors);

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
