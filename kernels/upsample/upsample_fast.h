#pragma once

#include <cstdint>

#include "atrous/core/span.h"
#include "atrous/kernels/resize/resize.h"

// The kernels of upsample.h over floats, by the vector code of resize and softmax: rows of fine logits live
// in a buffer of the thread, a few dozen kilobytes.

namespace atrous::kernels::fast {

/// Maps that grow or keep their size, of up to 512 classes; the plain bodies do the others.
bool takes(const ResizeDims& dims);

/// Chunks of coarse rows, whatever the threads: each has a partial sum of the loss, and a row of the gradient
/// that belongs to the next chunk.
std::int64_t upsample_chunks(const ResizeDims& dims);

void upsample_losses(const ResizeDims& dims, Span<const float> logits, Span<const std::int32_t> targets,
                     Span<float> losses);
void upsample_cross_entropy(const ResizeDims& dims, Span<const float> logits,
                            Span<const std::int32_t> targets, Span<const float> scales, Span<double> sums,
                            Span<float> workspace, Span<float> dlogits);
void upsample_confusion(const ResizeDims& dims, Span<const float> logits, Span<const std::int32_t> targets,
                        Span<std::int64_t> counts);

}  // namespace atrous::kernels::fast
