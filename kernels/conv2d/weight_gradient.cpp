#include "atrous/kernels/conv2d/weight_gradient.h"

#include <algorithm>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/weight_gradient_simd.h"

namespace atrous::kernels {
namespace {

constexpr int kMostRows = 8;                    // of a tile: more fill the registers no better
constexpr std::int64_t kBlockTiles = 42;        // tiles of rows of an item, at most; its sums and a block of
constexpr std::int64_t kBlockColumns = 512;     // pixels stay in the L2 cache
constexpr std::int64_t kBlockPixels = 128;      // then a panel of 32 columns takes 16 kB
constexpr std::int64_t kVisitFloats = 1 << 16;  // of both factors, to which all items turn before the next
constexpr std::int64_t kVisitPixels = 4096;     // pixels of a visit, at most
constexpr std::int64_t kShares = 32;            // wanted at least, so that threads find equal ones
constexpr std::int64_t kChunkPixels = 512;      // a chunk's sum should be much longer than the sum of chunks
// Chunks of a gradient of several taps and at most so many floats, which threads take whole: all taps read
// their pixels while these are in the cache.
constexpr std::int64_t kWholeChunks = 16, kSmallGradient = 1 << 14;
constexpr std::int64_t kPieceWork = 1 << 19;  // products that a thread takes at a time, at least: 10 us
constexpr std::int64_t kLongestRow = 512;     // floats of a row of the window that is one tap

std::int64_t ceil_div(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

// Output positions whose taps, `width` neighbours from `tap` on, lie inside of the input.
TapRange live_outputs(std::int64_t out, std::int64_t in, std::int64_t tap, std::int64_t before,
                      std::int64_t rate, std::int64_t stride, std::int64_t width = 1) {
  const std::int64_t lead = before - tap * rate;  // the tap of output o reads o * stride - lead
  const std::int64_t first = lead > 0 ? ceil_div(lead, stride) : 0;
  const std::int64_t last = in - width + lead;
  return {std::min(out, first),
          std::clamp<std::int64_t>(last < 0 ? 0 : last / stride + 1, std::min(out, first), out)};
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
  TapRange live_h, live_w;  // outputs that take part
  TapRange inside_w;        // of these, the ones whose taps lie inside of the row of x

  Item(const WeightGradientBlocking& b, const Conv2dDims& d, std::int64_t index) {
    column = index % b.column_blocks * b.block_columns;
    row = index / b.column_blocks % b.row_blocks * b.block_rows;
    tap = index / b.column_blocks / b.row_blocks % b.taps;
    const std::int64_t chunk = index / b.column_blocks / b.row_blocks / b.taps;
    columns = std::min(b.block_columns, b.columns - column);
    rows = std::min(b.block_rows, b.rows - row);
    first_pixel = chunk * b.chunk_pixels;
    end_pixel = std::min(d.out_pixels(), first_pixel + b.chunk_pixels);
    const std::int64_t r = b.window_rows ? tap : tap / d.window_w, s = b.window_rows ? 0 : tap % d.window_w;
    live_h = live_outputs(d.out_h, d.in_h, r, d.padding.top, d.rate.h, d.stride.h);
    inside_w = live_outputs(d.out_w, d.in_w, s, d.padding.left, d.rate.w, d.stride.w,
                            b.window_rows ? d.window_w : 1);
    live_w = b.window_rows ? TapRange{0, d.out_w} : inside_w;
  }

  std::int64_t tiles(const WeightGradientBlocking& b) const { return ceil_div(rows, b.tile_rows); }

  // Tiles [begin, end) of it alone.
  Item part(const WeightGradientBlocking& b, std::int64_t begin, std::int64_t end) const {
    Item some = *this;
    some.row += begin * b.tile_rows;
    some.rows = std::min(rows, end * b.tile_rows) - begin * b.tile_rows;
    return some;
  }
};

class Worker {
 public:
  // `scratch` takes the rows of windows that reach into the padding.
  Worker(const Job& job, float* scratch)
      : j_(job), b_(job.blocking), runs_(std::size_t(b_.block_pixels)), padded_(scratch) {
    const Conv2dDims& d = j_.dims;
    const std::int64_t x_step = d.stride.w * d.in_channels, dy_step = d.out_channels;
    // The next block: roughly so many pixels on. Rows of x between those that are read count too.
    const std::int64_t x_ahead = b_.block_pixels * d.stride.h * x_step, dy_ahead = b_.block_pixels * dy_step;
    args_.a_step = b_.turned ? dy_step : x_step;
    args_.b_step = b_.turned ? x_step : dy_step;
    a_ahead_ = b_.turned ? dy_ahead : x_ahead;
    b_ahead_ = b_.turned ? x_ahead : dy_ahead;
    args_.run = runs_.data();
  }

  // Adds pixels [first, end) of an item to its sums, and writes them to dweight if they are the last.
  void visit(const Item& item, std::int64_t first, std::int64_t pixels_end, float* sums, float* dweight) {
    item_ = &item;
    sums_ = sums, dweight_ = dweight;
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
        const bool inside = ow >= item.inside_w.first && ow < item.inside_w.end;
        const std::int64_t most = inside ? std::min(end, item.inside_w.end) - ow : 1;
        const std::int64_t count = std::min(most, b_.block_pixels - filled_);
        add_run(line, oh, ow, count, inside);
        filled_ += count, ow += count;
      }
    }
    multiply(pixels_end == item.end_pixel);
  }

 private:
  void add_run(std::int64_t line, std::int64_t oh, std::int64_t ow, std::int64_t count, bool inside) {
    const Conv2dDims& d = j_.dims;
    const std::int64_t tap_h = b_.window_rows ? item_->tap : item_->tap / d.window_w,
                       tap_w = b_.window_rows ? 0 : item_->tap % d.window_w;
    const std::int64_t h = oh * d.stride.h - d.padding.top + tap_h * d.rate.h,
                       w = ow * d.stride.w - d.padding.left + tap_w * d.rate.w;
    const float* row = j_.x.data() + (line / d.out_h * d.in_h + h) * d.in_w * d.in_channels;
    const float* x = inside ? row + w * d.in_channels : padded(row, w);
    const float* dy = j_.dy.data() + (line * d.out_w + ow) * d.out_channels;
    runs_[std::size_t(args_.runs++)] = {b_.turned ? dy : x, b_.turned ? x : dy, count};
  }

  // A row of the window at column w, zero outside.
  const float* padded(const float* row, std::int64_t w) {
    const Conv2dDims& d = j_.dims;
    float* to = padded_ + args_.runs * b_.x_channels;
    const std::int64_t first = std::clamp<std::int64_t>(-w, 0, d.window_w),
                       end = std::clamp<std::int64_t>(d.in_w - w, first, d.window_w);
    std::fill_n(to, first * d.in_channels, 0.0f);
    std::copy(row + (w + first) * d.in_channels, row + (w + end) * d.in_channels, to + first * d.in_channels);
    std::fill(to + end * d.in_channels, to + b_.x_channels, 0.0f);
    return to;
  }

  // Adds the block of pixels to the sums; writes them if they are the last.
  void multiply(bool last) {
    const Panels panels{b_.tile, item_->columns};
    const std::int64_t tiles = ceil_div(item_->rows, b_.tile_rows), filters = j_.dims.out_channels;
    float* const out = dweight_ + item_->tap * b_.rows * b_.columns;
    simd::WeightTile& t = args_;
    t.add = begun_;
    for (std::int64_t p = 0; p < panels.count(); ++p)
      for (std::int64_t i = 0; i < tiles; ++i) {
        const std::int64_t row = item_->row + i * b_.tile_rows, column = item_->column + p * b_.tile.columns;
        t.rows = int(std::min(b_.tile_rows, item_->rows - i * b_.tile_rows));
        t.columns = panels.used(p);
        t.a_offset = row, t.b_offset = column;
        t.a_ahead = p == 0 ? a_ahead_ : 0;
        t.b_ahead = i == 0 ? b_ahead_ : 0;
        t.sums = sums_ + (p * tiles + i) * b_.tile.rows * b_.tile.columns;
        t.out = last && !b_.turned ? out + row * filters + column : nullptr;
        t.out_stride = filters;
        simd::weight_tile(t);
        if (last && b_.turned)
          for (int k = 0; k < t.rows; ++k)
            for (int c = 0; c < t.columns; ++c)
              out[(column + c) * filters + row + k] = t.sums[k * b_.tile.columns + c];
      }
    begun_ = true, filled_ = 0, t.runs = 0;
  }

  const Job& j_;
  const WeightGradientBlocking& b_;
  simd::WeightTile args_;
  std::int64_t a_ahead_, b_ahead_;
  std::vector<simd::PixelRun> runs_;
  float* padded_;
  const Item* item_ = nullptr;
  float *sums_ = nullptr, *dweight_ = nullptr;
  std::int64_t filled_ = 0;
  bool begun_ = false;
};

// Vectors that a step of a product multiplies; a lone row waits for its own sums.
std::int64_t step_cost(std::int64_t rows, std::int64_t columns, const simd::TileShape& tile) {
  return std::max<std::int64_t>(rows, 4) * round_up(columns, tile.lanes);
}

}  // namespace

WeightGradientBlocking::WeightGradientBlocking(const Conv2dDims& d) : tile(simd::tile_shape()) {
  window_rows = d.rate.w == 1 && d.window_w > 1 && d.window_w * d.in_channels <= kLongestRow;
  taps = window_rows ? d.window_h : d.taps();
  x_channels = (window_rows ? d.window_w : 1) * d.in_channels;
  tile.rows = std::min(tile.rows, kMostRows);
  turned = step_cost(d.out_channels, x_channels, tile) < step_cost(x_channels, d.out_channels, tile);
  rows = turned ? d.out_channels : x_channels;
  columns = turned ? x_channels : d.out_channels;
  const std::int64_t tiles = ceil_div(rows, tile.rows);
  tile_rows = ceil_div(rows, tiles);
  column_blocks = ceil_div(columns, kBlockColumns);
  block_columns = round_up(ceil_div(columns, column_blocks), tile.columns);
  row_blocks = ceil_div(tiles, kBlockTiles);
  block_rows = ceil_div(tiles, row_blocks) * tile_rows;
  row_blocks = ceil_div(rows, block_rows);
  block_pixels = kBlockPixels;
  const std::int64_t visit =
      kVisitFloats / (d.in_channels * d.stride.h * d.stride.w + d.out_channels) / kBlockPixels * kBlockPixels;
  visit_pixels = std::clamp(size() > kVisitFloats ? kVisitPixels : visit, kBlockPixels, kVisitPixels);
  const std::int64_t pixels = std::max<std::int64_t>(1, d.out_pixels()),
                     most_chunks = ceil_div(pixels, kChunkPixels);
  whole_chunks = taps > 1 && size() <= kSmallGradient && most_chunks >= kWholeChunks;
  chunks = whole_chunks
               ? kWholeChunks
               : std::clamp<std::int64_t>(ceil_div(kShares, taps * tiles * column_blocks), 1, most_chunks);
  chunk_pixels = round_up(ceil_div(pixels, chunks), kBlockPixels);
  chunks = ceil_div(pixels, chunk_pixels);
}

std::int64_t WeightGradientBlocking::scratch_size() const {
  return padded_size() + (whole_chunks ? chunk_items() * sums_size() : 0);
}
std::int64_t WeightGradientBlocking::padded_size() const {
  return window_rows ? round_up(block_pixels * x_channels, simd::kChunk) : simd::kChunk;
}
std::int64_t WeightGradientBlocking::sums_size() const {
  return ceil_div(block_rows, tile_rows) * row_sums_size();
}
std::int64_t WeightGradientBlocking::shared_size() const { return whole_chunks ? 0 : items() * sums_size(); }
std::int64_t WeightGradientBlocking::partial_size() const {
  return chunks > 1 ? round_up(chunks * size(), simd::kChunk) : 0;
}

std::int64_t weight_gradient_workspace_size(const WeightGradientBlocking& b) {
  return b.partial_size() + b.shared_size() + threads() * b.scratch_size();
}

void weight_gradient(const WeightGradientBlocking& b, const Conv2dDims& dims, Span<const float> x,
                     Span<const float> dy, Span<float> workspace, Span<float> dweight) {
  const Job job{b, dims, x, dy};
  std::vector<Item> items;
  std::vector<std::int64_t> tiles_before = {0};
  for (std::int64_t i = 0; i < b.items(); ++i) {
    items.emplace_back(b, dims, i);
    tiles_before.push_back(tiles_before.back() + items.back().tiles(b));
  }
  float* const shared = workspace.data() + b.partial_size();
  float* const scratch = shared + b.shared_size();
  const std::int64_t own_size = workspace.size() - b.partial_size() - b.shared_size();
  const std::int64_t per_chunk = b.chunk_items(), size = b.size();
  float* const target = b.chunks > 1 ? workspace.data() : dweight.data();

  struct Piece {
    Item item;
    float* sums;
  };
  // Tiles [begin, end) of all items, in their order; what a tile sums does not depend on where they are cut.
  const auto run_tiles = [&](Worker& worker, std::vector<Piece>& pieces, float* own, std::int64_t begin,
                             std::int64_t end) {
    std::int64_t i =
        std::upper_bound(tiles_before.begin(), tiles_before.end(), begin) - tiles_before.begin() - 1;
    while (begin < end) {
      // All items of a chunk in turns, a few pixels each: these come from the cache but once from memory.
      const std::int64_t chunk = i / per_chunk;
      pieces.clear();
      for (; begin < end && i < (chunk + 1) * per_chunk; ++i) {
        const std::int64_t item_begin = tiles_before[std::size_t(i)], first = begin - item_begin;
        begin = std::min(end, tiles_before[std::size_t(i) + 1]);
        float* const sums = b.whole_chunks ? own + i % per_chunk * b.sums_size() : shared + i * b.sums_size();
        pieces.push_back(
            {items[std::size_t(i)].part(b, first, begin - item_begin), sums + first * b.row_sums_size()});
      }
      const std::int64_t first_pixel = pieces[0].item.first_pixel, end_pixel = pieces[0].item.end_pixel;
      for (std::int64_t at = first_pixel; at == first_pixel || at < end_pixel; at += b.visit_pixels)
        for (const Piece& piece : pieces)
          worker.visit(piece.item, at, std::min(end_pixel, at + b.visit_pixels), piece.sums,
                       target + chunk * size);
    }
  };
  // Threads take some tiles at a time, or chunks.
  const std::int64_t unit = b.whole_chunks ? tiles_before[std::size_t(per_chunk)] : 1,
                     units = tiles_before.back() / unit, work = dims.out_pixels() * size;
  const std::int64_t parts =
      std::min<std::int64_t>({threads(), own_size / b.scratch_size(), units, 1 + work / kPartWork});
  const std::int64_t least =
      parts > 1 ? std::max(units / (16 * parts), ceil_div(kPieceWork, work / units + 1)) : units;
  const std::int64_t most = std::max(least, units / (4 * parts));
  WorkShares shares(units, parts);
  parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
    std::vector<Piece> pieces;
    for (std::int64_t part = begin; part < end; ++part) {
      float* const own = scratch + part * b.scratch_size();
      Worker worker(job, own);
      while (const WorkShares::Piece piece = shares.take(part, least, most))
        run_tiles(worker, pieces, own + b.padded_size(), piece.begin * unit, piece.end * unit);
    }
  });
  if (b.chunks == 1) return;
  parallel_for(size, grain_of(b.chunks), [&](std::int64_t begin, std::int64_t end) {
    simd::add_partial_sums(target + begin, b.chunks, size, end - begin, dweight.data() + begin);
  });
}

}  // namespace atrous::kernels
