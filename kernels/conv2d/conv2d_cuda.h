#pragma once

#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/direct.h"

// What the CUDA halves of conv2d and conv_transpose2d share.

namespace atrous::kernels::cuda {

/// y from x, or dx from dy, by the fastest kernel that takes these sizes. The workspace is that of
/// conv2d_forward, or of conv2d_backward_input.
template <class T>
void conv2d_gather(Stream stream, Gather direction, const Conv2dDims& dims, Span<const T> source,
                   Span<const T> weight, const Conv2dEpilogue<T>& epilogue, Span<T> workspace,
                   Span<T> destination);

}  // namespace atrous::kernels::cuda
