#include "atrous/kernels/conv2d/direct.h"

#include <algorithm>
#include <limits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/gather_plan.h"
#include "atrous/kernels/conv2d/in_place.h"
#include "atrous/kernels/conv2d/window_pack_simd.h"

// Loops, from the outside in: a block of tiles (112 pixels) -> a block of columns -> a step of the sum (a
// block of channels, a tap that some tile of the block needs) -> a panel of weights -> a tile. Within a step
// the weights stream through the L1 cache once while the tiles' A rests in L2. Sums rest between steps in
// scratch memory; the last step of a tile adds the bias and writes the result once.

namespace atrous::kernels {
namespace {

using simd::kMostTileRows;

constexpr std::int64_t kMostBlockTiles = kDirectBlockRows / simd::kLeastTileRows;

struct Job {
  const DirectBlocking& blocking;
  const Conv2dDims& dims;
  const GatherPlan& plan;
  const float* source;
  const float* packed;
  const float* bias;  // padded to whole vectors, or null
  int activation;
  const float* residual;  // or null
  float* destination;
};

// One tile of the block at hand.
struct BlockTile {
  const GatherPlan::Region* region;
  int rows;
  std::size_t next_tap;  // place in region->taps
  bool begun;            // its sums hold something
  GatherPixel pixels[kMostTileRows];

  bool taps_left() const { return next_tap < region->taps.size(); }
};

class Worker {
 public:
  Worker(const Job& job, float* a, float* sums) : j_(job), b_(job.blocking), a_(a), sums_(sums) {}

  void run(std::int64_t first, std::int64_t last) {
    for (std::int64_t at = first; at < last; at += b_.block_tiles) {
      count_ = std::min(b_.block_tiles, last - at);
      find_tiles(at);
      for (std::int64_t column = 0; column < b_.columns; column += b_.block_columns) block(column);
    }
  }

 private:
  void find_tiles(std::int64_t at) {
    const GatherPlan::Region* region = &j_.plan.region_of(at);
    for (std::int64_t i = 0; i < count_; ++i, ++at) {
      if (at == region->first_tile + region->tiles) ++region;
      BlockTile& tile = tiles_[i];
      const std::int64_t begin = region->tile_begin(at - region->first_tile);
      tile.region = region;
      tile.rows = int(region->tile_begin(at - region->first_tile + 1) - begin);
      j_.plan.pixels(*region, begin, tile.rows, tile.pixels);
    }
  }

  // All sums of the block's pixels for one block of columns.
  void block(std::int64_t column) {
    panels_ = {b_.tile, std::min(b_.block_columns, b_.columns - column)};
    column_ = column;
    const float* weights = j_.packed + column * b_.taps * b_.depth;
    for (std::int64_t i = 0; i < count_; ++i) {
      tiles_[i].begun = false;
      if (tiles_[i].region->taps.empty()) finish_empty(i);
    }
    for (std::int64_t depth_block = 0; depth_block < b_.depth_blocks; ++depth_block) {
      for (std::int64_t i = 0; i < count_; ++i) tiles_[i].next_tap = 0;
      for (;;) {
        std::int64_t tap = std::numeric_limits<std::int64_t>::max();
        for (std::int64_t i = 0; i < count_; ++i) {
          const BlockTile& tile = tiles_[i];
          if (tile.taps_left()) tap = std::min(tap, tile.region->taps[tile.next_tap].index);
        }
        if (tap == std::numeric_limits<std::int64_t>::max()) break;
        step(depth_block, tap, weights);
      }
    }
  }

  // One matrix of weights, block_depth x columns, for those tiles that need it.
  void step(std::int64_t depth_block, std::int64_t tap, const float* weights) {
    const std::int64_t depth = b_.depth_of(depth_block);
    const float* panel =
        weights + (depth_block * b_.block_depth * b_.taps + tap * depth) * panels_.packed_columns();
    std::int64_t live = 0;
    for (std::int64_t i = 0; i < count_; ++i) {
      const BlockTile& tile = tiles_[i];
      if (tile.taps_left() && tile.region->taps[tile.next_tap].index == tap) live_[live++] = i;
    }
    const std::int64_t chunks = std::max<std::int64_t>(1, depth / simd::kChunk);
    for (std::int64_t p = 0; p < panels_.count(); ++p) {
      simd::TileArgs args;
      args.columns = panels_.used(p);
      args.pairs = b_.pairs;
      args.depth = depth;
      args.b = panel;
      panel += depth * panels_.width(p);
      // The tiles of this panel fetch the next one, each its share.
      args.next_lines = (depth * panels_.width(p) / 16 + live * chunks - 1) / (live * chunks);
      for (std::int64_t slot = 0; slot < live; ++slot) {
        const std::int64_t i = live_[slot];
        BlockTile& tile = tiles_[i];
        float* a = a_ + slot * b_.tile.rows * round_up(b_.block_depth, simd::kChunk);
        if (p == 0) pack(tile, depth_block, a);
        args.rows = tile.rows;
        args.a = a;
        args.add = tile.begun;
        args.next_b = panel + slot * args.next_lines * chunks * 16;
        const bool last = depth_block + 1 == b_.depth_blocks && tile.next_tap + 1 == tile.region->taps.size();
        call(args, i, p, last);
      }
    }
    for (std::int64_t slot = 0; slot < live; ++slot) {
      BlockTile& tile = tiles_[live_[slot]];
      tile.begun = true;
      ++tile.next_tap;
    }
  }

  void call(simd::TileArgs& args, std::int64_t i, std::int64_t panel, bool last) {
    const BlockTile& tile = tiles_[i];
    const std::int64_t column = column_ + panel * b_.tile.columns;
    float* out[kMostTileRows];
    const float* residual[kMostTileRows];
    args.sums = sums_ + (i * panels_.count() + panel) * b_.tile.rows * b_.tile.columns;
    args.out = nullptr;
    if (last) {
      for (int row = 0; row < tile.rows; ++row) {
        const std::int64_t at = tile.pixels[row].destination + column;
        out[row] = j_.destination + at;
        if (j_.residual) residual[row] = j_.residual + at;
      }
      args.out = out;
      args.residual = j_.residual ? residual : nullptr;
      args.bias = j_.bias ? j_.bias + column : nullptr;
      args.activation = j_.activation;
    }
    simd::gemm_tile(args);
  }

  // Only padding: the bias alone.
  void finish_empty(std::int64_t i) {
    for (std::int64_t p = 0; p < panels_.count(); ++p) {
      simd::TileArgs args;
      args.rows = tiles_[i].rows;
      args.columns = panels_.used(p);
      args.a = a_, args.b = j_.packed;
      call(args, i, p, true);
    }
  }

  void pack(const BlockTile& tile, std::int64_t depth_block, float* a) const {
    if (b_.windows) {
      const Conv2dDims& d = j_.dims;
      const std::int64_t first = depth_block * b_.window_rows;
      simd::WindowPlace places[kMostTileRows];
      for (int row = 0; row < tile.rows; ++row)
        places[row] = {tile.pixels[row].source, tile.pixels[row].base_h, tile.pixels[row].base_w};
      simd::pack_windows_chunked({j_.source, d.in_h, d.in_w, d.in_channels, d.window_w, d.rate.h, d.rate.w,
                                  first, std::min(d.window_h, first + b_.window_rows)},
                                 places, tile.rows, a);
    } else {
      const std::int64_t offset = tile.region->taps[tile.next_tap].offset + b_.first_channel(depth_block);
      const float* rows[kMostTileRows];
      for (int row = 0; row < tile.rows; ++row) rows[row] = j_.source + (tile.pixels[row].source + offset);
      const auto& pack_rows = b_.pairs ? simd::pack_chunked_pairs : simd::pack_chunked;
      pack_rows(rows, tile.rows, b_.channels_of(depth_block), a);
    }
  }

  const Job& j_;
  const DirectBlocking& b_;
  float *a_, *sums_;
  BlockTile tiles_[kMostBlockTiles];
  std::int64_t live_[kMostBlockTiles];  // those that need the matrix at hand
  std::int64_t count_ = 0, column_ = 0;
  Panels panels_{};
};

}  // namespace

std::int64_t direct_workspace_size(const DirectBlocking& b, const Conv2dDims& dims) {
  const std::int64_t each = b.in_place ? in_place_scratch_size(b, dims) : b.a_size() + b.sums_size();
  return round_up(b.columns, b.tile.columns) + threads() * each;
}

void direct_run(const DirectBlocking& b, const Conv2dDims& dims, Span<const float> source,
                Span<const float> packed, const Conv2dEpilogue<float>& epilogue, Span<float> workspace,
                Span<float> destination) {
  const std::int64_t bias_size = round_up(b.columns, b.tile.columns);
  const float* bias = nullptr;
  if (!epilogue.bias.empty()) {
    const Span<float> padded = workspace.part(0, bias_size);
    std::fill(std::copy(epilogue.bias.begin(), epilogue.bias.end(), padded.begin()), padded.end(), 0.0f);
    bias = padded.data();
  }
  if (b.in_place)
    return in_place_run(b, dims, source.data(), packed.data(), bias, epilogue,
                        workspace.part(bias_size, workspace.size() - bias_size), destination);
  GatherPlan plan = b.windows                        ? GatherPlan::windows(dims, b.tile.rows)
                    : b.direction == Gather::forward ? GatherPlan::forward(dims, b.tile.rows)
                                                     : GatherPlan::backward_input(dims, b.tile.rows);
  plan.destination_channels = epilogue.y_channels_or(b.columns);
  const std::int64_t each = b.a_size() + b.sums_size();
  const Job job{b,
                dims,
                plan,
                source.data(),
                packed.data(),
                bias,
                int(epilogue.activation),
                epilogue.residual.data(),
                destination.data()};
  // Tiles are shared out by cost. Results do not depend on it.
  const std::int64_t work = plan.tiles * b.tile.rows * b.taps * b.depth * b.columns;
  const int parts = int(std::min<std::int64_t>(
      {threads(), (workspace.size() - bias_size) / each, plan.tiles, 1 + work / kPartWork}));
  parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      float* scratch = workspace.data() + bias_size + part * each;
      Worker(job, scratch, scratch + b.a_size())
          .run(plan.part_begin(int(part), parts), plan.part_begin(int(part) + 1, parts));
    }
  });
}

}  // namespace atrous::kernels
