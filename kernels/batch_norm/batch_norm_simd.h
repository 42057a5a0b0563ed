#pragma once

#include "atrous/kernels/simd.h"

// The chunk functions of batch_norm_chunks.h over floats, for each instruction set. Pixels are read in the
// order of memory, sums are kept in a block of channels in the L1 cache. Where few channels do not fill whole
// vectors, several pixels are taken as one wider pixel, and their sums are added at the end. `past_cache`:
// the result is aligned to 64 bytes, its channels fill whole lines, and it is larger than the cache.
// A residual, or null, is added to what is normalised; then comes the activation: 0 none, 1 relu, 2 relu6.

namespace atrous::kernels::simd {

ATROUS_SIMD(chunk_statistics, const float* x, long pixels, long channels, double* mean, double* squares);
ATROUS_SIMD(chunk_normalise, const float* x, long pixels, long channels, const float* center,
            const float* scale, const float* shift, const float* residual, int activation, float* y,
            bool past_cache);
ATROUS_SIMD(chunk_gradient_sums, const float* x, const float* dy, long pixels, long channels,
            const float* center, double* sum_dy, double* sum_dyx);
ATROUS_SIMD(chunk_input_gradient, const float* x, const float* dy, long pixels, long channels,
            const float* center, const float* a, const float* b, const float* constant, float* dx,
            bool past_cache);
ATROUS_SIMD(chunk_scale, const float* dy, long pixels, long channels, const float* a, float* dx);

}  // namespace atrous::kernels::simd
