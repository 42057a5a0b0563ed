#pragma once

#include "atrous/kernels/conv2d/conv2d_branches.h"

// The kernels of conv2d_branches.h on any device, by the kernels of conv2d.h one after the other: the CPU's
// way, CUDA's where a size does not fit the tiled kernels, and what one launch is compared with.

namespace atrous::kernels {

/// Elements of T in the workspace: the largest that a branch needs beside the copies of its channels of y and
/// of dx.
template <class T>
std::int64_t branches_in_turn_workspace_size(const Conv2dBranches& dims, Device device);

template <class T>
void branches_forward_in_turn(Stream stream, const Conv2dBranches& dims, Span<const T> x,
                              const BranchWeights<T>& weights, const Conv2dEpilogue<T>& epilogue,
                              Span<T> workspace, Span<double> sums, Span<T> y, Span<double> mean,
                              Span<double> var);
template <class T>
void branches_backward_input_in_turn(Stream stream, const Conv2dBranches& dims, Span<const T> dy,
                                     const BranchWeights<T>& weights, Span<T> workspace, Span<T> dx);
template <class T>
void branches_backward_weight_in_turn(Stream stream, const Conv2dBranches& dims, Span<const T> x,
                                      Span<const T> dy, Span<T> workspace,
                                      const std::vector<Span<T>>& dweights);

}  // namespace atrous::kernels
