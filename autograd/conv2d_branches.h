#pragma once

#include <vector>

#include "atrous/autograd/conv2d.h"

namespace atrous {

/// Several convolutions of one input, their results side by side: the branches of an ASPP. On CUDA each pass
/// is one launch, which fills the device where one branch alone does not.
///
///   y = concat_channels(conv2d(x, weights[0], {}, options[0]), conv2d(x, weights[1], {}, options[1]), ...)
///
///   x        [N, H, W, C]
///   weights  [R_b, S_b, C, K_b], at least one
///   options  of each branch: stride 1, one allow_tf32, and padding and rate that give all one output size
///   returns  [N, OH, OW, sum of K_b]
///
/// Throws what conv2d throws of each branch; ValueError for no branch, other numbers of weights and options,
/// a stride above 1 or an allow_tf32 unlike the first; ShapeError where output sizes differ.
/// Source: Chen et al., "Rethinking Atrous Convolution", 2017, section 3.3.
Variable conv2d_branches(const Variable& x, const std::vector<Variable>& weights,
                         const std::vector<Conv2dOptions>& options);

/// The same for a batch norm in training behind it: see conv2d_with_statistics.
Conv2dWithStatistics conv2d_branches_with_statistics(const Variable& x, const std::vector<Variable>& weights,
                                                     const std::vector<Conv2dOptions>& options);

}  // namespace atrous
