#include "atrous/kernels/conv2d/weight_gradient.h"

#include <algorithm>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/direct.h"
#include "atrous/kernels/conv2d/window_pack_simd.h"

namespace atrous::kernels {
namespace {

using simd::kMostTileRows;

constexpr std::int64_t kBlockTiles = 24;     // tiles of X that share a panel of dY
constexpr std::int64_t kBlockColumns = 512;  // so that their sums stay in the L2 cache
constexpr std::int64_t kBlockPixels = 128;   // pixels that are packed at once
constexpr std::int64_t kVisitPixels = 1024;  // pixels after which a thread turns to its next item
constexpr std::int64_t kItems = 16;          // wanted at least, so that threads find equal shares
constexpr std::int64_t kChunkPixels = 512;   // a chunk's sum should be much longer than the sum of chunks

std::int64_t ceil_div(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

// Output positions whose tap `tap` lies inside of the input.
TapRange live_outputs(std::int64_t out, std::int64_t in, std::int64_t tap, std::int64_t before,
                      std::int64_t rate, std::int64_t stride) {
  const std::int64_t lead = before - tap * rate;  // the tap of output o reads o * stride - lead
  const std::int64_t first = lead > 0 ? ceil_div(lead, stride) : 0;
  const std::int64_t end = in - 1 + lead < 0 ? 0 : (in - 1 + lead) / stride + 1;
  return {first, std::min(out, end)};
}

struct Job {
  const WeightGradientBlocking& blocking;
  const Conv2dDims& dims;
  Span<const float> x, dy;
};

// One piece of work and where its result goes.
struct Item {
  std::int64_t first_pixel, end_pixel;
  std::int64_t tap, row, rows, column, columns;
  TapRange live_h, live_w;

  Item(const WeightGradientBlocking& b, const Conv2dDims& d, std::int64_t index) {
    column = index % b.column_blocks * b.block_columns;
    row = index / b.column_blocks % b.row_blocks * b.block_rows;
    tap = index / b.column_blocks / b.row_blocks % b.taps;
    const std::int64_t chunk = index / b.column_blocks / b.row_blocks / b.taps;
    columns = std::min(b.block_columns, b.columns - column);
    rows = std::min(b.block_rows, b.rows - row);
    first_pixel = chunk * b.chunk_pixels;
    end_pixel = std::min(d.out_pixels(), first_pixel + b.chunk_pixels);
    live_h = {0, d.out_h}, live_w = {0, d.out_w};
    if (b.windows) return;
    live_h = live_outputs(d.out_h, d.in_h, tap / d.window_w, d.padding.top, d.rate.h, d.stride.h);
    live_w = live_outputs(d.out_w, d.in_w, tap % d.window_w, d.padding.left, d.rate.w, d.stride.w);
  }

  // Nearly proportional to the time it takes.
  double cost(const Conv2dDims& d) const {
    const auto share = [](const TapRange& live, std::int64_t all) {
      return double(std::max<std::int64_t>(0, live.end - live.first)) / double(all);
    };
    return (double(end_pixel - first_pixel) * share(live_h, d.out_h) * share(live_w, d.out_w) + 1) *
           double(rows) * double(columns);
  }
};

class Worker {
 public:
  Worker(const Job& job, float* scratch)
      : j_(job),
        b_(job.blocking),
        piece_(simd::interleave(b_.tile.rows)),
        a_(scratch),
        panels_memory_(a_ + b_.a_size()) {}

  // Adds pixels [first, end) of an item to its sums, and writes them to dweight if they are the last.
  void visit(const Item& item, std::int64_t first, std::int64_t pixels_end, float* sums, float* dweight) {
    item_ = &item;
    panels_ = {b_.tile, item.columns};
    sums_ = sums;
    out_ = dweight + (item.tap * b_.rows + item.row) * b_.columns + item.column;
    filled_ = 0, begun_ = first > item.first_pixel;
    const Conv2dDims& d = j_.dims;
    // Runs of neighbouring pixels, each within one row of the output.
    for (std::int64_t line = first / d.out_w; line * d.out_w < pixels_end; ++line) {
      const std::int64_t oh = line % d.out_h;
      if (oh < item.live_h.first || oh >= item.live_h.end) continue;
      const std::int64_t end = std::min(item.live_w.end, pixels_end - line * d.out_w);
      std::int64_t ow = std::max(item.live_w.first, first - line * d.out_w);
      while (ow < end) {
        if (filled_ == b_.block_pixels) multiply(false);
        const std::int64_t count = std::min(end - ow, b_.block_pixels - filled_);
        pack_x(line / d.out_h, oh, ow, count);
        pack_dy(line * d.out_w + ow, count);
        filled_ += count, ow += count;
      }
    }
    multiply(pixels_end == item.end_pixel);
  }

 private:
  std::int64_t tile_stride() const { return b_.tile_stride(); }
  std::int64_t panel_stride() const { return b_.panel_stride(); }

  void pack_x(std::int64_t n, std::int64_t oh, std::int64_t ow, std::int64_t count) {
    const Conv2dDims& d = j_.dims;
    float* to = a_ + filled_ * piece_;
    const std::int64_t h = oh * d.stride.h - d.padding.top, w = ow * d.stride.w - d.padding.left;
    if (!b_.windows) {
      const std::int64_t pixel = (n * d.in_h + h + item_->tap / d.window_w * d.rate.h) * d.in_w + w +
                                 item_->tap % d.window_w * d.rate.w;
      simd::pack_pieces(j_.x.data() + pixel * d.in_channels + item_->row, j_.x.end(), count,
                        d.stride.w * d.in_channels, item_->rows, int(b_.tile_rows), piece_, tile_stride(),
                        to);
      return;
    }
    const simd::WindowArgs args{j_.x.data(), d.in_h,   d.in_w, d.in_channels, d.window_w,
                                d.rate.h,    d.rate.w, 0,      d.window_h};
    simd::WindowPlace places[64];
    for (std::int64_t begin = 0; begin < count; begin += 64) {
      const std::int64_t some = std::min<std::int64_t>(64, count - begin);
      for (std::int64_t i = 0; i < some; ++i) {
        const std::int64_t base_w = w + (begin + i) * d.stride.w;
        places[i] = {((n * d.in_h + h) * d.in_w + base_w) * d.in_channels, h, base_w};
      }
      simd::pack_windows_interleaved(args, places, some, int(b_.tile_rows), piece_, tile_stride(),
                                     to + begin * piece_);
    }
  }

  void pack_dy(std::int64_t pixel, std::int64_t count) {
    const float* from = j_.dy.data() + pixel * b_.columns + item_->column;
    const int wide = b_.tile.columns;
    const std::int64_t whole = item_->columns / wide, rest = item_->columns - whole * wide;
    if (whole)
      simd::pack_pieces(from, j_.dy.end(), count, b_.columns, whole * wide, wide, wide, panel_stride(),
                        panels_memory_ + filled_ * wide);
    if (rest) {
      const int width = panels_.width(whole);
      simd::pack_pieces(from + whole * wide, j_.dy.end(), count, b_.columns, rest, width, width, 0,
                        panels_memory_ + whole * panel_stride() + filled_ * width);
    }
  }

  // Adds the packed pixels to the sums; writes them if they are the last.
  void multiply(bool last) {
    const std::int64_t tiles = ceil_div(item_->rows, b_.tile_rows);
    const std::int64_t chunks = std::max<std::int64_t>(1, filled_ / simd::kChunk);
    for (std::int64_t p = 0; p < panels_.count(); ++p)
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        simd::TileArgs args;
        args.layout = simd::TileLayout::interleaved;
        args.rows = int(std::min(b_.tile_rows, item_->rows - tile * b_.tile_rows));
        args.columns = panels_.used(p);
        args.depth = filled_;
        args.a = a_ + tile * tile_stride();
        args.b = panels_memory_ + p * panel_stride();
        args.sums = sums_ + (p * tiles + tile) * b_.tile.rows * b_.tile.columns;
        args.add = begun_;
        args.next_lines = (filled_ * panels_.width(p) / 16 + tiles * chunks - 1) / (tiles * chunks);
        args.next_b = args.b + panel_stride() + tile * args.next_lines * chunks * 16;
        float* out[kMostTileRows];
        if (last) {
          for (int i = 0; i < args.rows; ++i)
            out[i] = out_ + (tile * b_.tile_rows + i) * b_.columns + p * b_.tile.columns;
          args.out = out;
        }
        simd::gemm_tile(args);
      }
    begun_ = true, filled_ = 0;
  }

  const Job& j_;
  const WeightGradientBlocking& b_;
  const int piece_;
  float *a_, *panels_memory_;
  float* sums_ = nullptr;
  const Item* item_ = nullptr;
  Panels panels_{};
  float* out_ = nullptr;
  std::int64_t filled_ = 0;
  bool begun_ = false;
};

}  // namespace

WeightGradientBlocking::WeightGradientBlocking(const Conv2dDims& d) : tile(simd::tile_shape()) {
  windows = window_sums(d);
  taps = windows ? 1 : d.taps();
  rows = windows ? d.taps() * d.in_channels : d.in_channels;
  const std::int64_t tiles = ceil_div(rows, tile.rows);
  tile_rows = ceil_div(rows, tiles);
  row_blocks = windows ? 1 : ceil_div(tiles, kBlockTiles);
  block_rows = ceil_div(tiles, row_blocks) * tile_rows;
  columns = d.out_channels;
  column_blocks = ceil_div(columns, kBlockColumns);
  block_columns = round_up(ceil_div(columns, column_blocks), tile.columns);
  block_pixels = kBlockPixels;
  const std::int64_t pixels = std::max<std::int64_t>(1, d.out_pixels());
  const std::int64_t each = taps * row_blocks * column_blocks;
  chunks = std::clamp<std::int64_t>(ceil_div(kItems, each), 1, ceil_div(pixels, kChunkPixels));
  chunk_pixels = ceil_div(pixels, chunks);
  chunks = ceil_div(pixels, chunk_pixels);
}

std::int64_t WeightGradientBlocking::a_size() const {
  return ceil_div(block_rows, tile_rows) * tile_stride();
}
// A few lines more than they need: at a stride of a power of two, the same pixel of all tiles and panels,
// which is written in one go, would fall into one set of the L1 cache.
std::int64_t WeightGradientBlocking::tile_stride() const {
  return simd::interleave(tile.rows) * block_pixels + 3 * simd::kChunk;
}
std::int64_t WeightGradientBlocking::panel_stride() const {
  return tile.columns * block_pixels + 5 * simd::kChunk;
}
std::int64_t WeightGradientBlocking::panels_size() const {
  return block_columns / tile.columns * panel_stride();
}
std::int64_t WeightGradientBlocking::scratch_size() const { return a_size() + panels_size(); }
std::int64_t WeightGradientBlocking::sums_size() const {
  return ceil_div(block_rows, tile_rows) * tile.rows * block_columns;
}
std::int64_t WeightGradientBlocking::partial_size() const {
  return chunks > 1 ? round_up(chunks * taps * rows * columns, simd::kChunk) : 0;
}

std::int64_t weight_gradient_workspace_size(const WeightGradientBlocking& b) {
  return b.partial_size() + b.items() * b.sums_size() + threads() * b.scratch_size();
}

void weight_gradient(const WeightGradientBlocking& b, const Conv2dDims& dims, Span<const float> x,
                     Span<const float> dy, Span<float> workspace, Span<float> dweight) {
  const Job job{b, dims, x, dy};
  std::vector<Item> items;
  std::vector<double> cost_before = {0};
  for (std::int64_t i = 0; i < b.items(); ++i) {
    items.emplace_back(b, dims, i);
    cost_before.push_back(cost_before.back() + items.back().cost(dims));
  }
  float* const sums = workspace.data() + b.partial_size();
  const Span<float> scratch = workspace.part(b.partial_size() + b.items() * b.sums_size(),
                                             workspace.size() - b.partial_size() - b.items() * b.sums_size());
  const std::int64_t parts =
      std::min<std::int64_t>({threads(), scratch.size() / b.scratch_size(), b.items(),
                              1 + dims.out_pixels() * b.taps * b.rows * b.columns / kPartWork});
  // The first item of a part when all are shared out in parts of equal cost.
  const auto part_begin = [&](std::int64_t part) {
    if (part == parts) return b.items();
    const double before = cost_before.back() * double(part) / double(parts);
    return std::int64_t(std::lower_bound(cost_before.begin(), cost_before.end() - 1, before - 1e-9 * before) -
                        cost_before.begin());
  };
  const std::int64_t size = b.taps * b.rows * b.columns;
  float* const target = b.chunks > 1 ? workspace.data() : dweight.data();
  parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      Worker worker(job, scratch.data() + part * b.scratch_size());
      const std::int64_t end_item = part_begin(part + 1), per_chunk = b.items() / b.chunks;
      for (std::int64_t i = part_begin(part), next; i < end_item; i = next) {
        // All items of a chunk in turns, a few pixels each: these come from the cache but once from memory.
        const std::int64_t chunk = i / per_chunk;
        next = std::min(end_item, (chunk + 1) * per_chunk);
        const Item& any = items[std::size_t(i)];
        for (std::int64_t at = any.first_pixel; at == any.first_pixel || at < any.end_pixel;
             at += kVisitPixels)
          for (std::int64_t k = i; k < next; ++k)
            worker.visit(items[std::size_t(k)], at, std::min(any.end_pixel, at + kVisitPixels),
                         sums + k * b.sums_size(), target + chunk * size);
      }
    }
  });
  if (b.chunks == 1) return;
  parallel_for(size, 1 << 12, [&](std::int64_t begin, std::int64_t end) {
    std::copy(target + begin, target + end, dweight.begin() + begin);
    for (std::int64_t chunk = 1; chunk < b.chunks; ++chunk)
      for (std::int64_t i = begin; i < end; ++i) dweight[i] += target[chunk * size + i];
  });
}

}  // namespace atrous::kernels
