#include <algorithm>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/winograd.h"
#include "atrous/kernels/conv2d/winograd_schemes.h"
#include "atrous/kernels/conv2d/winograd_simd.h"
#include "atrous/kernels/streaming_fence.h"

namespace atrous::kernels {

namespace wino = winograd;

std::vector<float> winograd_factors(const WinogradBlocking& b) {
  std::vector<float> factors(std::size_t(9 * b.slot_count));
  for (int pair = 0; pair < 81; ++pair)
    if (const int slot = b.slots[std::size_t(pair)]; slot >= 0)
      for (int t = 0; t < 9; ++t)
        factors[std::size_t(9 * slot + t)] =
            float(wino::g(pair / wino::kRowsOfG, t / 3) * wino::g(pair % wino::kRowsOfG, t % 3));
  return factors;
}

void winograd_pack(const WinogradBlocking& b, Span<const float> weight, Span<float> packed) {
  const std::vector<float> factors = winograd_factors(b);
  constexpr std::int64_t kRows = 16;         // of a panel at a time: nine taps of them stay in the L1 cache
  constexpr std::int64_t kCached = 1 << 22;  // more floats than that would push each other out of the cache
  const Panels panels{b.tile, b.columns};
  const bool past_cache =
      packed.size() > kCached && b.columns % 16 == 0 && std::uintptr_t(packed.data()) % 64 == 0;
  const std::int64_t pieces = (b.depth + kRows - 1) / kRows;  // block_depth is a multiple of kRows
  const std::int64_t grain = grain_of(kRows * b.tile.columns * b.slot_count);
  parallel_for(panels.count() * pieces, grain, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) float taps[9 * kRows * 32];
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t panel = i % panels.count(), row = i / panels.count() * kRows;
      const std::int64_t block = row / b.block_depth, depth = b.depth_of(block);
      const std::int64_t rows = std::min(kRows, b.depth - row), column = panel * b.tile.columns;
      const int width = panels.width(panel);
      const std::int64_t stride = rows * width;
      for (int t = 0; t < 9; ++t) {
        if (b.direction == Gather::forward)
          pack_panel(weight.data() + (t * b.depth + row) * b.columns + column, b.columns, rows,
                     panels.used(panel), width, taps + t * stride);
        else  // the taps of the gradient lie the other way round
          simd::pack_panel_transposed(weight.data() + ((8 - t) * b.columns + column) * b.depth + row, b.depth,
                                      rows, panels.used(panel), width, taps + t * stride);
      }
      float* to = packed.data() + block * b.block_depth * b.slot_count * panels.packed_columns() +
                  column * depth + (row - block * b.block_depth) * width;
      for (int slot = 0; slot < b.slot_count; ++slot)
        simd::winograd_weight(taps, stride, factors.data() + 9 * slot, stride,
                              to + slot * depth * panels.packed_columns(), past_cache);
    }
    if (past_cache) streaming_fence();
  });
}

}  // namespace atrous::kernels
