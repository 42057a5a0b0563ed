#pragma once

#include <cstdint>

#include "atrous/core/span.h"
#include "atrous/kernels/resize/resize.h"

// The kernels of resize.h over floats by the vector code of resize_simd.h. They return false for shapes that
// they do not take; the plain bodies do those.

namespace atrous::kernels::cpu {

bool fast_resize_bilinear_forward(const ResizeDims& dims, Span<const float> x, Span<float> y);
bool fast_resize_bilinear_backward(const ResizeDims& dims, Span<const float> dy, Span<float> dx);
bool fast_resize_argmax(const ResizeDims& dims, Span<const float> x, Span<std::uint8_t> labels8,
                        Span<std::int32_t> labels32);

}  // namespace atrous::kernels::cpu
