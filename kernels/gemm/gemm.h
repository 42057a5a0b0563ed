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

/// What is done to c before it is written: c = max(sum + bias, 0), or without one or both. NaN stays NaN on
/// the CPU; cuBLASLt's max(x, 0) may make it 0.
template <class T>
struct GemmEpilogue {
  Span<const T> bias = {};  ///< [columns], or empty for none
  bool relu = false;

  bool empty() const { return bias.empty() && !relu; }
};

/// Bytes that cuBLAS takes at most, by its manual: 32 MiB on Hopper, less elsewhere.
inline constexpr std::int64_t kCublasWorkspace = std::int64_t(32) << 20;

/// Elements of T that both kernels need as `workspace`. On CUDA it is what cuBLAS may use to repeat its bits.
template <class T>
std::int64_t gemm_workspace_size(const GemmDims& dims, Device device = kCpu);

/// c[i,j] = sum over d of op(a)[i,d] * op(b)[d,j]; c is [rows, columns], row-major, overwritten. A depth of 0
/// gives zeros. On the CPU float runs on the register tile of the instruction set, double on Eigen, bf16 in
/// plain loops. On CUDA float and bf16 run on cuBLASLt (gemm_lt.h), with sums in float, double on cuBLAS.
ATROUS_KERNEL(gemm, const GemmDims& dims, Span<const T> a, Span<const T> b, Span<T> workspace, Span<T> c);

/// The same with an epilogue: on CUDA, in float and bf16, in the same pass over c.
ATROUS_KERNEL(gemm_with_epilogue, const GemmDims& dims, Span<const T> a, Span<const T> b,
              const GemmEpilogue<T>& epilogue, Span<T> workspace, Span<T> c);

}  // namespace atrous::kernels
