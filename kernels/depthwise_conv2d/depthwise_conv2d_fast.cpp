#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_fast.h"

#include <algorithm>

#include "atrous/core/parallel.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_plan.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_simd.h"
#include "atrous/kernels/streaming_fence.h"

namespace atrous::kernels::fast {
namespace {

using simd::DepthwiseOutput;
using simd::DepthwiseTaps;
using simd::DepthwiseTile;

constexpr std::int64_t kLeastChannels = 16;  // of the widest vector
constexpr std::int64_t kSecondCacheBytes = 1 << 20;
// Partial sums of the weight's gradient, at most, and pixels of one, at least: else adding them is what takes
// time.
constexpr std::int64_t kParts = 16, kPartPixels = 128;
constexpr std::int64_t kTaps = TapAxis::kMost * TapAxis::kMost;

// A convolution over the images of a batch: from [batch, rows.in, cols.in, channels] to [.., out, ..].
template <class Axis>
struct Work {
  std::int64_t batch, channels;
  Axis rows, cols;

  std::int64_t in_row() const { return cols.in * channels; }
  std::int64_t out_row() const { return cols.out * channels; }
  std::int64_t in_image() const { return rows.in * in_row(); }
  std::int64_t out_image() const { return rows.out * out_row(); }
};

Work<SharedAxis> shared_work(const DepthwiseConv2dDims& d) {
  const int taps = int(d.window_h);
  SharedAxis rows{d.in_h, d.out_h, d.stride.h, d.rate.h, d.padding.top, simd::kTileRows, taps};
  if (rows.step() == 2 || taps == 5) rows.group = 2;
  return {d.batch,
          d.channels,
          rows,
          {d.in_w, d.out_w, d.stride.w, d.rate.w, d.padding.left, simd::kTileCols, taps}};
}

Work<TapAxis> tap_work(const DepthwiseConv2dDims& d) {
  return {d.batch,
          d.channels,
          {d.in_h, d.out_h, d.stride.h, d.rate.h, d.padding.top, int(d.window_h), false},
          {d.in_w, d.out_w, d.stride.w, d.rate.w, d.padding.left, int(d.window_w), false}};
}

// The gradient's: from dy to dx.
Work<TapAxis> turned_work(const DepthwiseConv2dDims& d) {
  return {d.batch,
          d.channels,
          {d.out_h, d.in_h, d.stride.h, d.rate.h, d.padding.top, int(d.window_h), true},
          {d.out_w, d.in_w, d.stride.w, d.rate.w, d.padding.left, int(d.window_w), true}};
}

bool shares(const DepthwiseConv2dDims& d, int taps) {
  const Work<SharedAxis> w = shared_work(d);
  return d.window_h == taps && d.window_w == taps && w.rows.spacing() > 0 && w.cols.spacing() > 0 &&
         w.rows.step() == w.cols.step();
}
// For results; gradients of weights share with 3x3 alone.
bool shares(const DepthwiseConv2dDims& d) {
  return shares(d, 3) || (shares(d, 5) && shared_work(d).rows.step() == 1);
}

// The convolution whose forward pass on dy with turned weights is this one's dx (stride 1).
DepthwiseConv2dDims adjoint(const DepthwiseConv2dDims& d) {
  DepthwiseConv2dDims a = d;
  std::swap(a.in_h, a.out_h);
  std::swap(a.in_w, a.out_w);
  a.padding.top = d.rate.h * (d.window_h - 1) - d.padding.top;
  a.padding.left = d.rate.w * (d.window_w - 1) - d.padding.left;
  return a;
}

// How a result leaves. Lines that are stored to in part are read first: where they come from memory it pays
// to ask for them a tile ahead (1.1 to 1.2 times). Whole lines go past the cache, which saves that reading.
// Pixels a multiple of 1 KiB apart fall into four sets of the L1 or fewer, where a tile's results and inputs
// push each other out: there whole lines go past it as soon as the L2 would not hold them (1.1 times for 256
// channels, 1.4 for 2048).
void choose_stores(Span<float> y, std::int64_t channels, DepthwiseOutput& output) {
  const bool few_sets = channels % 256 == 0;
  output.stream = channels % 16 == 0 && leaves_cache(y, few_sets ? kSecondCacheBytes : kCachedBytes);
  output.fetch = !output.stream && y.size() * 4 > kCachedBytes;
}

// Tiles begin..end-1 of one run of rows of one image: call(tile).
template <class Call>
void for_each_tile(const Work<SharedAxis>& w, const SharedRun& row, std::int64_t begin, std::int64_t end,
                   const float* x, float* y, float* weight, const Call& call) {
  std::int64_t number = 0;
  DepthwiseTile t;
  t.x_row = w.rows.rate * w.in_row();
  t.x_col = w.cols.rate * w.channels;
  t.y_row = w.rows.spacing() * w.out_row();
  t.y_col = w.cols.spacing() * w.channels;
  t.weight = weight;
  t.channels = w.channels;
  t.taps = w.rows.taps;
  t.step = w.rows.step();
  t.rows = row.count;
  t.live_rows = row.live;
  // Where pixels lie 4 KiB apart, rows that are asked for ahead would be pushed out again: as if cached.
  const std::int64_t run_floats =
      ((w.rows.group - 1) * t.step + t.taps) * w.in_row() + w.rows.group * w.out_row();
  t.rows_cached = run_floats * 4 <= kSecondCacheBytes || w.channels % 1024 == 0;
  w.cols.for_each_by_place([&](const SharedRun& col, std::int64_t start_ahead, std::int64_t first_ahead) {
    if (const std::int64_t here = number++; here < begin || here >= end) return;
    t.x = x + row.start * w.in_row() + col.start * w.channels;
    t.y = y + row.first * w.out_row() + col.first * w.channels;
    t.cols = col.count;
    t.live_cols = col.live;
    t.ahead = start_ahead * w.channels;
    t.y_ahead = first_ahead * w.channels;
    call(t);
  });
}

// The pieces of one output row: runs of outputs with the same live taps.
template <class Call>
void for_each_piece(const Work<TapAxis>& w, std::int64_t row, const float* x, float* y, float* weight,
                    const Call& call) {
  const TapAxis::Live rows = w.rows.live(row);
  std::ptrdiff_t offset[kTaps];
  int tap[kTaps];
  DepthwiseTaps p;
  p.offset = offset;
  p.tap = tap;
  p.window = w.rows.taps * w.cols.taps;
  p.x = x;
  p.x_step = w.cols.input_step() * w.channels;
  p.y_step = w.cols.spacing() * w.channels;
  p.weight = weight;
  p.channels = w.channels;
  const std::int64_t spacing = w.cols.spacing();
  for (std::int64_t phase = 0; phase < spacing && phase < w.cols.out; ++phase)
    for (std::int64_t o = phase; o < w.cols.out; o += p.count * spacing) {
      const TapAxis::Live cols = w.cols.live(o);
      p.taps = 0;
      for (int r = 0; r < rows.count; ++r)
        for (int s = 0; s < cols.count; ++s) {
          offset[p.taps] = rows.input[r] * w.in_row() + cols.input[s] * w.channels;
          tap[p.taps++] = rows.tap[r] * w.cols.taps + cols.tap[s];
        }
      p.count = w.cols.alike(o);
      p.y = y + row * w.out_row() + o * w.channels;
      call(p);
    }
}

// Tiles begin..end-1 of a batch, of w.rows.runs() * w.cols.runs() an image: call(tile).
template <class Call>
void for_each_tile(const Work<SharedAxis>& w, std::int64_t begin, std::int64_t end, const float* x, float* y,
                   float* weight, const Call& call) {
  const std::int64_t runs = w.rows.runs(), tiles = w.cols.runs();
  for (std::int64_t at = begin; at < end;) {
    const std::int64_t i = at / tiles, n = i / runs, last = std::min(end - i * tiles, tiles);
    for_each_tile(w, w.rows.by_phase(i % runs), at - i * tiles, last, x + n * w.in_image(),
                  y + n * w.out_image(), weight, call);
    at = i * tiles + last;
  }
}

// Threads come for tiles, not for runs of rows: a map of 33x33 has 11 runs.
void run_tiles(const Work<SharedAxis>& w, const float* x, float* weight, const DepthwiseOutput& output,
               float* y) {
  const auto tile = simd::depthwise_tile.on(cpu_isa());
  const std::int64_t all = w.batch * w.rows.runs() * w.cols.runs();
  share_out(all, threads(), w.rows.taps * w.cols.taps * w.batch * w.out_image() / all,
            [&](std::int64_t, std::int64_t begin, std::int64_t end) {
              for_each_tile(w, begin, end, x, y, weight, [&](const DepthwiseTile& t) { tile(t, output); });
              if (output.stream) streaming_fence();
            });
}

void run_taps(const Work<TapAxis>& w, const float* x, float* weight, const DepthwiseOutput& output,
              float* y) {
  const auto taps = simd::depthwise_taps.on(cpu_isa());
  parallel_for(w.batch * w.rows.out, grain_of(9 * w.out_row()), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t n = i / w.rows.out;
      for_each_piece(w, i % w.rows.out, x + n * w.in_image(), y + n * w.out_image(), weight,
                     [&](const DepthwiseTaps& p) { taps(p, output); });
    }
    if (output.stream) streaming_fence();
  });
}

}  // namespace

bool takes(const DepthwiseConv2dDims& d) {
  return d.multiplier == 1 && d.channels >= kLeastChannels && d.window_h <= TapAxis::kMost &&
         d.window_w <= TapAxis::kMost && d.batch > 0;
}

std::int64_t packed_size(const DepthwiseConv2dDims& d) {
  return simd::depthwise_packed_size(d.channels, d.taps());
}

std::int64_t partial_size(const DepthwiseConv2dDims& d) {
  return std::min(kParts, 1 + d.out_pixels() / kPartPixels) * packed_size(d);
}

void depthwise_forward(const DepthwiseConv2dDims& d, Span<const float> x, Span<const float> weight,
                       const Conv2dEpilogue<float>& epilogue, Span<float> workspace, Span<float> y) {
  DepthwiseOutput output;
  output.bias = epilogue.bias.data();
  const Activation activation = epilogue.activation;
  output.hard_swish = activation == Activation::hard_swish;
  if (activation == Activation::relu || activation == Activation::relu6) output.floor = 0;
  if (activation == Activation::relu6) output.ceiling = 6;
  choose_stores(y, d.channels, output);
  simd::depthwise_pack(weight.data(), d.channels, d.taps(), false, workspace.data());
  if (shares(d))
    run_tiles(shared_work(d), x.data(), workspace.data(), output, y.data());
  else
    run_taps(tap_work(d), x.data(), workspace.data(), output, y.data());
}

void depthwise_backward_input(const DepthwiseConv2dDims& d, Span<const float> dy, Span<const float> weight,
                              Span<float> workspace, Span<float> dx) {
  DepthwiseOutput output;
  choose_stores(dx, d.channels, output);
  const bool tiles = d.stride == PerAxis(1) && shares(d);
  simd::depthwise_pack(weight.data(), d.channels, d.taps(), tiles, workspace.data());
  if (tiles)
    run_tiles(shared_work(adjoint(d)), dy.data(), workspace.data(), output, dx.data());
  else
    run_taps(turned_work(d), dy.data(), workspace.data(), output, dx.data());
}

void depthwise_backward_weight(const DepthwiseConv2dDims& d, Span<const float> x, Span<const float> dy,
                               Span<float> workspace, Span<float> dweight) {
  const std::int64_t size = packed_size(d);
  // Kernels of both directions share a struct; here they only read dy.
  float* const g = const_cast<float*>(dy.data());
  const auto sum_parts = [&](std::int64_t units, const auto& run) {
    const std::int64_t parts = std::min(units, partial_size(d) / size);
    share_out(parts, threads(), kPartWork, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t p = begin; p < end; ++p) {
        float* sums = workspace.data() + p * size;
        std::fill(sums, sums + size, 0.0f);
        run(units * p / parts, units * (p + 1) / parts, sums);
      }
    });
    simd::depthwise_add_parts(workspace.data(), parts, size, d.channels, d.taps(), dweight.data());
  };
  if (shares(d, 3)) {
    const auto tile = simd::depthwise_tile_weight.on(cpu_isa());
    const Work<SharedAxis> w = shared_work(d);
    sum_parts(w.batch * w.rows.runs() * w.cols.runs(),
              [&](std::int64_t begin, std::int64_t end, float* sums) {
                for_each_tile(w, begin, end, x.data(), g, sums, tile);
              });
  } else {
    const auto taps = simd::depthwise_taps_weight.on(cpu_isa());
    const Work<TapAxis> w = tap_work(d);
    sum_parts(w.batch * w.rows.out, [&](std::int64_t begin, std::int64_t end, float* sums) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t n = i / w.rows.out;
        for_each_piece(w, i % w.rows.out, x.data() + n * w.in_image(), g + n * w.out_image(), sums, taps);
      }
    });
  }
}

}  // namespace atrous::kernels::fast
