#include "atrous/kernels/conv2d/in_place.h"

#include <algorithm>
#include <array>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/in_place_simd.h"
#include "atrous/kernels/conv2d/pointwise.h"

namespace atrous::kernels {
namespace {

using simd::InPlaceTile;

constexpr std::int64_t kMostDepth = 2048;
constexpr std::int64_t kMostWeights = 1 << 20;    // they stream past every tile, from the L2 or L3 cache
constexpr std::int64_t kCachedWeights = 1 << 18;  // half of the L2 cache
constexpr int kMostTiles = 4;                     // that use a panel of weights while it is in the L2 cache
constexpr std::int64_t kSetStride = 1024;  // floats: pixels so far apart fall into one set of the L1 cache
constexpr std::int64_t kApart = 16;        // floats between copied pixels, so that they do not

// The convolution as rows of pixels: those of the map, or all pixels in one where a window is one pixel.
struct Lines {
  std::int64_t count, out_w, in_w;  // of lines; of each, pixels of the destination and the source
  std::int64_t in_h, out_h, window_h, window_w, channels, stride_h, stride_w, rate_h, top, left;
  bool apart;  // pixels are copied, further apart than they lie

  Lines(const DirectBlocking& b, const Conv2dDims& d)
      : count(d.batch * d.out_h),
        out_w(d.out_w),
        in_w(d.in_w),
        in_h(d.in_h),
        out_h(d.out_h),
        window_h(d.window_h),
        window_w(d.window_w),
        channels(b.depth / d.taps()),
        stride_h(d.stride.h),
        stride_w(d.stride.w),
        rate_h(d.rate.h),
        top(d.padding.top),
        left(d.padding.left) {
    apart = d.taps() == 1 && stride_w * channels % kSetStride == 0;
    if (is_pointwise(d)) count = in_h = out_h = 1, out_w = in_w = d.in_pixels();
  }

  // Floats of the copied runs of a tile.
  std::int64_t scratch_size() const {
    const std::int64_t span = (simd::kMostTileRows - 1) * stride_w + window_w;
    return window_h * span * (channels + kApart);
  }
};

class Worker {
 public:
  Worker(const DirectBlocking& blocking, const Lines& lines, const float* source, const float* packed,
         const float* bias, const Conv2dEpilogue<float>& end, float* scratch, float* destination)
      : b_(blocking),
        l_(lines),
        panels_{blocking.tile, blocking.columns},
        group_(group_of(blocking)),
        source_(source),
        packed_(packed),
        bias_(bias),
        residual_(end.residual.data()),
        scratch_(scratch),
        destination_(destination) {
    const std::int64_t depth = l_.window_w * l_.channels;
    fetches_ = (depth + simd::kNextSteps - 1) / simd::kNextSteps;
    for (InPlaceTile& t : tiles_) {
      t.depth = depth;
      t.a_stride = l_.apart ? l_.channels + kApart : l_.stride_w * l_.channels;
      t.out_stride = b_.columns;
      t.activation = int(end.activation);
    }
  }

  // Pixels [begin, end) of a line, in tiles of one height; the last ones overlap.
  void run(std::int64_t line, std::int64_t begin, std::int64_t end) {
    const std::int64_t pixels = end - begin, tiles = (pixels + b_.tile.rows - 1) / b_.tile.rows;
    if (pixels <= 0) return;
    const int height = simd::in_place_height(int((pixels + tiles - 1) / tiles));
    find_runs(line);
    for (std::int64_t first = 0; first < tiles; first += group_) {
      const std::int64_t count = std::min<std::int64_t>(group_, tiles - first);
      for (std::int64_t i = 0; i < count; ++i) {
        InPlaceTile& tile = tiles_[std::size_t(i)];
        tile.rows = height, tile.store_rows = int(std::min<std::int64_t>(height, pixels));
        place(tile, i, line, std::max(begin, std::min(begin + pixels * (first + i) / tiles, end - height)),
              end);
      }
      multiply(count);
    }
  }

  /// Tiles that take a panel of weights in turn: one where all weights stay in the L2 cache.
  static int group_of(const DirectBlocking& b) { return b.packed_size() > kCachedWeights ? kMostTiles : 1; }

 private:
  // The rows of the window that lie in the map, as rows of the source.
  void find_runs(std::int64_t line) {
    const std::int64_t image = line / l_.out_h, at = line % l_.out_h * l_.stride_h - l_.top;
    runs_ = 0;
    for (std::int64_t r = 0; r < l_.window_h; ++r) {
      const std::int64_t h = at + r * l_.rate_h;
      if (h < 0 || h >= l_.in_h) continue;
      window_row_[runs_] = r;
      row_[runs_++] = source_ + (image * l_.in_h + h) * l_.in_w * l_.channels;
    }
  }

  // Where the runs of the tile at pixel `at` lie, and its results.
  void place(InPlaceTile& t, std::int64_t slot, std::int64_t line, std::int64_t at, std::int64_t end) {
    const std::int64_t first = at * l_.stride_w - l_.left;
    const std::int64_t span = (t.rows - 1) * l_.stride_w + l_.window_w;
    const bool inside = first >= 0 && first + span <= l_.in_w && !l_.apart;
    float* scratch = scratch_ + slot * l_.scratch_size();
    t.runs = runs_;
    for (int run = 0; run < runs_; ++run)
      if (inside)
        t.a[run] = row_[run] + first * l_.channels;
      else if (l_.apart)
        t.a[run] = spread(t, scratch, row_[run], first);
      else
        t.a[run] = copied(scratch + run * span * l_.channels, row_[run], first, span);
    t.out = destination_ + (line * l_.out_w + at) * b_.columns;
    t.residual = residual_ ? residual_ + (line * l_.out_w + at) * b_.columns : nullptr;
    // The next group's runs are fetched meanwhile, by each panel its share.
    t.ahead = group_ * t.rows * t.a_stride;
    const std::int64_t floats = std::min(t.rows * t.a_stride, (end - at) * t.a_stride - t.ahead);
    const std::int64_t shares = fetches_ * panels_.count();
    t.next_lines = inside && floats > 0 ? (floats / 16 + shares - 1) / shares : 0;
  }

  // A panel of weights after the other, for all tiles of the group.
  void multiply(std::int64_t count) {
    for (std::int64_t p = 0; p < panels_.count(); ++p) {
      const float* panel = packed_ + p * b_.tile.columns * b_.depth;
      for (std::int64_t i = 0; i < count; ++i) {
        InPlaceTile& t = tiles_[std::size_t(i)];
        t.columns = panels_.used(p);
        t.bias = bias_ ? bias_ + p * b_.tile.columns : nullptr;
        for (int run = 0; run < t.runs; ++run)
          t.b[run] = panel + window_row_[run] * t.depth * panels_.width(p);
        simd::in_place_tile(t);
        t.out += b_.tile.columns;
        if (t.residual) t.residual += b_.tile.columns;
        t.ahead += 16 * t.next_lines * fetches_;
      }
    }
  }

  // A run at the border: columns [first, first + span) of the source, zero outside.
  const float* copied(float* to, const float* row, std::int64_t first, std::int64_t span) const {
    const std::int64_t c = l_.channels;
    const std::int64_t from = std::clamp<std::int64_t>(first, 0, l_.in_w),
                       until = std::clamp<std::int64_t>(first + span, from, l_.in_w);
    std::fill(to, to + span * c, 0.0f);
    std::copy(row + from * c, row + until * c, to + (from - first) * c);
    return to;
  }

  // The pixels of a tile, kApart floats between them; those behind the line repeat its last.
  const float* spread(const InPlaceTile& t, float* to, const float* row, std::int64_t first) const {
    for (int i = 0; i < t.rows; ++i) {
      const std::int64_t at = std::min(first + i * l_.stride_w, l_.in_w - 1);
      std::copy_n(row + at * l_.channels, l_.channels, to + i * t.a_stride);
    }
    return to;
  }

  const DirectBlocking& b_;
  const Lines& l_;
  const Panels panels_;
  const int group_;
  const float *source_, *packed_, *bias_, *residual_;  // the last two may be null
  float *scratch_, *destination_;
  std::array<InPlaceTile, kMostTiles> tiles_;
  std::int64_t fetches_;  // times that a tile fetches something, in each run
  int runs_ = 0;
  const float* row_[simd::kMostRuns];
  std::int64_t window_row_[simd::kMostRuns];
};

}  // namespace

bool reads_in_place(Gather direction, const Conv2dDims& d) {
  const bool forward = direction == Gather::forward;
  const std::int64_t depth = d.taps() * (forward ? d.in_channels : d.out_channels);
  const std::int64_t weights = d.taps() * d.in_channels * d.out_channels;
  if (depth > kMostDepth || depth == 0 || weights > kMostWeights || d.window_h > simd::kMostRuns)
    return false;
  if (!forward) return is_pointwise(d);
  if (d.taps() == 1) return d.padding == Padding(0);
  return d.rate.w == 1 || d.window_w == 1;
}

std::int64_t in_place_scratch_size(const DirectBlocking& b, const Conv2dDims& d) {
  return Worker::group_of(b) * Lines(b, d).scratch_size();
}

void in_place_run(const DirectBlocking& b, const Conv2dDims& dims, const float* source, const float* packed,
                  const float* bias, const Conv2dEpilogue<float>& epilogue, Span<float> scratch,
                  float* destination) {
  const Lines lines(b, dims);
  const std::int64_t each = in_place_scratch_size(b, dims);
  const std::int64_t work = dims.out_pixels() * b.depth * b.columns;
  const std::int64_t parts = std::min<std::int64_t>({threads(), scratch.size() / each, 1 + work / kPartWork});
  parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      Worker worker(b, lines, source, packed, bias, epilogue, scratch.data() + part * each, destination);
      if (lines.count == 1)
        worker.run(0, lines.out_w * part / parts, lines.out_w * (part + 1) / parts);
      else
        for (std::int64_t i = lines.count * part / parts; i < lines.count * (part + 1) / parts; ++i)
          worker.run(i, 0, lines.out_w);
    }
  });
}

}  // namespace atrous::kernels
