#pragma once

#include <cstdint>
#include <vector>

#include "atrous/kernels/conv2d/conv2d.h"

// Several convolutions of one input, their results side by side in the channels of one output: the branches
// of an ASPP (Chen et al., "Rethinking Atrous Convolution", 2017, section 3.3), whose windows differ in size
// and rate. One of them alone does not fill a GPU: on CUDA each kernel below is one launch for all of them
// (implicit_gemm.h, weight_gemm.h). Where the tiled kernels do not serve the sizes, and on the CPU, the
// convolutions run one after the other (conv2d.h).

namespace atrous::kernels {

/// The convolutions, in the order of their channels. They have batch, in_h, in_w, in_channels, out_h, out_w
/// and allow_tf32 in common, and stride 1. Their channels lie side by side in those of y, from y_begin on;
/// y may have more, which are neither read nor written.
struct Conv2dBranches {
  std::vector<Conv2dDims> branches;  ///< at least one
  std::int64_t y_channels = 0, y_begin = 0;

  std::int64_t out_pixels() const { return branches[0].out_pixels(); }
  /// Of all branches.
  std::int64_t out_channels() const { return begin_of(branches.size()); }
  /// Channels of the branches before branch i.
  std::int64_t begin_of(std::size_t i) const {
    std::int64_t sum = 0;
    for (std::size_t j = 0; j < i; ++j) sum += branches[j].out_channels;
    return sum;
  }
};

/// A weight for each branch, [window_h, window_w, in_channels, out_channels].
template <class T>
using BranchWeights = std::vector<Span<const T>>;

/// Elements of T that the kernels below need as `workspace` on a device, aligned to 16 bytes.
template <class T>
std::int64_t conv2d_branches_forward_workspace_size(const Conv2dBranches& dims, Device device = kCpu);
template <class T>
std::int64_t conv2d_branches_backward_input_workspace_size(const Conv2dBranches& dims, Device device = kCpu);
template <class T>
std::int64_t conv2d_branches_backward_weight_workspace_size(const Conv2dBranches& dims, Device device = kCpu);
/// Doubles that statistics take as `sums`.
template <class T>
std::int64_t conv2d_branches_sums_size(const Conv2dBranches& dims, Device device = kCpu);

/// y[.., y_begin + begin_of(b) + k] = conv2d_forward of branch b.
///
///   x          [batch, in_h, in_w, in_channels]
///   epilogue   of all branches: its bias is [out_channels()] or empty
///   sums       may be empty if mean and var are
///   y          [batch, out_h, out_w, y_channels]; the branches' channels are overwritten
///   mean, var  [out_channels()], statistics of the branches' channels as in conv2d_forward_statistics, or
///              empty if they are not wanted
ATROUS_KERNEL(conv2d_branches_forward, const Conv2dBranches& dims, Span<const T> x,
              const BranchWeights<T>& weights, const Conv2dEpilogue<T>& epilogue, Span<T> workspace,
              Span<double> sums, Span<T> y, Span<double> mean, Span<double> var);

/// dx = the sum over the branches of conv2d_backward_input of each, in their order. One launch rounds that
/// sum to T once; one after the other, it is rounded after each branch.
///
///   dy  [batch, out_h, out_w, y_channels]
ATROUS_KERNEL(conv2d_branches_backward_input, const Conv2dBranches& dims, Span<const T> dy,
              const BranchWeights<T>& weights, Span<T> workspace, Span<T> dx);

/// dweights[b] = conv2d_backward_weight of branch b; an empty one is not wanted.
ATROUS_KERNEL(conv2d_branches_backward_weight, const Conv2dBranches& dims, Span<const T> x, Span<const T> dy,
              Span<T> workspace, const std::vector<Span<T>>& dweights);

}  // namespace atrous::kernels
