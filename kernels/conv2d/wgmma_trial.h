#pragma once

#include <functional>
#include <string>
#include <vector>

#include "atrous/kernels/conv2d/wgmma_gemm.h"

// Which convolutions go to the kernel on wgmma. It needs a device of compute capability 9.0, and no machine
// that builds the library has one: so each of its variants first computes a few small convolutions beside the
// kernel on mma.sync, and where one element differs, or the kernel cannot be started, mma.sync serves for the
// rest of the process, with one line of warning.
//
// ATROUS_CUDA_CONV in the environment: "mma" forbids wgmma; "wgmma" demands it wherever the kernel can serve,
// also where mma.sync is expected to be as fast (the check stays).

namespace atrous::kernels {

/// The convolutions of the check of the variant of this direction and so many outputs a tile, those of one
/// call in one list. Together: taps in the padding, pixels that see padding only, tails of pixels, channels
/// and outputs, strides and rates that differ by axis, sums cut into slices, several problems in a launch,
/// and more tiles than there are multiprocessors.
std::vector<std::vector<Conv2dDims>> wgmma_trials(Gather direction, int outputs, int multiprocessors);

/// Where two results of one convolution differ by more than a unit in the last place of bf16 (|a - b| > |b| /
/// 128) or one is not a number: "element 17 of 640 is 3, not 2.5". Empty if nowhere. The factors are eighths,
/// so all sums are exact in f32, in whatever order, and only the rounding of the result is left.
std::string first_difference(Span<const bf16> got, Span<const bf16> expected);

namespace cuda {

using GatherKernel =
    std::function<void(Stream, const std::vector<GatherProblem<bf16>>&, Span<float> partial)>;

/// Runs `trials` through both kernels on the device of `stream` and compares: why `kernel` may not be used,
/// or nothing. A launch that fails and leaves the device usable is such a reason; an error that stays is
/// thrown, for nothing can be computed there any more. Allocates (MemoryError if it cannot), and waits for
/// the stream.
std::string try_gather_kernel(Stream stream, Gather direction,
                              const std::vector<std::vector<Conv2dDims>>& trials, const GatherKernel& kernel,
                              const GatherKernel& reference);

/// Computes these problems by wgmma_gemm() and returns true, or does nothing: they do not suit it, the device
/// is another, or the kernel has failed its check there. Statistics are taken from the finished destination.
/// Throws ValueError for an unknown ATROUS_CUDA_CONV, DeviceError if it demands wgmma on another device.
bool run_on_wgmma(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial,
                  Span<double> moments);

}  // namespace cuda
}  // namespace atrous::kernels
