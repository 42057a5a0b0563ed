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

/// A coarse row's planes, readable for a vector behind the last column, stretched to fine columns, whose
/// arrays hold whole vectors: what is behind the last repeats it. fine[c * fine_stride + p], whole vectors.
ATROUS_SIMD(stretch_row, const float* planes, long stride, const ResizeColumns& columns, long classes,
            long fine_stride, float* fine);

inline constexpr long kUpsampleRows = 4;  ///< their exponentials stay in the L1 cache, of 64 classes too

/// Some columns of fine rows between the same two coarse rows. Planes are `stride` apart and hold whole
/// vectors.
struct UpsampleRows {
  const float *upper = nullptr, *lower = nullptr;  ///< planes: the coarse rows' logits, stretched
  long classes, stride;
  long rows, columns, out_w;              ///< rows <= kUpsampleRows, out_w pixels apart
  const std::int32_t* targets;            ///< -1: none
  const float* scales;                    ///< of each pixel's loss
  float row_weights[kUpsampleRows] = {};  ///< of the lower coarse row
  float* upper_gradient = nullptr;  ///< planes: the gradients times 1 - row_weight are added; null for none
  float* lower_gradient = nullptr;  ///< times row_weight; null where all row_weights are 0
};
/// The sum of scales times losses, over pixels of a scale other than 0.
ATROUS_SIMD_RESULT(double, upsample_rows, const UpsampleRows& rows);

}  // namespace atrous::kernels::simd
