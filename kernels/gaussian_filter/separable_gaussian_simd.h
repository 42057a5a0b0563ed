#pragma once

#include "atrous/kernels/simd.h"

namespace atrous::kernels::simd {

/// to[j] = sum over k in first..last of weights[k] from[j + k step], j in 0..n-1; weights[-k] = weights[k].
ATROUS_SIMD(gaussian_taps, long n, long first, long last, long step, const float* weights, const float* from,
            float* to);

}  // namespace atrous::kernels::simd
