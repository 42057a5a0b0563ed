#include <algorithm>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/winograd.h"
#include "atrous/kernels/conv2d/winograd_schemes.h"
#include "atrous/kernels/conv2d/winograd_simd.h"
#include "atrous/kernels/streaming_fence.h"

namespace atrous::kernels {

namespace wino = winograd;

std::vector<float> winograd_factors(const WinogradCut& cut) {
  std::vector<float> factors(std::size_t(9 * cut.slot_count));
  for (int pair = 0; pair < wino::kRowsOfG * wino::kRowsOfG; ++pair)
    if (const int slot = cut.slots[std::size_t(pair)]; slot >= 0)
      for (int t = 0; t < 9; ++t)
        factors[std::size_t(9 * slot + t)] =
            float(wino::g(pair / wino::kRowsOfG, t / 3) * wino::g(pair % wino::kRowsOfG, t % 3));
  return factors;
}

void winograd_gather_taps(const WinogradBlocking& b, Span<const float> weight, std::int64_t panel,
                          std::int64_t row, std::int64_t rows, float* taps) {
  const Panels panels{b.tile, b.columns};
  const std::int64_t column = panel * b.tile.columns;
  const int width = panels.width(panel), used = panels.used(panel);
  // Of a block: lines of `length` floats of one tap, and how far they lie from each other.
  const bool forward = b.direction == Gather::forward;
  const std::int64_t stride = forward ? b.columns : b.depth;
  const auto corner = [&](std::int64_t at, int t) {  // the taps of the gradient lie the other way round
    return weight.data() + (forward ? (t * b.depth + at) * b.columns + column
                                    : ((8 - t) * b.columns + column) * b.depth + at);
  };
  for (const std::int64_t end = row + rows; row < end; row += kWinogradTapRows) {
    const std::int64_t count = std::min(kWinogradTapRows, end - row);
    for (int t = 0; t < 9; ++t, taps += count * width) {
      if (t < 8 || row + count < end) {  // fetch the tap that is next
        const float* next = t < 8 ? corner(row, t + 1) : corner(row + count, 0);
        const std::int64_t lines = forward ? count : used, length = forward ? used : count;
        for (std::int64_t i = 0; i < lines; ++i)
          for (std::int64_t k = 0; k < length; k += 16) __builtin_prefetch(next + i * stride + k, 0, 2);
      }
      if (forward)
        pack_panel(corner(row, t), stride, count, used, width, taps);
      else
        simd::pack_panel_transposed(corner(row, t), stride, count, used, width, taps);
    }
  }
}

void winograd_transform_taps(const float* taps, std::int64_t rows, int width, const WinogradSlots& slots,
                             std::int64_t to_step, bool past_cache, float* to) {
  for (std::int64_t row = 0; row < rows; row += kWinogradTapRows) {
    const std::int64_t count = std::min(kWinogradTapRows, rows - row);
    simd::winograd_weight(taps + 9 * row * width, count * width, width, count, width, slots.data(),
                          to + row * width, to_step, past_cache);
  }
}

void winograd_pack(const WinogradBlocking& b, Span<const float> weight, Span<float> packed) {
  constexpr std::int64_t kRows = kWinogradTapRows;  // a piece of work; block_depth is a multiple of it
  constexpr std::int64_t kCached = 1 << 22;  // more floats than that would push each other out of the cache
  const Panels panels{b.tile, b.columns};
  const bool past_cache =
      packed.size() > kCached && b.columns % 16 == 0 && std::uintptr_t(packed.data()) % 64 == 0;
  const std::int64_t pieces = (b.depth + kRows - 1) / kRows;
  const std::int64_t grain = grain_of(kRows * b.tile.columns * b.cut.slot_count);
  parallel_for(panels.count() * pieces, grain, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) float taps[9 * kRows * simd::kMostTileColumns];
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t panel = i % panels.count(), row = i / panels.count() * kRows;
      const std::int64_t block = row / b.block_depth, depth = b.depth_of(block);
      const std::int64_t rows = std::min(kRows, b.depth - row);
      float* to = packed.data() + block * b.block_depth * b.cut.slot_count * panels.packed_columns() +
                  panel * b.tile.columns * depth + (row - block * b.block_depth) * panels.width(panel);
      winograd_gather_taps(b, weight, panel, row, rows, taps);
      winograd_transform_taps(taps, rows, panels.width(panel), b.cut.slots, depth * panels.packed_columns(),
                              past_cache, to);
    }
    if (past_cache) streaming_fence();
  });
}

}  // namespace atrous::kernels
