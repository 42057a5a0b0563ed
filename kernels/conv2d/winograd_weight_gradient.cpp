#include "atrous/kernels/conv2d/winograd_weight_gradient.h"

#include <algorithm>
#include <array>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/weight_gradient_simd.h"
#include "atrous/kernels/conv2d/winograd_schemes.h"
#include "atrous/kernels/conv2d/winograd_simd.h"

// Blocks of patches, cut by the sizes alone, one after the other: all threads transform a block's patches,
// then each thread adds the block's products to the sums of its own pairs of points. These sums are kept for
// all pairs of points, in tiles, until the last block is in.

namespace atrous::kernels {
namespace {

namespace wino = winograd;

constexpr std::int64_t kBlockFloats = 1 << 21;   // transformed x and dy of a block: in the L3 cache
constexpr std::int64_t kCachedFloats = 1 << 17;  // or, where that still makes long sums, in the L2 cache
constexpr std::int64_t kLeastPoints = 1024;      // of a block
constexpr std::int64_t kBlockTiles = 12;
using wino::kMostPairs;
alignas(64) constexpr float kZeros[4096 + 64] = {};  // a pixel outside of the picture
constexpr std::int64_t kMostChannels = 4096;

// The product of one pair of points: patches of the block that use it, and where their rows lie.
struct Slot {
  std::int64_t rows;
  float *x, *dy;
};

class Pass {
 public:
  Pass(const WinogradWeightGradientBlocking& blocking, const Conv2dDims& dims, const float* x,
       const float* dy, float* points, float* sums)
      : b_(blocking),
        d_(dims),
        x_(x),
        dy_(dy),
        points_(points),
        sums_(sums),
        patches_(winograd_patches(b_.cut, dims)),
        rows_(patches_.size()),
        slots_(std::size_t(b_.cut.slot_count)) {
    for (int h = 0; h < wino::kSchemes; ++h)
      for (int w = 0; w < wino::kSchemes; ++w)
        for (int i = 0; i < wino::points(h); ++i)
          for (int j = 0; j < wino::points(w); ++j) {
            const int row = wino::row_of_g(h, i), column = wino::row_of_g(w, j);
            slots_of_[h][w][i * wino::points(w) + j] =
                b_.cut.slots[std::size_t(row * wino::kRowsOfG + column)];
          }
  }

  const RecycledVector<WinogradPatch>& patches() const { return patches_; }

  // Finds place for the transformed patches [begin, end) of a block.
  void place(std::size_t begin, std::size_t end) {
    for (Slot& s : slots_) s.rows = 0;
    for (std::size_t t = begin; t < end; ++t) {
      // Its rows in the products: how many patches came before.
      auto& rows = rows_[t];
      int pair = 0;
      for_each_slot(patches_[t], [&](Slot& s) { rows[std::size_t(pair++)] = std::int32_t(s.rows++); });
    }
    float* at = points_;
    for (Slot& s : slots_) {
      s.x = at, at += s.rows * b_.row_floats();
      s.dy = at, at += s.rows * b_.column_floats();
    }
  }

  void transform(std::size_t t) {
    const WinogradPatch& p = patches_[t];
    const float* pixels[kMostPairs];
    float *x_points[kMostPairs], *dy_points[kMostPairs];
    int pair = 0, count = 0;
    for_each_slot(p, [&](const Slot& s) {
      const std::int64_t row = rows_[t][std::size_t(pair)];
      x_points[pair] = s.x + row * b_.row_floats();
      dy_points[pair++] = s.dy + row * b_.column_floats();
    });
    for (int i = 0; i < wino::ins(p.scheme_h); ++i) {
      const std::int64_t h = p.h + (i + wino::first_in(p.scheme_h)) * d_.rate.h;
      const float* row = h < 0 || h >= d_.in_h ? nullptr : x_ + (p.image * d_.in_h + h) * d_.in_w * b_.rows;
      for (int j = 0; j < wino::ins(p.scheme_w); ++j) {
        const std::int64_t w = p.w + (j + wino::first_in(p.scheme_w)) * d_.rate.w;
        pixels[count++] = !row || w < 0 || w >= d_.in_w ? kZeros : row + w * b_.rows;
      }
    }
    simd::winograd_input({p.scheme_h, p.scheme_w, {pixels}, {x_points}, simd::kChunk, b_.rows});
    count = 0;
    for (int i = 0; i < wino::outs(p.scheme_h); ++i)
      for (int j = 0; j < wino::outs(p.scheme_w); ++j)
        pixels[count++] =
            dy_ + ((p.image * d_.in_h + p.h + i * d_.rate.h) * d_.in_w + p.w + j * d_.rate.w) * b_.columns;
    simd::winograd_output_gradient({p.scheme_h, p.scheme_w, {pixels}, {dy_points}, simd::kChunk, b_.columns});
  }

  std::int64_t items() const { return std::int64_t(slots_.size()) * item_groups(); }
  double cost(std::int64_t item) const { return double(slots_[std::size_t(item / item_groups())].rows); }

  // Adds the products of one pair of points, for some tiles of rows.
  void multiply(std::int64_t item, bool add) const {
    const std::int64_t slot = item / item_groups(), first = item % item_groups() * b_.block_tiles;
    const std::int64_t tiles = std::min(b_.block_tiles, b_.tiles - first);
    const Slot& s = slots_[std::size_t(slot)];
    float* sums = sums_ + slot * b_.sums_size();
    if (s.rows == 0) {
      if (!add)
        std::fill_n(sums + first * b_.panels * b_.tile_floats(), tiles * b_.panels * b_.tile_floats(), 0.0f);
      return;
    }
    // Meanwhile the next pair's points are fetched.
    const Slot& next = slots_[std::size_t(std::min(slot + 1, std::int64_t(slots_.size()) - 1))];
    const simd::PixelRun run{s.x, s.dy, s.rows};
    simd::WeightTile t;
    t.runs = 1, t.run = &run;
    t.a_step = b_.row_floats(), t.b_step = b_.column_floats();
    t.add = add;
    for (std::int64_t p = 0; p < b_.panels; ++p)
      for (std::int64_t i = first; i < first + tiles; ++i) {
        t.a_offset = i * b_.tile_rows, t.b_offset = p * b_.tile.columns;
        t.rows = int(std::min(b_.tile_rows, b_.rows - t.a_offset));
        // Whole vectors: sums of the columns that there are not are never read.
        t.columns = int(std::min<std::int64_t>(b_.tile.columns, b_.column_floats() - t.b_offset));
        t.a_ahead = p == 0 ? next.x - s.x : 0;
        t.b_ahead = i == first ? next.dy - s.dy : 0;
        t.sums = sums + (i * b_.panels + p) * b_.tile_floats();
        simd::weight_tile(t);
      }
  }

 private:
  std::int64_t item_groups() const { return (b_.tiles + b_.block_tiles - 1) / b_.block_tiles; }

  template <class F>
  void for_each_slot(const WinogradPatch& p, const F& f) {
    const int pairs = wino::points(p.scheme_h) * wino::points(p.scheme_w);
    const int* slots = slots_of_[p.scheme_h][p.scheme_w];
    for (int pair = 0; pair < pairs; ++pair) f(slots_[std::size_t(slots[pair])]);
  }

  const WinogradWeightGradientBlocking& b_;
  const Conv2dDims& d_;
  const float *x_, *dy_;
  float *points_, *sums_;
  RecycledVector<WinogradPatch> patches_;
  std::vector<std::array<std::int32_t, kMostPairs>> rows_;
  std::vector<Slot> slots_;
  int slots_of_[wino::kSchemes][wino::kSchemes]
               [kMostPairs];  // by the schemes of a patch: -1 for unused pairs
};

// Parts of nearly equal cost: calls f(item) for each item of the part.
template <class Cost, class F>
void for_part(std::int64_t items, std::int64_t part, std::int64_t parts, const Cost& cost, const F& f) {
  double all = 0, before = 0;
  for (std::int64_t i = 0; i < items; ++i) all += cost(i);
  for (std::int64_t i = 0; i < items; ++i) {
    const double middle = before + cost(i) / 2;
    before += cost(i);
    if (std::min(parts - 1, std::int64_t(middle * double(parts) / all)) == part) f(i);
  }
}

WinogradWeightGradientBlocking cheaper_blocking(const Conv2dDims& d) {
  const WinogradWeightGradientBlocking small(d, kSmallWinograd), large(d, kLargeWinograd);
  return kLargeWinogradGain * large.cost() < small.cost() ? large : small;
}

}  // namespace

bool takes_winograd_weight_gradient(const Conv2dDims& d) {
  if (!winograd_applies(d) || d.exact || d.batch == 0) return false;
  if (std::max(d.in_channels, d.out_channels) > kMostChannels) return false;
  return 1.2 * WinogradWeightGradientBlocking(d).cost() < winograd_direct_cost(d);
}

WinogradWeightGradientBlocking::WinogradWeightGradientBlocking(const Conv2dDims& d)
    : WinogradWeightGradientBlocking(cheaper_blocking(d)) {}

WinogradWeightGradientBlocking::WinogradWeightGradientBlocking(const Conv2dDims& d, int most_outs)
    : tile(simd::tile_shape()), rows(d.in_channels), columns(d.out_channels), cut(d, most_outs) {
  tiles = (rows + tile.rows - 1) / tile.rows;
  tile_rows = (rows + tiles - 1) / tiles;
  tiles = (rows + tile_rows - 1) / tile_rows;
  panels = (columns + tile.columns - 1) / tile.columns;
  const std::int64_t groups = (tiles + kBlockTiles - 1) / kBlockTiles;
  block_tiles = (tiles + groups - 1) / groups;
  const std::int64_t floats = row_floats() + column_floats();
  const std::int64_t block_floats = floats * kLeastPoints <= kCachedFloats ? kCachedFloats : kBlockFloats;
  const std::int64_t most = std::max(block_floats / floats, kLeastPoints);
  blocks = std::max<std::int64_t>(1, (cut.points + most - 1) / most);
  block_points = (cut.points + blocks - 1) / blocks;
}

double WinogradWeightGradientBlocking::cost() const {
  constexpr double kTransform = 25, kSum = 15, kWeight = 30;  // of a point, a block's sum, a weight
  return double(cut.points) * (1 + kTransform / double(rows) + kTransform / double(columns)) +
         cut.slot_count * (kWeight + kSum * double(blocks));
}

// A block takes at most one patch (kMostPairs pairs of points) more than its share.
std::int64_t WinogradWeightGradientBlocking::points_size() const {
  return (block_points + kMostPairs) * (row_floats() + column_floats());
}

std::int64_t winograd_weight_gradient_workspace_size(const WinogradWeightGradientBlocking& b) {
  return b.points_size() + b.cut.slot_count * b.sums_size();
}

void winograd_weight_gradient(const WinogradWeightGradientBlocking& b, const Conv2dDims& dims,
                              Span<const float> x, Span<const float> dy, Span<float> workspace,
                              Span<float> dweight) {
  float* const sums = workspace.data() + b.points_size();
  const std::int64_t parts = threads();
  Pass pass(b, dims, x.data(), dy.data(), workspace.data(), sums);
  const auto& patches = pass.patches();
  bool add = false;
  for (std::size_t begin = 0, end; begin < patches.size(); begin = end, add = true) {
    std::int64_t used = 0;
    for (end = begin; end < patches.size() && used < b.block_points; ++end) used += patches[end].pairs;
    pass.place(begin, end);
    parallel_for(std::int64_t(end - begin), [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) pass.transform(begin + std::size_t(t));
    });
    parallel_for(parts, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t part = first; part < last; ++part)
        for_part(
            pass.items(), part, parts, [&](std::int64_t i) { return pass.cost(i); },
            [&](std::int64_t i) { pass.multiply(i, add); });
    });
  }
  const std::vector<float> factors = winograd_factors(b.cut);
  parallel_for(b.tiles * b.panels, [&](std::int64_t first, std::int64_t last) {
    alignas(64) float taps[9 * simd::kMostTileRows * simd::kMostTileColumns];
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t row = i / b.panels * b.tile_rows, column = i % b.panels * b.tile.columns;
      const std::int64_t rows = std::min(b.tile_rows, b.rows - row);
      const std::int64_t columns = std::min<std::int64_t>(b.tile.columns, b.columns - column);
      const std::int64_t count = rows * b.tile.columns;
      simd::winograd_weight_gradient(sums + i * b.tile_floats(), b.sums_size(), factors.data(),
                                     b.cut.slot_count, count, taps);
      for (int t = 0; t < 9; ++t)
        for (std::int64_t r = 0; r < rows; ++r)
          std::copy_n(taps + t * count + r * b.tile.columns, columns,
                      dweight.data() + (t * b.rows + row + r) * b.columns + column);
    }
  });
}

}  // namespace atrous::kernels
