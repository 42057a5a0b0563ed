#pragma once

#include "atrous/kernels/simd.h"

// The loops of elementwise.h, dropout.h and scale_channels.h over n floats, for each instruction set. They do
// what the bodies do, element by element, so every set gives the same bits.

namespace atrous::kernels::simd {

ATROUS_SIMD(relu_forward, const float* x, float* y, long n);
ATROUS_SIMD(relu_backward, const float* y, const float* dy, float* dx, long n);
ATROUS_SIMD(relu6_forward, const float* x, float* y, long n);
ATROUS_SIMD(relu6_backward, const float* y, const float* dy, float* dx, long n);
ATROUS_SIMD(hard_swish_forward, const float* x, float* y, long n);
ATROUS_SIMD(hard_swish_backward, const float* x, const float* dy, float* dx, long n);
ATROUS_SIMD(add_forward, const float* a, const float* b, float* sum, long n);
ATROUS_SIMD(mul_forward, const float* a, const float* b, float* product, long n);
ATROUS_SIMD(scale_forward, float factor, const float* x, float* y, long n);

/// y[p*channels + c] = factors[c] * x[p*channels + c] for p < pixels. With `stream` past the cache: channels
/// a multiple of 16, y aligned to 64 bytes, streaming_fence() at the end.
ATROUS_SIMD(scale_channels_forward, const float* x, const float* factors, long pixels, long channels,
            bool stream, float* y);
/// dfactors[c] = sum over p of x[p*channels + c] * dy[p*channels + c] for the n channels from c = 0, in the
/// order of p, in double.
ATROUS_SIMD(scale_channels_backward_factors, const float* x, const float* dy, long pixels, long channels,
            float* dfactors, long n);

/// Elements 4*group .. 4*group + n - 1 of a tensor whose element 0 x and y point to. A number below
/// `threshold` drops.
ATROUS_SIMD(dropout_forward, float threshold, float kept, unsigned long seed, unsigned long call, long group,
            const float* x, float* y, long n);

}  // namespace atrous::kernels::simd
