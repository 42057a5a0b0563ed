#pragma once

#include <algorithm>
#include <cstdint>

#include "atrous/kernels/gemm/gemm_tile_simd.h"

// The right factor of a product, cut into panels as wide as the register tile: panel p of B [depth, columns]
// holds columns p*tile.columns up to the next panel as [depth][width]. The last one is as wide as its columns
// need, in whole vectors. All panels together take depth * packed_columns floats, and panel p begins at
// depth * p * tile.columns.

namespace atrous::kernels {

constexpr std::int64_t round_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

struct Panels {
  simd::TileShape tile;
  std::int64_t columns;

  std::int64_t count() const { return (columns + tile.columns - 1) / tile.columns; }
  std::int64_t packed_columns() const { return round_up(columns, tile.lanes); }
  /// Columns of a panel that are used, and floats of one of its rows.
  int used(std::int64_t panel) const {
    return int(std::min<std::int64_t>(tile.columns, columns - panel * tile.columns));
  }
  int width(std::int64_t panel) const { return int(round_up(used(panel), tile.lanes)); }
};

/// One panel: to[i][j] = from[i*stride + j] for j < used, 0 up to width.
void pack_panel(const float* from, std::int64_t stride, std::int64_t depth, int used, int width, float* to);
/// The same of pairs of bf16: word to[i][j] holds from[2*i][j] in its lower half and from[2*i + 1][j], or
/// zero from `rows` on, in its upper one, for i < round_up(rows, 2) / 2.
void pack_panel_pairs(const float* from, std::int64_t stride, std::int64_t rows, int used, int width,
                      float* to);

}  // namespace atrous::kernels
