#pragma once

#include "atrous/autograd/op.h"
#include "atrous/autograd/variable.h"
#include "atrous/core/error.h"

// What differentiable operations check before they touch memory. Each throws with the operation, the tensors
// by role, their shapes.

namespace atrous {

/// Throws ShapeError, DtypeError or DeviceError unless both have the same shape, dtype and device.
void check_same(Op op, const char* role_a, const Variable& a, const char* role_b, const Variable& b);
/// Throws DtypeError or DeviceError unless both have the same dtype and device (shapes may differ).
void check_match(Op op, const char* role_a, const Variable& a, const char* role_b, const Variable& b);
/// Throws ShapeError unless v has this rank. `axes` names them in the text: "[N, H, W, C]".
void check_rank(Op op, const char* role, const Variable& v, int rank, const char* axes);

/// Undefined elements in the shape, dtype and place of another tensor.
inline Tensor empty_like(const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); }
inline Tensor zeros_like(const Tensor& t) { return Tensor::zeros(t.shape(), t.dtype(), t.device()); }

}  // namespace atrous
