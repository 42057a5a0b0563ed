#include "atrous/kernels/conv2d/conv2d_branches.h"

#include <algorithm>
#include <type_traits>

#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/conv2d/branches_in_turn.h"
#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "atrous/kernels/conv2d/weight_gemm.h"
#include "atrous/kernels/conv2d/wgmma_gemm.h"
#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/layout/layout.h"

namespace atrous::kernels {
namespace {

// Spans start at multiples of 16 bytes.
template <class T>
std::int64_t room(std::int64_t size) {
  constexpr std::int64_t kAligned = std::max<std::int64_t>(1, 16 / std::int64_t(sizeof(T)));
  return (size + kAligned - 1) / kAligned * kAligned;
}

// The workspace of one branch: its channels of y or dy, its part of dx, and what its own kernel needs.
template <class T>
struct BranchWorkspace {
  Span<T> of_y, of_dx, rest;
  BranchWorkspace(const Conv2dBranches& dims, const Conv2dDims& branch, Span<T> workspace, bool with_dx) {
    const std::int64_t y = dims.out_pixels() * branch.out_channels,
                       dx = with_dx ? branch.in_pixels() * branch.in_channels : 0;
    of_y = workspace.part(0, y);
    of_dx = workspace.part(room<T>(y), dx);
    const std::int64_t used = room<T>(y) + room<T>(dx);
    rest = workspace.part(used, workspace.size() - used);
  }
};

ChannelRunDims run_of(const Conv2dBranches& dims, std::size_t i) {
  const std::int64_t count = dims.branches[i].out_channels;
  return {dims.out_pixels(), count, 0, dims.y_channels, dims.y_begin + dims.begin_of(i), count};
}
// The way back: out of y's channels.
ChannelRunDims transposed(const ChannelRunDims& d) {
  return {d.rows, d.y_channels, d.y_begin, d.x_channels, d.x_begin, d.count};
}

BatchNormDims outputs_of(const Conv2dDims& d) { return {d.out_pixels(), d.out_channels}; }

}  // namespace

template <class T>
std::int64_t branches_in_turn_workspace_size(const Conv2dBranches& dims, Device device) {
  std::int64_t most = 0;
  for (const Conv2dDims& d : dims.branches) {
    const std::int64_t own = std::max({conv2d_forward_workspace_size<T>(d, device),
                                       conv2d_backward_input_workspace_size<T>(d, device),
                                       conv2d_backward_weight_workspace_size<T>(d, device)});
    most = std::max(most,
                    room<T>(d.out_pixels() * d.out_channels) + room<T>(d.in_pixels() * d.in_channels) + own);
  }
  return most;
}

template <class T>
void branches_forward_in_turn(Stream stream, const Conv2dBranches& dims, Span<const T> x,
                              const BranchWeights<T>& weights, const Conv2dEpilogue<T>& epilogue,
                              Span<T> workspace, Span<double> sums, Span<T> y, Span<double> mean,
                              Span<double> var) {
  for (std::size_t i = 0; i < dims.branches.size(); ++i) {
    const Conv2dDims& d = dims.branches[i];
    const std::int64_t first = dims.begin_of(i);
    const BranchWorkspace<T> own(dims, d, workspace, false);
    Conv2dEpilogue<T> end = epilogue;
    if (!end.bias.empty()) end.bias = epilogue.bias.part(first, d.out_channels);
    conv2d_forward<T>(stream, d, x, weights[i], end, own.rest, own.of_y);
    copy_channels<T>(stream, run_of(dims, i), own.of_y, y);
    if (!mean.empty() && !y.empty())
      batch_norm_statistics<T>(stream, outputs_of(d), own.of_y, sums, mean.part(first, d.out_channels),
                               var.part(first, d.out_channels));
  }
}

template <class T>
void branches_backward_input_in_turn(Stream stream, const Conv2dBranches& dims, Span<const T> dy,
                                     const BranchWeights<T>& weights, Span<T> workspace, Span<T> dx) {
  for (std::size_t i = 0; i < dims.branches.size(); ++i) {
    const Conv2dDims& d = dims.branches[i];
    const BranchWorkspace<T> own(dims, d, workspace, i > 0);
    copy_channels<T>(stream, transposed(run_of(dims, i)), dy, own.of_y);
    conv2d_backward_input<T>(stream, d, own.of_y, weights[i], own.rest, i > 0 ? own.of_dx : dx);
    if (i > 0) add_forward<T>(stream, dx, own.of_dx, dx);
  }
}

template <class T>
void branches_backward_weight_in_turn(Stream stream, const Conv2dBranches& dims, Span<const T> x,
                                      Span<const T> dy, Span<T> workspace,
                                      const std::vector<Span<T>>& dweights) {
  for (std::size_t i = 0; i < dims.branches.size(); ++i) {
    if (dweights[i].empty()) continue;
    const Conv2dDims& d = dims.branches[i];
    const BranchWorkspace<T> own(dims, d, workspace, false);
    copy_channels<T>(stream, transposed(run_of(dims, i)), dy, own.of_y);
    conv2d_backward_weight<T>(stream, d, x, own.of_y, own.rest, dweights[i]);
  }
}
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
    most = std::max(most, batch_norm_sums_size(outputs_of(d), device));
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
  branches_forward_in_turn(stream, dims, x, weights, epilogue, workspace, sums, y, mean, var);
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
