#pragma once

#include "atrous/autograd/variable.h"

// Elementwise operations on tensors of any shape. Two tensors must have the same shape: nothing is broadcast.

namespace atrous {

/// y = max(x, 0), element by element. The gradient at 0 is 0; NaN stays NaN.
Variable relu(const Variable& x);

/// a + b. Throws ShapeError unless the shapes agree.
Variable add(const Variable& a, const Variable& b);

}  // namespace atrous
