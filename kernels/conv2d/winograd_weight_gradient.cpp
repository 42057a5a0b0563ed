#include "atrous/kernels/conv2d/winograd_weight_gradient.h"

#include <algorithm>
#include <array>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/weight_gradient_simd.h"
#include "atrous/kernels/conv2d/winograd_schemes.h"
#include "atrous/kernels/conv2d/winograd_simd.h"

// Blocks of patches, cut by the sizes alone, one after the other: all threads transform a block's patches,
// then each adds the products of some pairs of points to their sums. These sums are kept for all pairs of
// points, in tiles, until the last block is in.

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
    block_begin_ = begin;
    const Rows rows = rows_of(begin, end);
    float* at = points_;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      Slot& s = slots_[i];
      s.rows = rows[i];
      s.x = at, at += s.rows * b_.row_floats();
      s.dy = at, at += s.rows * b_.column_floats();
    }
  }

  // Patches [begin, end) of the block.
  void transform(std::size_t begin, std::size_t end) const {
    Rows rows = rows_of(block_begin_, begin);
    for_each_run(begin, end, [&](std::size_t from, std::size_t to) {
      const int scheme_h = patches_[from].scheme_h, scheme_w = patches_[from].scheme_w;
      // Rows of the first patch; the next one's lie behind them.
      float *x_points[kMostPairs], *dy_points[kMostPairs];
      for (int i = 0; i < patches_[from].pairs; ++i) {
        const std::size_t slot = std::size_t(slots_of_[scheme_h][scheme_w][i]);
        x_points[i] = slots_[slot].x + rows[slot] * b_.row_floats();
        dy_points[i] = slots_[slot].dy + rows[slot] * b_.column_floats();
        rows[slot] += std::int64_t(to - from);
      }
      // Pixels of a patch that begins with the first pixel.
      const float *x_inner[kMostPairs], *dy_inner[kMostPairs];
      pixels_from(x_, wino::ins(scheme_h), wino::ins(scheme_w), b_.rows, x_inner);
      pixels_from(dy_, wino::outs(scheme_h), wino::outs(scheme_w), b_.columns, dy_inner);
      for (std::size_t t = from; t < to; ++t) {
        const WinogradPatch& p = patches_[t];
        const std::int64_t row = std::int64_t(t - from);
        const float* border[kMostPairs];
        simd::winograd_input({scheme_h,
                              scheme_w,
                              find_pixels(p, x_inner, border),
                              {x_points, row * b_.row_floats()},
                              simd::kChunk,
                              b_.rows});
        const std::int64_t corner = ((p.image * d_.in_h + p.h) * d_.in_w + p.w) * b_.columns;
        simd::winograd_output_gradient({scheme_h,
                                        scheme_w,
                                        {dy_inner, corner},
                                        {dy_points, row * b_.column_floats()},
                                        simd::kChunk,
                                        b_.columns});
      }
    });
  }

  std::int64_t items() const { return std::int64_t(slots_.size()) * item_groups(); }

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

  // f(from, to) for neighbours among the patches [begin, end) that have their schemes in common.
  template <class F>
  void for_each_run(std::size_t begin, std::size_t end, const F& f) const {
    for (std::size_t from = begin, to; from < end; from = to) {
      const int h = patches_[from].scheme_h, w = patches_[from].scheme_w;
      for (to = from + 1; to < end && patches_[to].scheme_h == h && patches_[to].scheme_w == w;) ++to;
      f(from, to);
    }
  }

  // Of each pair of points: the patches among [begin, end) that use it.
  using Rows = std::array<std::int64_t, std::tuple_size_v<WinogradSlots>>;
  Rows rows_of(std::size_t begin, std::size_t end) const {
    Rows rows{};
    for_each_run(begin, end, [&](std::size_t from, std::size_t to) {
      const WinogradPatch& p = patches_[from];
      for (int i = 0; i < p.pairs; ++i)
        rows[std::size_t(slots_of_[p.scheme_h][p.scheme_w][i])] += std::int64_t(to - from);
    });
    return rows;
  }

  void pixels_from(const float* map, int h, int w, std::int64_t channels, const float** pixels) const {
    for (int i = 0; i < h; ++i)
      for (int j = 0; j < w; ++j)
        pixels[i * w + j] = map + (i * d_.rate.h * d_.in_w + j * d_.rate.w) * channels;
  }

  // The pixels of x that a patch reads: `inner`, or at the picture's border pointers of its own in `border`.
  simd::WinogradPlaces<const float> find_pixels(const WinogradPatch& p, const float* const* inner,
                                                const float** border) const {
    const std::int64_t h = p.h + wino::first_in(p.scheme_h) * d_.rate.h,
                       w = p.w + wino::first_in(p.scheme_w) * d_.rate.w;
    const int ins_h = wino::ins(p.scheme_h), ins_w = wino::ins(p.scheme_w);
    const std::int64_t corner = ((p.image * d_.in_h + h) * d_.in_w + w) * b_.rows;
    if (h >= 0 && w >= 0 && h + (ins_h - 1) * d_.rate.h < d_.in_h && w + (ins_w - 1) * d_.rate.w < d_.in_w)
      return {inner, corner};
    for (int i = 0; i < ins_h; ++i)
      for (int j = 0; j < ins_w; ++j) {
        const std::int64_t at_h = h + i * d_.rate.h, at_w = w + j * d_.rate.w;
        const bool outside = at_h < 0 || at_h >= d_.in_h || at_w < 0 || at_w >= d_.in_w;
        border[i * ins_w + j] =
            outside ? kZeros : x_ + ((p.image * d_.in_h + at_h) * d_.in_w + at_w) * b_.rows;
      }
    return {border};
  }

  const WinogradWeightGradientBlocking& b_;
  const Conv2dDims& d_;
  const float *x_, *dy_;
  float *points_, *sums_;
  std::size_t block_begin_ = 0;
  RecycledVector<WinogradPatch> patches_;
  std::vector<Slot> slots_;
  int slots_of_[wino::kSchemes][wino::kSchemes]
               [kMostPairs];  // by the schemes of a patch: -1 for unused pairs
};

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
  Pass pass(b, dims, x.data(), dy.data(), workspace.data(), sums);
  const auto& patches = pass.patches();
  bool add = false;
  for (std::size_t begin = 0, end; begin < patches.size(); begin = end, add = true) {
    std::int64_t used = 0;
    for (end = begin; end < patches.size() && used < b.block_points; ++end) used += patches[end].pairs;
    pass.place(begin, end);
    share_out(std::int64_t(end - begin), threads(), kPartWork,
              [&](std::int64_t, std::int64_t first, std::int64_t last) {
                pass.transform(begin + std::size_t(first), begin + std::size_t(last));
              });
    share_out(pass.items(), threads(), kPartWork, [&](std::int64_t, std::int64_t first, std::int64_t last) {
      for (std::int64_t item = first; item < last; ++item) pass.multiply(item, add);
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
