#pragma once

#include <cstdint>

#include "atrous/kernels/conv2d/conv2d_body.h"

// The weight gradient on CUDA as a matrix product, host side: weight_gemm.cuh is the kernel.
//
// Rows are channels of x, columns channels of dy, and the sum runs over the output pixels whose tap lies
// inside of the map: a rectangle for each tap, so pixels that read padding are not multiplied. The sum is cut
// into slices of equal length, a block each; their partial sums lie in the workspace and are added up in
// order. The cut follows from the sizes alone.

namespace atrous::kernels {

struct WeightGemmPlan {
  bool by_tap;  ///< a product for each tap; else (few channels) one whose rows are taps times channels
  int tile;     ///< rows and columns of a tile: 128, or 64 where that would be mostly idle, or in exact f32
  std::int64_t row_tiles, column_tiles;
  std::int64_t slice;   ///< pixels of a slice, a multiple of 32
  std::int64_t slices;  ///< of the tap with the most pixels

  WeightGemmPlan(const Conv2dDims& dims, int element_bytes);
  /// Pixels that tap (r, s) multiplies.
  static std::int64_t pixels(const Conv2dDims& dims, std::int64_t r, std::int64_t s);
  /// Floats of partial sums.
  std::int64_t partial_sums(const Conv2dDims& dims) const;
};

/// Whether the kernel serves these sizes.
bool takes_weight_gemm(const Conv2dDims& dims);

namespace cuda {

/// dweight from x and dy; takes_weight_gemm() holds. `tf32` lets floats be rounded to TF32.
void weight_gemm(Stream stream, const Conv2dDims& dims, Span<const float> x, Span<const float> dy, bool tf32,
                 Span<float> partial, Span<float> dweight);
void weight_gemm(Stream stream, const Conv2dDims& dims, Span<const bf16> x, Span<const bf16> dy,
                 Span<float> partial, Span<bf16> dweight);

}  // namespace cuda
}  // namespace atrous::kernels
