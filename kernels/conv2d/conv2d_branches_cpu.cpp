#include "atrous/kernels/conv2d/conv2d_branches.h"

#include <algorithm>
#include <type_traits>

#include "atrous/kernels/conv2d/branches_in_turn_body.h"
#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "atrous/kernels/conv2d/weight_gemm.h"
#include "atrous/kernels/conv2d/wgmma_gemm.h"

namespace atrous::kernels {

ATROUS_INSTANTIATE(branches_in_turn_workspace_size);
ATROUS_INSTANTIATE(branches_forward_in_turn);
ATROUS_INSTANTIATE(branches_backward_input_in_turn);
ATROUS_INSTANTIATE(branches_backward_weight_in_turn);

namespace {

template <class T>
bool in_one_launch(Gather direction, const Conv2dBranches& dims, Device device) {
  return !device.is_cpu() && !std::is_same_v<T, double> &&
         branches_take_implicit_gemm(direction, dims.branches, int(sizeof(T)));
}

// y from a channel of its first pixel on.
template <class T>
Span<T> from_channel(Span<T> y, std::int64_t channel) {
  return y.empty() ? y : y.part(channel, y.size() - channel);
}

}  // namespace

template <class T>
std::int64_t conv2d_branches_forward_workspace_size(const Conv2dBranches& dims, Device device) {
  if (!in_one_launch<T>(Gather::forward, dims, device))
    return branches_in_turn_workspace_size<T>(dims, device);
  std::int64_t sums =
      implicit_gemm_partial_sums(branch_schedules(Gather::forward, dims.branches, int(sizeof(T))));
  if constexpr (std::is_same_v<T, bf16>) {
    const std::vector<Gather> directions(dims.branches.size(), Gather::forward);
    sums = std::max(sums, wgmma_partial_sums(directions, dims.branches));
  }
  return accumulator_room<T>(sums);
}
template <class T>
std::int64_t conv2d_branches_sums_size(const Conv2dBranches& dims, Device device) {
  if (in_one_launch<T>(Gather::forward, dims, device))
    return implicit_gemm_moments(branch_schedules(Gather::forward, dims.branches, int(sizeof(T))));
  std::int64_t most = 0;
  for (const Conv2dDims& d : dims.branches)
    most = std::max(most, batch_norm_sums_size(detail::outputs_of(d), device));
  return most;
}
template <class T>
std::int64_t conv2d_branches_backward_input_workspace_size(const Conv2dBranches& dims, Device device) {
  if (!in_one_launch<T>(Gather::backward_input, dims, device))
    return branches_in_turn_workspace_size<T>(dims, device);
  return accumulator_room<T>(
      implicit_gemm_partial_sums(branch_schedules(Gather::backward_input, dims.branches, int(sizeof(T)))));
}
template <class T>
std::int64_t conv2d_branches_backward_weight_workspace_size(const Conv2dBranches& dims, Device device) {
  if (device.is_cpu() || std::is_same_v<T, double> || !take_one_weight_gemm(dims.branches, int(sizeof(T))))
    return branches_in_turn_workspace_size<T>(dims, device);
  std::int64_t sum = 0;
  const std::vector<WeightGemmPlan> plans = weight_gemm_plans(dims.branches, int(sizeof(T)));
  for (std::size_t i = 0; i < plans.size(); ++i) sum += plans[i].partial_sums(dims.branches[i]);
  return accumulator_room<T>(sum);
}
ATROUS_INSTANTIATE(conv2d_branches_forward_workspace_size);
ATROUS_INSTANTIATE(conv2d_branches_sums_size);
ATROUS_INSTANTIATE(conv2d_branches_backward_input_workspace_size);
ATROUS_INSTANTIATE(conv2d_branches_backward_weight_workspace_size);

namespace cpu {

template <class T>
void conv2d_branches_forward(Stream stream, const Conv2dBranches& dims, Span<const T> x,
                             const BranchWeights<T>& weights, const Conv2dEpilogue<T>& epilogue,
                             Span<T> workspace, Span<double> sums, Span<T> y, Span<double> mean,
                             Span<double> var) {
  if (!mean.empty())
    return branches_forward_in_turn(stream, dims, x, weights, epilogue, workspace, sums, y, mean, var);
  for (std::size_t i = 0; i < dims.branches.size(); ++i) {  // each straight into its channels
    const std::int64_t first = dims.begin_of(i), channels = dims.branches[i].out_channels;
    Conv2dEpilogue<T> end = epilogue;
    end.y_channels = dims.y_channels;
    if (!end.bias.empty()) end.bias = epilogue.bias.part(first, channels);
    conv2d_forward<T>(stream, dims.branches[i], x, weights[i], end, workspace,
                      from_channel(y, dims.y_begin + first));
  }
}
ATROUS_INSTANTIATE(conv2d_branches_forward);

template <class T>
void conv2d_branches_backward_input(Stream stream, const Conv2dBranches& dims, Span<const T> dy,
                                    const BranchWeights<T>& weights, Span<T> workspace, Span<T> dx) {
  branches_backward_input_in_turn(stream, dims, dy, weights, workspace, dx);
}
ATROUS_INSTANTIATE(conv2d_branches_backward_input);

template <class T>
void conv2d_branches_backward_weight(Stream stream, const Conv2dBranches& dims, Span<const T> x,
                                     Span<const T> dy, Span<T> workspace,
                                     const std::vector<Span<T>>& dweights) {
  branches_backward_weight_in_turn(stream, dims, x, dy, workspace, dweights);
}
ATROUS_INSTANTIATE(conv2d_branches_backward_weight);

}  // namespace cpu
}  // namespace atrous::kernels
