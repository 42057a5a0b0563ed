#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// The matrix product of row-major matrices. Convolutions do not come this way: they gather their factors
// themselves, around the same register tile (gemm_tile_simd.h).

namespace atrous::kernels {

/// Sizes of c = op(a) * op(b), where op transposes if asked to.
struct GemmDims {
  std::int64_t rows = 0;     ///< of c and of op(a)
  std::int64_t columns = 0;  ///< of c and of op(b)
  std::int64_t depth = 0;    ///< columns of op(a), rows of op(b): the length of the sums
  bool transpose_a = false;  ///< a is [depth, rows] instead of [rows, depth]
  bool transpose_b = false;  ///< b is [columns, depth] instead of [depth, columns]
  bool allow_tf32 = false;   ///< on CUDA: floats may be cut to 19 bits for the tensor cores
};

/// Elements of T that gemm needs as `workspace`. On CUDA it is what cuBLAS may use to repeat its bits.
template <class T>
std::int64_t gemm_workspace_size(const GemmDims& dims, Device device = kCpu);

/// c[i,j] = sum over d of op(a)[i,d] * op(b)[d,j]; c is [rows, columns], row-major, overwritten. A depth of 0
/// gives zeros. On the CPU float runs on the register tile of the instruction set, double on Eigen, bf16
/// in plain loops; on CUDA all run on cuBLAS, bf16 with sums in float.
ATROUS_KERNEL(gemm, const GemmDims& dims, Span<const T> a, Span<const T> b, Span<T> workspace, Span<T> c);

}  // namespace atrous::kernels
