#pragma once

#include <algorithm>

#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/conv2d/branches_in_turn.h"
#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/layout/layout.h"

// The functions of branches_in_turn.h. conv2d_branches_cpu.cpp makes them for all; the emulator's programs,
// whose CPU objects may be of a build without CUDA, make their own, which find the CUDA halves.

namespace atrous::kernels {
namespace detail {

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

inline ChannelRunDims run_of(const Conv2dBranches& dims, std::size_t i) {
  const std::int64_t count = dims.branches[i].out_channels;
  return {dims.out_pixels(), count, 0, dims.y_channels, dims.y_begin + dims.begin_of(i), count};
}
// The way back: out of y's channels.
inline ChannelRunDims transposed(const ChannelRunDims& d) {
  return {d.rows, d.y_channels, d.y_begin, d.x_channels, d.x_begin, d.count};
}

inline BatchNormDims outputs_of(const Conv2dDims& d) { return {d.out_pixels(), d.out_channels}; }

}  // namespace detail

template <class T>
std::int64_t branches_in_turn_workspace_size(const Conv2dBranches& dims, Device device) {
  std::int64_t most = 0;
  for (const Conv2dDims& d : dims.branches) {
    const std::int64_t own = std::max({conv2d_forward_workspace_size<T>(d, device),
                                       conv2d_backward_input_workspace_size<T>(d, device),
                                       conv2d_backward_weight_workspace_size<T>(d, device)});
    most = std::max(most, detail::room<T>(d.out_pixels() * d.out_channels) +
                              detail::room<T>(d.in_pixels() * d.in_channels) + own);
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
    const detail::BranchWorkspace<T> own(dims, d, workspace, false);
    Conv2dEpilogue<T> end = epilogue;
    if (!end.bias.empty()) end.bias = epilogue.bias.part(first, d.out_channels);
    conv2d_forward<T>(stream, d, x, weights[i], end, own.rest, own.of_y);
    copy_channels<T>(stream, detail::run_of(dims, i), own.of_y, y);
    if (!mean.empty() && !y.empty())
      batch_norm_statistics<T>(stream, detail::outputs_of(d), own.of_y, sums,
                               mean.part(first, d.out_channels), var.part(first, d.out_channels));
  }
}

template <class T>
void branches_backward_input_in_turn(Stream stream, const Conv2dBranches& dims, Span<const T> dy,
                                     const BranchWeights<T>& weights, Span<T> workspace, Span<T> dx) {
  for (std::size_t i = 0; i < dims.branches.size(); ++i) {
    const Conv2dDims& d = dims.branches[i];
    const detail::BranchWorkspace<T> own(dims, d, workspace, i > 0);
    copy_channels<T>(stream, detail::transposed(detail::run_of(dims, i)), dy, own.of_y);
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
    const detail::BranchWorkspace<T> own(dims, d, workspace, false);
    copy_channels<T>(stream, detail::transposed(detail::run_of(dims, i)), dy, own.of_y);
    conv2d_backward_weight<T>(stream, d, x, own.of_y, own.rest, dweights[i]);
  }
}

}  // namespace atrous::kernels
