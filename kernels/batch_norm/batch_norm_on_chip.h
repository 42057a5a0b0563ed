#pragma once

#include <cstddef>

#include "atrous/core/host_device.h"
#include "atrous/kernels/reduce/channel_strips.h"

// How maps are kept on the chip between the two halves of batch norm: batch_norm_on_chip.cuh says more.

namespace atrous::kernels {

/// Vectors of a map that a thread keeps in registers, 4 registers each: of x forward; of x and of the
/// gradient backward.
inline constexpr int kForwardRegisterVectors = 10, kBackwardRegisterVectors = 6;

/// The strips of channel_strips.h, a block each, and what each of its 256 threads keeps.
struct OnChipPlan {
  static constexpr int kThreads = ChannelStrips::kThreads;

  ChannelStrips strips{};
  int whole = 0;                 ///< vectors of 16 bytes that a thread reads of one map, at most
  int shared_vectors = 0;        ///< those of them that lie in shared memory
  std::size_t fold_bytes = 0;    ///< for the sums of the block's threads
  std::size_t shared_bytes = 0;  ///< in all

  ATROUS_HD int working_threads() const { return strips.columns * strips.layers; }
  std::int64_t blocks() const { return strips.strips * strips.tiles; }
  /// Whether the map comes in vectors of 16 bytes.
  bool possible() const { return whole > 0; }
};

/// For `maps` maps of elements of `element_bytes` (4 or 2), of each of which a thread keeps `in_registers`
/// vectors in registers. The strips are those of the kernels in two launches: so are the bits.
inline OnChipPlan plan_on_chip(std::int64_t pixels, std::int64_t channels, int element_bytes, int maps,
                               int in_registers) {
  OnChipPlan plan;
  const int vector = 16 / element_bytes, threads = OnChipPlan::kThreads;
  if (pixels == 0 || channels == 0 || channels % vector != 0) return plan;
  plan.strips = ChannelStrips::of(pixels, channels, vector, strip_pixels(pixels, channels));
  const std::int64_t each = plan.strips.each < pixels ? plan.strips.each : pixels;
  plan.whole = int((each + plan.strips.layers - 1) / plan.strips.layers);
  plan.shared_vectors = plan.whole > in_registers ? plan.whole - in_registers : 0;
  plan.fold_bytes = sizeof(double) * std::size_t(vector * threads + 16);
  plan.shared_bytes =
      plan.fold_bytes + std::size_t(maps) * std::size_t(plan.shared_vectors * plan.working_threads()) * 16;
  return plan;
}

}  // namespace atrous::kernels
