#include "atrous/kernels/conv2d/implicit_gemm.cuh"

namespace atrous::kernels::cuda {

void implicit_gemm(Stream stream, const std::vector<GatherProblem<float>>& problems, bool tf32,
                   Span<float> partial, Span<double> moments) {
  if (tf32)
    run_implicit_gemm<MmaTile>(stream, problems, partial, moments);
  else
    run_implicit_gemm<FmaTile>(stream, problems, partial, moments);
}

}  // namespace atrous::kernels::cuda
