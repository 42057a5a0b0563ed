#include <type_traits>

#include "atrous/kernels/conv2d/branches_in_turn.h"
#ifdef ATROUS_CUDA_EMULATED
#include "atrous/kernels/conv2d/branches_in_turn_body.h"
#endif
#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/conv2d/conv2d_branches.h"
#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "atrous/kernels/conv2d/weight_gemm.h"

// All branches in one launch of the tiled kernels; double, and sizes that they do not serve, in turn.

namespace atrous::kernels::cuda {
namespace {

template <class T>
constexpr bool kTiled = !std::is_same_v<T, double>;

// From the first channel of branch i on.
template <class T>
Span<T> channels_of(const Conv2dBranches& dims, std::size_t i, Span<T> y) {
  const std::int64_t first = y.empty() ? 0 : dims.y_begin + dims.begin_of(i);
  return y.part(first, y.size() - first);
}

}  // namespace

template <class T>
void conv2d_branches_forward(Stream stream, const Conv2dBranches& dims, Span<const T> x,
                             const BranchWeights<T>& weights, const Conv2dEpilogue<T>& epilogue,
                             Span<T> workspace, Span<double> sums, Span<T> y, Span<double> mean,
                             Span<double> var) {
  if (y.empty()) return;
  if constexpr (kTiled<T>)
    if (branches_take_implicit_gemm(Gather::forward, dims.branches, sizeof(T))) {
      std::vector<GatherProblem<T>> problems;
      for (std::size_t i = 0; i < dims.branches.size(); ++i) {
        const Conv2dDims& d = dims.branches[i];
        const auto own = [&](auto of_all) {
          return of_all.empty() ? of_all : of_all.part(dims.begin_of(i), d.out_channels);
        };
        problems.push_back({.direction = Gather::forward,
                            .dims = d,
                            .source = x,
                            .weight = weights[i],
                            .epilogue = {own(epilogue.bias), epilogue.activation},
                            .destination = channels_of(dims, i, y),
                            .mean = own(mean),
                            .var = own(var),
                            .destination_pitch = dims.y_channels});
      }
      if constexpr (std::is_same_v<T, float>)
        implicit_gemm(stream, problems, dims.branches[0].allow_tf32, workspace, sums);
      else
        implicit_gemm(stream, problems, as_accumulators(workspace), sums);
      return;
    }
  branches_forward_in_turn(stream, dims, x, weights, epilogue, workspace, sums, y, mean, var);
}
ATROUS_INSTANTIATE(conv2d_branches_forward);

template <class T>
void conv2d_branches_backward_input(Stream stream, const Conv2dBranches& dims, Span<const T> dy,
                                    const BranchWeights<T>& weights, Span<T> workspace, Span<T> dx) {
  if (dx.empty()) return;
  if constexpr (kTiled<T>)
    if (branches_take_implicit_gemm(Gather::backward_input, dims.branches, sizeof(T))) {
      std::vector<GatherProblem<T>> problems;
      for (std::size_t i = 0; i < dims.branches.size(); ++i)
        problems.push_back({.direction = Gather::backward_input,
                            .dims = dims.branches[i],
                            .source = channels_of(dims, i, dy),
                            .weight = weights[i],
                            .epilogue = {},
                            .destination = dx,
                            .source_pitch = dims.y_channels});
      if constexpr (std::is_same_v<T, float>)
        implicit_gemm_sum(stream, problems, dims.branches[0].allow_tf32, workspace);
      else
        implicit_gemm_sum(stream, problems, as_accumulators(workspace));
      return;
    }
  branches_backward_input_in_turn(stream, dims, dy, weights, workspace, dx);
}
ATROUS_INSTANTIATE(conv2d_branches_backward_input);

template <class T>
void conv2d_branches_backward_weight(Stream stream, const Conv2dBranches& dims, Span<const T> x,
                                     Span<const T> dy, Span<T> workspace,
                                     const std::vector<Span<T>>& dweights) {
  if constexpr (kTiled<T>)
    if (take_one_weight_gemm(dims.branches, sizeof(T))) {
      std::vector<WeightProblem<T>> problems;
      for (std::size_t i = 0; i < dims.branches.size(); ++i)
        problems.push_back({dims.branches[i], x, channels_of(dims, i, dy), dweights[i], dims.y_channels});
      if constexpr (std::is_same_v<T, float>)
        weight_gemm(stream, problems, dims.branches[0].allow_tf32, workspace);
      else
        weight_gemm(stream, problems, as_accumulators(workspace));
      return;
    }
  branches_backward_weight_in_turn(stream, dims, x, dy, workspace, dweights);
}
ATROUS_INSTANTIATE(conv2d_branches_backward_weight);

}  // namespace atrous::kernels::cuda
