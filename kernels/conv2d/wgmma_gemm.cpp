#include "atrous/kernels/conv2d/wgmma_gemm.h"

namespace atrous::kernels {
namespace {

constexpr int kMultiprocessors = 132;  // of an H200; a constant, so that sums do not depend on the device

std::int64_t rounded_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

std::int64_t source_channels(Gather direction, const Conv2dDims& d) {
  return direction == Gather::forward ? d.in_channels : d.out_channels;
}

}  // namespace

int wgmma_outputs(std::int64_t outputs) {
  return rounded_up(outputs, 256) > rounded_up(outputs, 128) ? 128 : 256;
}

GatherTile wgmma_tile(std::int64_t outputs) {
  return {wgmma_outputs(outputs), kSwizzleElements, true, kMultiprocessors};
}

bool can_take_wgmma(Gather direction, const Conv2dDims& d) {
  return takes_implicit_gemm(direction, d) && d.in_channels % 8 == 0 && d.out_channels % 8 == 0;
}

bool takes_wgmma(Gather direction, const Conv2dDims& d) {
  const std::int64_t channels = source_channels(direction, d), outputs = gather_outputs(direction, d);
  return can_take_wgmma(direction, d) && 3 * channels >= 2 * rounded_up(channels, kSwizzleElements) &&
         3 * outputs >= 2 * rounded_up(outputs, wgmma_outputs(outputs));
}

TensorBoxes wgmma_weight_boxes(Gather direction, const Conv2dDims& d, const void* weight) {
  return boxes_of_rows(
      weight, std::uint64_t(d.taps()), std::uint64_t(d.in_channels), std::uint64_t(d.out_channels),
      direction == Gather::forward ? kSwizzleElements : std::uint32_t(wgmma_outputs(d.in_channels)));
}

std::int64_t wgmma_partial_sums(const std::vector<Gather>& directions, const std::vector<Conv2dDims>& dims) {
  if (dims.empty()) return 0;
  const GatherTile tile = wgmma_tile(gather_outputs(directions[0], dims[0]));
  return implicit_gemm_partial_sums(make_tile_schedules(directions, dims, tile));
}

}  // namespace atrous::kernels
