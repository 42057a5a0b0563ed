#pragma once

#include <vector>

#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "atrous/kernels/wgmma_layout.h"

// The implicit matrix product on wgmma, for bf16 on devices of compute capability 9.0 alone: host side.
// wgmma_gemm.cuh is the kernel; plan, problems and pixels are those of implicit_gemm.h, whose kernel on
// mma.sync serves everything else.
//
// A tile is kTilePixels pixels times 128 or 256 outputs; a step of its sum is 64 source channels of one tap.
// TF32 stays on mma.sync: wgmma reads factors of four bytes along the sum only, and the weight of a forward
// convolution [r, s, in, out] lies across it.

namespace atrous::kernels {

/// Channels of the destination in a tile: 256 unless 128 leave less of the last tile idle.
int wgmma_outputs(std::int64_t outputs);
/// The part of the product that a block computes: one block a multiprocessor.
GatherTile wgmma_tile(std::int64_t outputs);

/// Whether the kernel can serve these sizes: those of implicit_gemm, rows at multiples of 16 bytes.
bool can_take_wgmma(Gather direction, const Conv2dDims& dims);
/// Whether it is also the faster one: at least two thirds of the multiplied channels are there.
bool takes_wgmma(Gather direction, const Conv2dDims& dims);

/// The weight [window_h, window_w, in_channels, out_channels] in the boxes that a step copies:
///   forward   64 outputs of 64 source channels: depth rows, kColumns / 64 boxes
///   backward  64 source channels of kColumns outputs: outer rows, one box
TensorBoxes wgmma_weight_boxes(Gather direction, const Conv2dDims& dims, const void* weight);

/// Floats of partial sums of the launches.
std::int64_t wgmma_partial_sums(const std::vector<Gather>& directions, const std::vector<Conv2dDims>& dims);

namespace cuda {

/// implicit_gemm() on wgmma; can_take_wgmma() holds for each problem and all tensors lie at multiples of 16
/// bytes. They go in one direction and have one wgmma_outputs(). `partial` is of wgmma_partial_sums().
void wgmma_gemm(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial);

}  // namespace cuda
}  // namespace atrous::kernels
