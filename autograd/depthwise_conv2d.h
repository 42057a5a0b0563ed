#pragma once

#include "atrous/autograd/conv2d_options.h"
#include "atrous/autograd/variable.h"

// The depthwise convolution: the spatial half of a separable convolution, and most of the layers, though
// little of the arithmetic, of MobileNet and Xception.

namespace atrous {

/// Every channel convolved with filters of its own, M of them: output channel c*M + m comes from input
/// channel c.
///
///   y[n,oh,ow,c*M+m] = bias[c*M+m] + sum over r,s of
///       x[n, oh*stride + r*rate - padding.top, ow*stride + s*rate - padding.left, c] * weight[r,s,c,m]
///
///   x        [N, H, W, C]; reads outside it count as zero
///   weight   [R, S, C, M]
///   bias     [C*M], or undefined for none
///   returns  [N, OH, OW, C*M],  OH = (H + padding.top + padding.bottom - rate*(R-1) - 1) / stride + 1,
///   rounded
///            down; OW alike
///
/// Throws ShapeError if C differs between x and weight or no output pixel is left, ValueError for a stride or
/// rate below 1 or a negative padding.
Variable depthwise_conv2d(const Variable& x, const Variable& weight, const Variable& bias,
                          const Conv2dOptions& options = {});

}  // namespace atrous
