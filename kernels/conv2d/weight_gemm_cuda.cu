#include "atrous/kernels/conv2d/weight_gemm.cuh"

namespace atrous::kernels::cuda {

void weight_gemm(Stream stream, const Conv2dDims& dims, Span<const float> x, Span<const float> dy, bool tf32,
                 Span<float> partial, Span<float> dweight) {
  if (tf32)
    run_weight_gemm<MmaTile>(stream, dims, x, dy, partial, dweight);
  else
    run_weight_gemm<FmaTile>(stream, dims, x, dy, partial, dweight);
}

void weight_gemm(Stream stream, const Conv2dDims& dims, Span<const bf16> x, Span<const bf16> dy,
                 Span<float> partial, Span<bf16> dweight) {
  run_weight_gemm<MmaTile>(stream, dims, x, dy, partial, dweight);
}

}  // namespace atrous::kernels::cuda
