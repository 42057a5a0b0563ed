#pragma once

#include <cstdint>

#include "atrous/kernels/simd.h"

// The loops of softmax.h and cross_entropy.h over floats, for each instruction set: a lane a pixel, logits
// class by class in a buffer on the stack, which is what limits the classes.

namespace atrous::kernels::simd {

inline constexpr long kMostClasses = 512;

/// softmax_forward, or log_softmax_forward.
ATROUS_SIMD(softmax, long pixels, long classes, bool logarithm, const float* x, float* y);

/// argmax_channels; the pointer that is not null is written.
ATROUS_SIMD(argmax, long pixels, long classes, const float* x, std::uint8_t* labels8, std::int32_t* labels32);

/// The sum of scales[p] times the loss of pixel p, over pixels of a scale other than 0. Each of `losses` (the
/// losses without their scales, 0 where targets[p] is -1) and `dlogits` is written unless it is null.
/// `scales` may be null: all 1. With `stream` whole lines of dlogits, which is aligned to 64 bytes, may go
/// past the cache; streaming_fence() afterwards.
ATROUS_SIMD_RESULT(double, cross_entropy, long pixels, long classes, const float* logits,
                   const std::int32_t* targets, const float* scales, float* losses, bool stream,
                   float* dlogits);

}  // namespace atrous::kernels::simd
