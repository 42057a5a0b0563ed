#include "atrous/kernels/conv2d/in_place.h"

#include <algorithm>
#include <array>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/in_place_simd.h"
#include "atrous/kernels/conv2d/pointwise.h"
#include "atrous/kernels/streaming_fence.h"

namespace atrous::kernels {
namespace {

using simd::InPlaceTile;

constexpr std::int64_t kMostDepth = 2048;
constexpr std::int64_t kMostWeights = 1 << 22;
// Pixels of a tile, at most: 16 sums hide the latency as the register tile's 28 do, and are stored in smaller
// bursts. On AVX-512 that saves 1 to 5 %, with a residual 15 %.
constexpr std::int64_t kMostRows = 8;
// Tiles that take a panel of weights in turn. Where all weights stay in the L2 cache (half of it), they go
// together because a call costs as much as three steps of a sum: until their results or their steps are this
// many in all, so that the L1 cache holds what they read and write. Larger weights stream past, from the L3
// cache.
constexpr std::int64_t kCachedWeights = 1 << 18, kTogetherChannels = 1024, kTogetherSteps = 2048;
constexpr int kMostTiles = 16, kStreamedTiles = 8;
constexpr std::int64_t kSetStride = 1024;  // floats: pixels so far apart fall into one set of the L1 cache
constexpr std::int64_t kApart = 16;        // floats between copied pixels, so that they do not
// Floats of copied pixels that go together, at most: they, as many more that are fetched for the next ones
// and a panel of weights share the L2 cache.
constexpr std::int64_t kApartFloats = 1 << 16;
// Products of a piece that a thread takes at a time, at least: 10 us. Lines are cut into segments of as many
// pixels at least, so that threads find equal shares of an odd number of lines.
constexpr std::int64_t kPieceWork = 1 << 19, kSegment = 32;

std::int64_t divide_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

// The convolution as rows of pixels: those of the map, or all pixels in one where a window is one pixel. Of
// the gradient, one of its phases (in_place.h).
struct Lines {
  std::int64_t count, out_w, in_w;  // of lines; of each, pixels of the destination and the source
  std::int64_t in_h, out_h, window_h, window_w, channels, stride_h, stride_w, rate_h, top, left;
  bool apart;  // pixels are copied, further apart than they lie
  // Where pixel (h, w) of an image's destination lies: first + (h * map_w * step_h + w * step_w) * columns.
  std::int64_t first = 0, step_h = 1, step_w = 1, map_w, map_h;
  std::int64_t packed = 0;  // its weights among the packed ones

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
        left(d.padding.left),
        map_w(d.out_w),
        map_h(d.out_h) {
    apart = d.taps() == 1 && stride_w * channels % kSetStride == 0;
    if (is_pointwise(d)) count = in_h = out_h = map_h = 1, out_w = in_w = map_w = d.in_pixels();
  }
  Lines(const InPlacePhase& p, const Conv2dDims& d)
      : count(d.batch * p.h.count),
        out_w(p.w.count),
        in_w(d.out_w),
        in_h(d.out_h),
        out_h(p.h.count),
        window_h(p.w.taps > 0 ? p.h.taps : 0),
        window_w(p.w.taps),
        channels(d.out_channels),
        stride_h(1),
        stride_w(1),
        rate_h(1),
        top(p.h.before),
        left(p.w.before),
        apart(false),
        first((p.h.at * d.in_w + p.w.at) * d.in_channels),
        step_h(d.stride.h),
        step_w(d.stride.w),
        map_w(d.in_w),
        map_h(d.in_h),
        packed(p.packed) {}

  std::int64_t depth() const { return window_h * window_w * channels; }
  // Of the first pixel of a line in the destination.
  std::int64_t place(std::int64_t line, std::int64_t columns) const {
    return first + (line / out_h * map_h + line % out_h * step_h) * map_w * columns;
  }

  // Floats of the copied runs of a tile.
  std::int64_t scratch_size() const {
    const std::int64_t span = (kMostRows - 1) * stride_w + window_w;
    return window_h * span * (channels + kApart);
  }
};

class Worker {
 public:
  Worker(const DirectBlocking& blocking, const Lines& lines, const float* source, const float* packed,
         const float* bias, const Conv2dEpilogue<float>& end, float* scratch, Span<float> destination)
      : b_(blocking),
        l_(lines),
        panels_{blocking.tile, blocking.columns},
        group_(group_of(blocking, lines)),
        source_(source),
        packed_(packed + lines.packed),
        bias_(bias),
        residual_(end.residual.data()),
        y_channels_(end.y_channels_or(blocking.columns)),
        scratch_(scratch),
        destination_(destination.data()) {
    for (InPlaceTile& t : tiles_) {
      t.depth = l_.window_w * l_.channels;
      t.a_stride = l_.apart ? l_.channels + kApart : l_.stride_w * l_.channels;
      t.out_stride = l_.step_w * y_channels_;
      t.activation = int(end.activation);
      t.past_cache = writes_past_cache(blocking, end, destination);
    }
  }

  // Pixels [begin, end) of a line, in tiles of nearly equal height: a low one is slow, for the weights come
  // from the L2 cache.
  void run(std::int64_t line, std::int64_t begin, std::int64_t end) {
    const std::int64_t pixels = end - begin;
    if (pixels <= 0) return;
    const std::int64_t tiles = divide_up(pixels, most_rows(b_)), groups = divide_up(tiles, group_);
    find_runs(line);
    std::int64_t at = begin;
    for (std::int64_t group = 0; group < groups; ++group) {
      calls_ = 0;
      for (std::int64_t i = tiles * group / groups; i < tiles * (group + 1) / groups; ++i) {
        const int rows = int(pixels / tiles + (i < pixels % tiles));
        place(at, rows);
        at += rows;
      }
      multiply();
    }
  }

  static std::int64_t most_rows(const DirectBlocking& b) {
    return std::min<std::int64_t>(b.tile.rows, kMostRows);
  }

  /// Tiles that take a panel of weights in turn.
  static int group_of(const DirectBlocking& b, const Lines& lines) {
    if (b.packed_size() > kCachedWeights)
      return lines.apart
                 ? int(std::clamp<std::int64_t>(kApartFloats / lines.channels / kMostRows, 1, kStreamedTiles))
                 : kStreamedTiles;
    if (lines.apart) return 1;
    const std::int64_t columns = std::max<std::int64_t>(1, b.columns),
                       tiles = std::min(kTogetherChannels / columns, kTogetherSteps / b.depth);
    return int(std::clamp<std::int64_t>(tiles, 1, kMostTiles));
  }
  /// Whether results are written past the cache: they leave it, and a panel's are whole lines.
  static bool writes_past_cache(const DirectBlocking& b, const Conv2dEpilogue<float>& end, Span<float> y) {
    const std::int64_t line = 16;
    return b.tile.columns % line == 0 && b.columns % line == 0 && end.y_channels_or(b.columns) % line == 0 &&
           leaves_cache(y);
  }

 private:
  // The rows of the window that lie in the map, as rows of the source.
  void find_runs(std::int64_t line) {
    const std::int64_t image = line / l_.out_h, at = line % l_.out_h * l_.stride_h - l_.top;
    line_ = l_.place(line, y_channels_);
    runs_ = 0;
    for (std::int64_t r = 0; r < l_.window_h; ++r) {
      const std::int64_t h = at + r * l_.rate_h;
      if (h < 0 || h >= l_.in_h) continue;
      window_row_[runs_] = r;
      row_[runs_++] = source_ + (image * l_.in_h + h) * l_.in_w * l_.channels;
    }
  }

  // Puts the tile at pixel `at` behind the others of the group: where its runs lie, and its results.
  void place(std::int64_t at, int rows) {
    const std::int64_t first = at * l_.stride_w - l_.left;
    const std::int64_t span = (rows - 1) * l_.stride_w + l_.window_w;
    const bool inside = first >= 0 && first + span <= l_.in_w && !l_.apart;
    if (inside && calls_ > 0 && next_ == at && tiles_[std::size_t(calls_ - 1)].rows == rows) {
      ++tiles_[std::size_t(calls_ - 1)].tiles;
      next_ = at + rows;
      return;
    }
    next_ = inside ? at + rows : -1;
    float* scratch = scratch_ + calls_ * l_.scratch_size();
    InPlaceTile& t = tiles_[std::size_t(calls_++)];
    t.rows = rows, t.runs = runs_, t.tiles = 1;
    for (int run = 0; run < runs_; ++run)
      if (inside)
        t.a[run] = row_[run] + first * l_.channels;
      else if (l_.apart)
        t.a[run] = spread(t, scratch, row_[run], first);
      else
        t.a[run] = copied(scratch + run * span * l_.channels, row_[run], first, span);
    const std::int64_t to = line_ + at * t.out_stride;
    t.out = destination_ + to;
    t.residual = residual_ ? residual_ + to : nullptr;
    // The next tile's runs are fetched meanwhile, or the next group's, by each panel its share.
    const std::int64_t next = (panels_.count() > 1 ? group_ : 1) * rows,
                       pixels = std::min<std::int64_t>(rows, l_.out_w - at - next),
                       steps = std::max<std::int64_t>(1, t.depth * panels_.count());
    t.ahead = next * t.a_stride, t.ahead_step = 0;
    if (l_.apart && pixels > 0)  // from where they will be copied
      t.ahead = floats_between(t.a[0], row_[0] + (first + next * l_.stride_w) * l_.channels);
    if ((inside || l_.apart) && pixels > 0)
      t.ahead_step = divide_up(pixels * l_.stride_w * l_.channels, steps);
  }

  // Even if they belong to different arrays.
  static std::int64_t floats_between(const float* from, const float* to) {
    return (std::int64_t(std::uintptr_t(to)) - std::int64_t(std::uintptr_t(from))) /
           std::int64_t(sizeof(float));
  }

  // A panel of weights after the other, for all tiles of the group.
  void multiply() {
    for (std::int64_t p = 0; p < panels_.count(); ++p) {
      const float* panel = packed_ + p * b_.tile.columns * l_.depth();
      for (int i = 0; i < calls_; ++i) {
        InPlaceTile& t = tiles_[std::size_t(i)];
        t.columns = panels_.used(p);
        t.bias = bias_ ? bias_ + p * b_.tile.columns : nullptr;
        for (int run = 0; run < t.runs; ++run)
          t.b[run] = panel + window_row_[run] * t.depth * panels_.width(p);
        simd::in_place_tile(t);
        t.out += b_.tile.columns;
        if (t.residual) t.residual += b_.tile.columns;
        t.ahead += t.ahead_step * t.depth;
      }
    }
  }

  // A run at the border: columns [first, first + span) of the source, zero outside.
  const float* copied(float* to, const float* row, std::int64_t first, std::int64_t span) const {
    const std::int64_t c = l_.channels;
    const std::int64_t from = std::clamp<std::int64_t>(first, 0, l_.in_w),
                       until = std::clamp<std::int64_t>(first + span, from, l_.in_w);
    std::fill(to, to + span * c, 0.0f);
    if (from < until) std::copy(row + from * c, row + until * c, to + (from - first) * c);
    return to;
  }

  // The pixels of a tile, kApart floats between them.
  const float* spread(const InPlaceTile& t, float* to, const float* row, std::int64_t first) const {
    for (int i = 0; i < t.rows; ++i)
      std::copy_n(row + (first + i * l_.stride_w) * l_.channels, l_.channels, to + i * t.a_stride);
    return to;
  }

  const DirectBlocking& b_;
  const Lines& l_;
  const Panels panels_;
  const int group_;
  const float *source_, *packed_, *bias_, *residual_;  // the last two may be null
  const std::int64_t y_channels_;                      // of a pixel of the destination
  float *scratch_, *destination_;
  std::array<InPlaceTile, kMostTiles> tiles_;
  int calls_ = 0;           // of the group: a tile, or some that lie inside side by side
  std::int64_t next_ = -1;  // the pixel behind the last call's, if that lies inside
  int runs_ = 0;
  std::int64_t line_ = 0;  // where the line begins in the destination
  const float* row_[simd::kMostRuns];
  std::int64_t window_row_[simd::kMostRuns];
};

}  // namespace

bool reads_in_place(Gather direction, const Conv2dDims& d) {
  const bool forward = direction == Gather::forward;
  const std::int64_t depth = d.taps() * (forward ? d.in_channels : d.out_channels);
  const std::int64_t weights = d.taps() * d.in_channels * d.out_channels;
  if (depth == 0 || weights > kMostWeights || d.window_h > simd::kMostRuns) return false;
  if (!forward && !is_pointwise(d))
    return d.rate == PerAxis(1) && depth <= kMostDepth * d.stride.h * d.stride.w;
  if (depth > kMostDepth) return false;
  if (d.taps() == 1) return d.padding == Padding(0);
  return d.rate.w == 1 || d.window_w == 1;
}

std::vector<InPlacePhase> in_place_phases(const DirectBlocking& b, const Conv2dDims& d) {
  // Position at + i*stride gathers from (at + before - r) / stride through every stride-th tap r, the last
  // one first.
  const auto along = [](std::int64_t in, std::int64_t taps, std::int64_t before, std::int64_t stride) {
    std::vector<InPlacePhase::Axis> axis;
    for (std::int64_t at = 0; at < std::min(in, stride); ++at) {
      const std::int64_t tap = ((at + before) % stride + stride) % stride;
      const std::int64_t count = tap < taps ? (taps - tap + stride - 1) / stride : 0;
      axis.push_back(
          {at, (in - at + stride - 1) / stride, tap, count, count - 1 - (at + before - tap) / stride});
    }
    return axis;
  };
  std::vector<InPlacePhase> phases;
  std::int64_t packed = 0;
  for (const auto& h : along(d.in_h, d.window_h, d.padding.top, d.stride.h))
    for (const auto& w : along(d.in_w, d.window_w, d.padding.left, d.stride.w)) {
      phases.push_back({h, w, packed});
      packed += h.taps * w.taps * d.out_channels * round_up(b.columns, b.tile.lanes);
    }
  return phases;
}

namespace {

// body(what a convolution is made of, in the order of their rows in the destination). One alone, as in every
// forward pass, makes no list.
template <class Body>
void with_lines(const DirectBlocking& b, const Conv2dDims& d, const Body& body) {
  if (!b.phases) {
    const Lines one(b, d);
    return body(Span<const Lines>(&one, 1));
  }
  std::vector<Lines> lines;
  for (const InPlacePhase& p : in_place_phases(b, d)) lines.emplace_back(p, d);
  body(Span<const Lines>(lines.data(), std::int64_t(lines.size())));
}

void run(const DirectBlocking& b, const Conv2dDims& dims, Span<const Lines> phases, const float* source,
         const float* packed, const float* bias, const Conv2dEpilogue<float>& epilogue, Span<float> scratch,
         Span<float> destination) {
  if (phases.empty() || destination.empty()) return;
  const std::int64_t each = in_place_scratch_size(b, dims);
  const bool one_line = phases.size() == 1 && phases[0].count == 1;
  const std::int64_t rows = dims.batch * phases[0].map_h,
                     across = b.phases ? std::min(dims.stride.w, dims.in_w) : 1;
  const std::int64_t work = (b.phases ? dims.out_pixels() : rows * phases[0].out_w) * b.depth * b.columns;
  const std::int64_t parts = std::min<std::int64_t>({threads(), scratch.size() / each, 1 + work / kPartWork});
  // Threads take groups of tiles, or segments of lines.
  const std::int64_t width = phases[0].out_w, height = Worker::most_rows(b);
  const std::int64_t segments =
      parts > 1
          ? std::clamp<std::int64_t>(work / rows / kPieceWork, 1, std::max<std::int64_t>(1, width / kSegment))
          : 1;
  const std::int64_t units = one_line ? divide_up(width, height) : rows * segments;
  const std::int64_t group = one_line ? Worker::group_of(b, phases[0]) : 1,
                     least = parts > 1 ? std::max(divide_up(kPieceWork, work / units + 1), (group + 1) / 2)
                                       : units,
                     most = std::max(group, least);
  WorkShares shares(units, parts);
  // One piece, by a worker for each of the phases.
  const auto run_piece = [&](Worker* workers, WorkShares::Piece piece) {
    if (one_line) return workers[0].run(0, piece.begin * height, std::min(width, piece.end * height));
    for (std::int64_t at = piece.begin; at < piece.end; ++at) {
      // All phases that lie in this row of the destination.
      const std::int64_t row = at / segments, segment = at % segments;
      const std::int64_t h = row % phases[0].map_h, image = row / phases[0].map_h;
      const std::int64_t down = b.phases ? h % dims.stride.h : 0;
      for (std::int64_t i = down * across; i < (down + 1) * across; ++i) {
        const Lines& l = phases[i];
        workers[i].run(image * l.out_h + h / l.step_h, l.out_w * segment / segments,
                       l.out_w * (segment + 1) / segments);
      }
    }
  };
  parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      const auto worker = [&](const Lines& lines) {
        return Worker(b, lines, source, packed, bias, epilogue, scratch.data() + part * each, destination);
      };
      const auto run_part = [&](Worker* workers) {
        while (const WorkShares::Piece piece = shares.take(part, least, most)) run_piece(workers, piece);
      };
      if (phases.size() == 1) {
        Worker one = worker(phases[0]);
        run_part(&one);
      } else {
        std::vector<Worker> workers;
        for (const Lines& lines : phases) workers.push_back(worker(lines));
        run_part(workers.data());
      }
    }
    streaming_fence();
  });
}

}  // namespace

std::int64_t in_place_scratch_size(const DirectBlocking& b, const Conv2dDims& d) {
  std::int64_t size = 1;
  with_lines(b, d, [&](Span<const Lines> all) {
    for (const Lines& lines : all) size = std::max(size, Worker::group_of(b, lines) * lines.scratch_size());
  });
  return size;
}

void in_place_run(const DirectBlocking& b, const Conv2dDims& dims, const float* source, const float* packed,
                  const float* bias, const Conv2dEpilogue<float>& epilogue, Span<float> scratch,
                  Span<float> destination) {
  with_lines(b, dims, [&](Span<const Lines> phases) {
    run(b, dims, phases, source, packed, bias, epilogue, scratch, destination);
  });
}

}  // namespace atrous::kernels
