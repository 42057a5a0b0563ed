#pragma once

#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/op.h"
#include "atrous/kernels/conv2d/conv2d.h"

namespace atrous {

/// The sizes of a convolution, checked: throws what conv2d throws, in the name of `op`. `bias` may be
/// undefined.
kernels::Conv2dDims conv2d_dims(Op op, const Variable& x, const Variable& weight, const Variable& bias,
                                const Conv2dOptions& options);

}  // namespace atrous
