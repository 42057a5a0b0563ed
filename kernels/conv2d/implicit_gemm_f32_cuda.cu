#include "atrous/kernels/conv2d/implicit_gemm.cuh"

namespace atrous::kernels::cuda {
namespace {

void run(Stream stream, const std::vector<GatherProblem<float>>& problems,
         const std::vector<TileSchedule>& schedules, bool tf32, Span<float> partial, Span<double> moments) {
  if (tf32)
    run_implicit_gemm<MmaTile>(stream, problems, schedules, partial, moments);
  else
    run_implicit_gemm<FmaTile>(stream, problems, schedules, partial, moments);
}

}  // namespace

void implicit_gemm(Stream stream, const std::vector<GatherProblem<float>>& problems, bool tf32,
                   Span<float> partial, Span<double> moments) {
  run(stream, problems, schedules_of(problems), tf32, partial, moments);
}

void implicit_gemm_sum(Stream stream, const std::vector<GatherProblem<float>>& problems, bool tf32,
                       Span<float> partial) {
  run(stream, problems, sum_schedules_of(problems), tf32, partial, {});
}

}  // namespace atrous::kernels::cuda
