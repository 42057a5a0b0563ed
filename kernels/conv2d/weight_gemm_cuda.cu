#include "atrous/kernels/conv2d/weight_gemm.cuh"

namespace atrous::kernels::cuda {

void weight_gemm(Stream stream, const std::vector<WeightProblem<float>>& problems, bool tf32,
                 Span<float> partial) {
  if (tf32)
    run_weight_gemm<MmaTile>(stream, problems, partial);
  else
    run_weight_gemm<FmaTile>(stream, problems, partial);
}

void weight_gemm(Stream stream, const std::vector<WeightProblem<bf16>>& problems, Span<float> partial) {
  run_weight_gemm<MmaTile>(stream, problems, partial);
}

}  // namespace atrous::kernels::cuda
