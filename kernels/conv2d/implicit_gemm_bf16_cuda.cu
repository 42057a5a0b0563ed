#include "atrous/kernels/conv2d/implicit_gemm.cuh"

namespace atrous::kernels::cuda {

void implicit_gemm(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial,
                   Span<double> moments) {
  run_implicit_gemm<MmaTile>(stream, problems, partial, moments);
}

}  // namespace atrous::kernels::cuda
