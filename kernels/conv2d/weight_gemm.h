#pragma once

#include <cstdint>
#include <vector>

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

  /// `beside`: tiles of other convolutions in the same launch.
  WeightGemmPlan(const Conv2dDims& dims, int element_bytes, std::int64_t beside = 0);
  /// Of all products.
  std::int64_t tiles(const Conv2dDims& dims) const {
    return row_tiles * column_tiles * (by_tap ? dims.taps() : 1);
  }
  /// Pixels that tap (r, s) multiplies.
  static std::int64_t pixels(const Conv2dDims& dims, std::int64_t r, std::int64_t s);
  /// Floats of partial sums.
  std::int64_t partial_sums(const Conv2dDims& dims) const;
};

/// Whether the kernel serves these sizes.
bool takes_weight_gemm(const Conv2dDims& dims);

/// Convolutions that a launch at most holds.
inline constexpr int kWeightProblems = 4;

/// The plans of several convolutions in one launch.
std::vector<WeightGemmPlan> weight_gemm_plans(const std::vector<Conv2dDims>& dims, int element_bytes);
/// Whether one launch serves them: they want the same tile.
bool take_one_weight_gemm(const std::vector<Conv2dDims>& dims, int element_bytes);

/// One weight gradient.
template <class T>
struct WeightProblem {
  Conv2dDims dims;
  Span<const T> x, dy;
  Span<T> dweight;            ///< empty: not wanted
  std::int64_t dy_pitch = 0;  ///< elements from one pixel to the next where dy has other channels too
};

namespace cuda {

/// Each dweight from its x and dy, in one launch; take_one_weight_gemm() holds. `tf32` lets floats be rounded
/// to TF32; `partial` has the partial sums of all plans.
void weight_gemm(Stream stream, const std::vector<WeightProblem<float>>& problems, bool tf32,
                 Span<float> partial);
void weight_gemm(Stream stream, const std::vector<WeightProblem<bf16>>& problems, Span<float> partial);

}  // namespace cuda
}  // namespace atrous::kernels
