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

void winograd_fetch_weight(const WinogradBlocking& b, Span<const float> weight, std::int64_t panel,
                           std::int64_t row, std::int64_t rows, std::int64_t part, std::int64_t parts) {
  const std::int64_t column = panel * b.tile.columns;
  const int used = Panels{b.tile, b.columns}.used(panel);
  if (b.direction == Gather::forward) {
    for (std::int64_t i = 9 * rows * part / parts; i < 9 * rows * (part + 1) / parts; ++i) {
      const float* line = weight.data() + (i / rows * b.depth + row + i % rows) * b.columns + column;
      for (int k = 0; k < used; k += 16) __builtin_prefetch(line + k, 0, 2);
    }
  } else {
    for (std::int64_t i = 9 * used * part / parts; i < 9 * used * (part + 1) / parts; ++i) {
      const float* line = weight.data() + (i / used * b.columns + column + i % used) * b.depth + row;
      for (std::int64_t k = 0; k < rows; k += 16) __builtin_prefetch(line + k, 0, 2);
    }
  }
}

void winograd_transform_weight(const WinogradBlocking& b, Span<const float> weight, std::int64_t panel,
                               std::int64_t row, std::int64_t rows, const WinogradSlots& slots,
                               std::int64_t to_step, bool past_cache, float* to) {
  constexpr std::int64_t kRows = 16;  // at a time: nine taps of them stay in the L1 cache
  const Panels panels{b.tile, b.columns};
  const std::int64_t column = panel * b.tile.columns, tap = b.depth * b.columns;
  const int width = panels.width(panel), used = panels.used(panel);
  const bool forward = b.direction == Gather::forward;
  if (forward && used == width)
    return simd::winograd_weight(weight.data() + row * b.columns + column, tap, b.columns, rows, width,
                                 slots.data(), to, to_step, past_cache);
  for (const std::int64_t end = row + rows; row < end; row += kRows, to += kRows * width) {
    const std::int64_t count = std::min(kRows, end - row);
    alignas(64) float taps[9 * kRows * 32];
    for (int t = 0; t < 9; ++t) {
      if (forward)
        pack_panel(weight.data() + t * tap + row * b.columns + column, b.columns, count, used, width,
                   taps + t * count * width);
      else  // the taps of the gradient lie the other way round
        simd::pack_panel_transposed(weight.data() + (8 - t) * tap + column * b.depth + row, b.depth, count,
                                    used, width, taps + t * count * width);
    }
    simd::winograd_weight(taps, count * width, width, count, width, slots.data(), to, to_step, past_cache);
  }
}

void winograd_pack(const WinogradBlocking& b, Span<const float> weight, Span<float> packed) {
  constexpr std::int64_t kRows = 16;         // a piece of work; block_depth is a multiple of it
  constexpr std::int64_t kCached = 1 << 22;  // more floats than that would push each other out of the cache
  const Panels panels{b.tile, b.columns};
  const bool past_cache =
      packed.size() > kCached && b.columns % 16 == 0 && std::uintptr_t(packed.data()) % 64 == 0;
  const std::int64_t pieces = (b.depth + kRows - 1) / kRows;
  const std::int64_t grain = grain_of(kRows * b.tile.columns * b.cut.slot_count);
  parallel_for(panels.count() * pieces, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t panel = i % panels.count(), row = i / panels.count() * kRows;
      if (const std::int64_t next = (i + 1) / panels.count() * kRows; i + 1 < end)
        winograd_fetch_weight(b, weight, (i + 1) % panels.count(), next, std::min(kRows, b.depth - next), 0,
                              1);
      const std::int64_t block = row / b.block_depth, depth = b.depth_of(block);
      float* to = packed.data() + block * b.block_depth * b.cut.slot_count * panels.packed_columns() +
                  panel * b.tile.columns * depth + (row - block * b.block_depth) * panels.width(panel);
      winograd_transform_weight(b, weight, panel, row, std::min(kRows, b.depth - row), b.cut.slots,
                                depth * panels.packed_columns(), past_cache, to);
    }
    if (past_cache) streaming_fence();
  });
}

}  // namespace atrous::kernels
