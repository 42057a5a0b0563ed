#pragma once

#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/direct.h"

// What the CPU halves of conv2d and conv_transpose2d share.

namespace atrous::kernels::cpu {

/// y from x, or dx from dy, by the tuned kernel that takes these sizes, from weights as they are. The
/// workspace is that of conv2d_forward, or of conv2d_backward_input.
void conv2d_gather(Gather direction, const Conv2dDims& dims, Span<const float> source,
                   Span<const float> weight, const Conv2dEpilogue<float>& epilogue, Span<float> workspace,
                   Span<float> destination);

}  // namespace atrous::kernels::cpu
