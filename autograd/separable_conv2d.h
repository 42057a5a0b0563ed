#pragma once

#include "atrous/autograd/conv2d_options.h"
#include "atrous/autograd/variable.h"

// The depthwise-separable convolution: space first, channels second. A composition of two operations, for the
// places (ASPP, decoder) that have nothing between the halves; MobileNet and Xception put a batch norm there
// and call the two themselves.

namespace atrous {

/// conv2d(depthwise_conv2d(x, depthwise_weight, {}, options), pointwise_weight, bias)
///
///   x                 [N, H, W, C]
///   depthwise_weight  [R, S, C, M]
///   pointwise_weight  [1, 1, C*M, K]
///   bias              [K], or undefined for none
///   returns           [N, OH, OW, K], sizes as in depthwise_conv2d
///
/// Throws as the two do, and ShapeError for a pointwise weight that is not 1x1.
/// Source: Chollet, "Xception", CVPR 2017; with a rate: Chen et al., "DeepLabv3+", ECCV 2018, section 3.1.
Variable separable_conv2d(const Variable& x, const Variable& depthwise_weight,
                          const Variable& pointwise_weight, const Variable& bias,
                          const Conv2dOptions& options = {});

}  // namespace atrous
