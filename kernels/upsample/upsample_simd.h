#pragma once

#include <cstdint>

#include "atrous/kernels/resize/resize_simd.h"
#include "atrous/kernels/simd.h"

// The loops of upsample_fast.cpp over maps that lie by classes ("planes"): a lane is a pixel from the coarse
// logits to the gradient, and nothing is transposed in between.

namespace atrous::kernels::simd {

inline constexpr long kMostPlaneClasses = 64;  ///< more would not stay in the L1 cache

/// planes[c * stride + p] = pixels[p * classes + c], for p < count; what lies behind, up to a whole vector,
/// is of no meaning.
ATROUS_SIMD(pixels_to_planes, const float* pixels, long count, long classes, long stride, float* planes);
/// The way back.
ATROUS_SIMD(planes_to_pixels, const float* planes, long count, long classes, long stride, float* pixels);

/// Some columns of one fine row.
struct UpsampleRow {
  const float* logits;  ///< between two coarse rows: planes, readable for a vector behind the last column
  long stride, classes;
  ResizeColumns columns;        ///< arrays that hold whole vectors: what is behind the last repeats it
  const std::int32_t* targets;  ///< -1: none
  const float* scales;
  float row_weight;  ///< of the lower coarse row
  float* upper;      ///< planes: the fine gradients times 1 - row_weight are added; null for none
  float* lower;      ///< times row_weight
  long fine_stride;  ///< of `upper` and `lower`, in whole vectors
};
/// The sum of scales times losses, over pixels of a scale other than 0.
ATROUS_SIMD_RESULT(double, upsample_row, const UpsampleRow& row);

}  // namespace atrous::kernels::simd
