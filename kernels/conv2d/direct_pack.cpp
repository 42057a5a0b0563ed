#include <algorithm>
#include <vector>

#include "atrous/core/cpu_isa.h"
#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/direct.h"
#include "atrous/kernels/conv2d/in_place.h"
#include "atrous/kernels/conv2d/pointwise.h"
#include "atrous/kernels/conv2d/window_pack_simd.h"
#include "atrous/kernels/gemm/panels.h"

namespace atrous::kernels {
namespace {

constexpr std::int64_t kBlockDepth = 256;    // an A tile and a panel of B of it share the L1 cache
constexpr std::int64_t kBlockColumns = 512;  // their sums leave half of the L2 cache to A and the weights
constexpr std::int64_t kFewChannels = 16;    // up to here whole windows are summed at once
constexpr std::int64_t kPairedChannels = 32, kPairedWeights = 2048;  // by then rounding a tile is repaid

}  // namespace

bool window_sums(const Conv2dDims& d) {
  return d.taps() > 1 && d.in_channels <= kFewChannels && d.taps() * d.in_channels <= simd::kLongestWindow;
}

bool takes_bf16_pairs(Gather direction, const Conv2dDims& d) {
  return d.allow_bf16 && !d.exact && direction == Gather::forward && d.in_channels >= kPairedChannels &&
         d.in_channels * d.out_channels >= kPairedWeights && cpu_multiplies_bf16();
}

DirectBlocking::DirectBlocking(Gather way, const Conv2dDims& d) : tile(simd::tile_shape()), direction(way) {
  const bool forward = direction == Gather::forward;
  channels = forward ? d.in_channels : d.out_channels;
  const std::int64_t row = d.window_w * channels;
  columns = forward ? d.out_channels : d.in_channels;
  pairs = takes_bf16_pairs(direction, d);
  in_place = !pairs && reads_in_place(direction, d);
  phases = in_place && !forward && !is_pointwise(d);
  windows = forward && !in_place && window_sums(d);
  if (in_place) {
    taps = 1, depth = d.taps() * channels, window_rows = d.window_h;
    block_depth = round_up(depth, simd::kChunk);
  } else if (windows) {
    taps = 1, depth = d.taps() * channels;
    window_rows = std::clamp<std::int64_t>(kBlockDepth * 3 / 2 / row, 1, d.window_h);
    block_depth = window_rows * row;
  } else {
    taps = d.taps(), depth = pairs ? (channels + 1) / 2 : channels, window_rows = 0;
    const std::int64_t blocks = std::max<std::int64_t>(1, (depth + kBlockDepth / 2) / kBlockDepth);
    block_depth = round_up((depth + blocks - 1) / blocks, simd::kChunk);  // 2/3 to 3/2 of what is wanted
  }
  depth_blocks = (depth + block_depth - 1) / block_depth;
  block_columns = round_up(columns, tile.columns);
  if (!in_place) block_columns = std::min(block_columns, kBlockColumns);
  block_tiles = kDirectBlockRows / tile.rows;
}

std::int64_t DirectBlocking::packed_size() const { return taps * depth * round_up(columns, tile.lanes); }
std::int64_t DirectBlocking::a_size() const {
  return block_tiles * tile.rows * round_up(block_depth, simd::kChunk);
}
std::int64_t DirectBlocking::sums_size() const { return block_tiles * tile.rows * block_columns; }

namespace {

// [phase][panel][tap of the phase][depth][column]
void pack_phases(const DirectBlocking& b, const Conv2dDims& d, Span<const float> weight, Span<float> packed) {
  const Panels panels{b.tile, b.columns};
  const std::vector<InPlacePhase> phases = in_place_phases(b, d);
  const std::int64_t count = std::int64_t(phases.size()) * panels.count();
  parallel_for(count, grain_of(packed.size() / count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const InPlacePhase& p = phases[std::size_t(i / panels.count())];
      const std::int64_t panel = i % panels.count(), column = panel * b.tile.columns;
      float* to = packed.data() + p.packed + column * p.h.taps * p.w.taps * d.out_channels;
      for (std::int64_t r = p.h.taps - 1; r >= 0; --r)
        for (std::int64_t s = p.w.taps - 1; s >= 0; --s, to += d.out_channels * panels.width(panel)) {
          const std::int64_t tap = (p.h.tap + r * d.stride.h) * d.window_w + p.w.tap + s * d.stride.w;
          simd::pack_panel_transposed(weight.data() + (tap * b.columns + column) * d.out_channels,
                                      d.out_channels, d.out_channels, panels.used(panel), panels.width(panel),
                                      to);
        }
    }
  });
}

}  // namespace

void direct_pack(const DirectBlocking& b, const Conv2dDims& d, Span<const float> weight, Span<float> packed) {
  if (b.phases) return pack_phases(b, d, weight, packed);
  const std::int64_t panels = Panels{b.tile, b.columns}.count(), steps = b.depth_blocks * b.taps;
  const std::int64_t grain = grain_of(b.block_depth * b.tile.columns);
  parallel_for(panels * steps, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t panel = i % panels, tap = i / panels % b.taps, block = i / panels / b.taps;
      const std::int64_t column = panel * b.tile.columns;
      const std::int64_t first = column / b.block_columns * b.block_columns;  // of the block of columns
      const Panels here{b.tile, std::min(b.block_columns, b.columns - first)};
      const std::int64_t local = (column - first) / b.tile.columns, depth = b.depth_of(block);
      float* to = packed.data() + first * b.taps * b.depth +
                  (block * b.block_depth * b.taps + tap * depth) * here.packed_columns() +
                  local * b.tile.columns * depth;
      const std::int64_t row = block * b.block_depth;
      if (b.pairs)
        pack_panel_pairs(weight.data() + (tap * b.channels + b.first_channel(block)) * b.columns + column,
                         b.columns, b.channels_of(block), here.used(local), here.width(local), to);
      else if (b.direction == Gather::forward)
        pack_panel(weight.data() + (tap * b.depth + row) * b.columns + column, b.columns, depth,
                   here.used(local), here.width(local), to);
      else
        simd::pack_panel_transposed(weight.data() + (tap * b.columns + column) * b.depth + row,
                                    d.out_channels, depth, here.used(local), here.width(local), to);
    }
  });
}

}  // namespace atrous::kernels
