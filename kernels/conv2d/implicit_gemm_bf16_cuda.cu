#include "atrous/kernels/conv2d/implicit_gemm.cuh"
#include "atrous/kernels/conv2d/wgmma_trial.h"

namespace atrous::kernels::cuda {

void mma_gemm(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial,
              Span<double> moments) {
  run_implicit_gemm<MmaTile>(stream, problems, schedules_of(problems), partial, moments);
}

void implicit_gemm(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial,
                   Span<double> moments) {
  if (!run_on_wgmma(stream, problems, partial, moments)) mma_gemm(stream, problems, partial, moments);
}

void implicit_gemm_sum(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial) {
  run_implicit_gemm<MmaTile>(stream, problems, sum_schedules_of(problems), partial, {});
}

}  // namespace atrous::kernels::cuda
