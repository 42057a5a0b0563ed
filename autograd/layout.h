#pragma once

#include <cstdint>

#include "atrous/autograd/graph.h"
#include "atrous/kernels/window.h"

// Operations that move elements: channels are put side by side or cut out, images get a border or lose one.

namespace atrous {

/// The parts side by side along the last axis, in their order.
///
///   parts    [..., C_i], at least one; all axes but the last agree
///   returns  [..., sum of C_i]
///
/// Throws ValueError for no parts, ShapeError where other axes differ.
Variable concat_channels(const Inputs& parts);

/// Channels begin .. begin + count - 1.
///
///   x        [..., C]
///   returns  [..., count]
///
/// Throws ShapeError unless 0 <= begin, 1 <= count and begin + count <= C.
Variable slice_channels(const Variable& x, std::int64_t begin, std::int64_t count);

/// A border of pixels that hold `value`; negative sides crop.
///
///   x        [N, H, W, C]
///   returns  [N, H + top + bottom, W + left + right, C]
///
/// Throws ShapeError if no pixel is left.
Variable pad(const Variable& x, const Padding& padding, double value = 0);

}  // namespace atrous
