#pragma once

#include "atrous/kernels/simd.h"

// The loops of optimizer.h over floats, for each instruction set.

namespace atrous::kernels::simd {

/// Elements 0..n-1. `velocity` is null for plain descent.
ATROUS_SIMD(sgd_step, float learning_rate, float momentum, float weight_decay, bool nesterov,
            const float* gradient, float* velocity, float* weight, long n);

/// `factors` are the eight numbers of AdamwFactors in their order.
ATROUS_SIMD(adamw_step, const float* factors, const float* gradient, float* mean, float* square,
            float* weight, long n);

}  // namespace atrous::kernels::simd
