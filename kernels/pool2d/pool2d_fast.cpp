#include "atrous/kernels/pool2d/pool2d_fast.h"

#include <algorithm>

#include "atrous/core/parallel.h"
#include "atrous/kernels/pool2d/pool2d_body.h"
#include "atrous/kernels/pool2d/pool2d_simd.h"
#include "atrous/kernels/streaming_fence.h"

namespace atrous::kernels::fast {
namespace {

constexpr int kMostTaps = 256;               // pixels under one window, or windows over one pixel
constexpr std::int64_t kLeastChannels = 16;  // of the widest vector
constexpr std::int64_t kBlock = 16;          // channels of one piece of a global mean: a line

bool takes(const Pool2dDims& d) { return d.channels >= kLeastChannels && d.taps() <= kMostTaps; }

// body(n, row, column) for every pixel of [batch, height, width].
template <class Body>
void for_each_pixel(std::int64_t batch, std::int64_t height, std::int64_t width, const Body& body) {
  parallel_for(batch * height, grain_of(width * kLeastChannels), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t w = 0; w < width; ++w) body(i / height, i % height, w);
  });
}

// Pixels of x under the window at (oh, ow), and which taps they are.
struct UnderWindow {
  const float* in[kMostTaps];
  std::int32_t tap[kMostTaps];
  int count = 0;

  UnderWindow(const Pool2dDims& d, const float* x, std::int64_t n, std::int64_t oh, std::int64_t ow) {
    const PoolWindow w(d, oh, ow);
    const float* image = x + n * d.in_h * d.in_w * d.channels;
    for (std::int64_t r = w.rows.first; r < w.rows.end; ++r)
      for (std::int64_t s = w.cols.first; s < w.cols.end; ++s) {
        const std::int64_t h = oh * d.stride.h + r - d.padding.top, v = ow * d.stride.w + s - d.padding.left;
        tap[count] = std::int32_t(r * d.window.w + s);
        in[count++] = image + (h * d.in_w + v) * d.channels;
      }
  }
};

// windows_over() for positions that do not fall, without its divisions.
class WindowsOver {
 public:
  WindowsOver(std::int64_t out, std::int64_t before, std::int64_t window, std::int64_t stride)
      : out_(out), before_(before), window_(window), stride_(stride) {}
  TapRange at(std::int64_t position) {
    const std::int64_t p = position + before_;
    while (first_ * stride_ + window_ <= p) ++first_;
    while (end_ < out_ && end_ * stride_ <= p) ++end_;
    return {first_, end_};
  }

 private:
  const std::int64_t out_, before_, window_, stride_;
  std::int64_t first_ = 0, end_ = 0;
};

// body(n, h, w, windows over row h, over column w) for every pixel of the input.
template <class Body>
void for_each_input(const Pool2dDims& d, bool stream, const Body& body) {
  parallel_for(d.batch * d.in_h, grain_of(d.in_w * kLeastChannels),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t n = i / d.in_h, h = i % d.in_h;
                   const TapRange rows = windows_over(h, d.out_h, d.padding.top, d.window.h, d.stride.h);
                   WindowsOver columns(d.out_w, d.padding.left, d.window.w, d.stride.w);
                   for (std::int64_t w = 0; w < d.in_w; ++w) body(n, h, w, rows, columns.at(w));
                 }
                 if (stream) streaming_fence();
               });
}

}  // namespace

bool max_pool_forward(const Pool2dDims& d, Span<const float> x, Span<float> y, MaxTaps taps) {
  if (!takes(d)) return false;
  std::uint8_t* const narrow = taps.narrow.empty() ? nullptr : taps.narrow.data();
  const auto one = [&](std::int64_t n, std::int64_t oh, std::int64_t ow) {
    const UnderWindow under(d, x.data(), n, oh, ow);
    const std::int64_t at = ((n * d.out_h + oh) * d.out_w + ow) * d.channels;
    simd::max_of_pixels(under.in, under.tap, under.count, d.channels, y.data() + at,
                        narrow ? narrow + at : nullptr);
  };
  const std::int64_t left = d.padding.left, right = std::min(d.out_w, d.in_w - 2 + left);
  if (d.window != PerAxis(3) || d.stride != PerAxis(1) || right - left < simd::kMaxTileCols) {
    for_each_pixel(d.batch, d.out_h, d.out_w, one);
    return true;
  }
  // Windows inside of the image go in tiles, kMaxTileRows rows together; the last tile of a row may overlap
  // the one before. Those that reach into the padding go one by one.
  const std::int64_t top = d.padding.top, bottom = std::min(d.out_h, d.in_h - 2 + top);
  const std::int64_t groups = (d.out_h + simd::kMaxTileRows - 1) / simd::kMaxTileRows;
  const auto tiles = [&](std::int64_t n, std::int64_t oh, std::int64_t rows) {
    for (std::int64_t ow = left; ow < right; ow += simd::kMaxTileCols) {
      const std::int64_t w = std::min(ow, right - simd::kMaxTileCols);
      simd::MaxTile t;
      t.x = x.data() + ((n * d.in_h + oh - top) * d.in_w + w - left) * d.channels;
      t.x_row = d.in_w * d.channels;
      t.y_row = d.out_w * d.channels;
      const std::int64_t at = ((n * d.out_h + oh) * d.out_w + w) * d.channels;
      t.y = y.data() + at;
      t.taps = narrow ? narrow + at : nullptr;
      t.rows = int(rows);
      t.channels = d.channels;
      simd::max_of_tile(t);
    }
  };
  const auto group = [&](std::int64_t n, std::int64_t first, std::int64_t end) {
    const std::int64_t inner = std::max(first, top), inner_end = std::min(end, bottom);
    if (inner < inner_end) tiles(n, inner, inner_end - inner);
    for (std::int64_t oh = first; oh < end; ++oh) {
      const bool tiled = oh >= inner && oh < inner_end;
      for (std::int64_t ow = 0; ow < d.out_w; ++ow)
        if (!tiled || ow < left || ow >= right) one(n, oh, ow);
    }
  };
  parallel_for(d.batch * groups, grain_of(simd::kMaxTileRows * d.out_w * d.channels),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t first = i % groups * simd::kMaxTileRows;
                   group(i / groups, first, std::min(first + simd::kMaxTileRows, d.out_h));
                 }
               });
  return true;
}

bool max_pool_backward(const Pool2dDims& d, Span<const float> dy, MaxTaps taps, Span<float> dx) {
  if (!takes(d)) return false;
  const bool stream = d.channels % 16 == 0 && leaves_cache(dx, kCachedBytesOfWriters);
  for_each_input(d, stream,
                 [&](std::int64_t n, std::int64_t h, std::int64_t w, TapRange rows, TapRange cols) {
                   std::int64_t from[kMostTaps];
                   std::int32_t tap[kMostTaps];
                   int count = 0;
                   for (std::int64_t oh = rows.first; oh < rows.end; ++oh)
                     for (std::int64_t ow = cols.first; ow < cols.end; ++ow) {
                       tap[count] = std::int32_t((h + d.padding.top - oh * d.stride.h) * d.window.w +
                                                 (w + d.padding.left - ow * d.stride.w));
                       from[count++] = ((n * d.out_h + oh) * d.out_w + ow) * d.channels;
                     }
                   simd::sum_where_largest(dy.data(), taps.narrow.data(), from, tap, count, d.channels,
                                           stream, dx.data() + ((n * d.in_h + h) * d.in_w + w) * d.channels);
                 });
  return true;
}

bool avg_pool_forward(const Pool2dDims& d, Span<const float> x, Span<float> y) {
  if (!takes(d)) return false;
  for_each_pixel(d.batch, d.out_h, d.out_w, [&](std::int64_t n, std::int64_t oh, std::int64_t ow) {
    const UnderWindow under(d, x.data(), n, oh, ow);
    float weight[kMostTaps];
    std::fill_n(weight, under.count, 1.0f / float(pool_divisor(d, oh, ow)));
    simd::weighted_sum_of_pixels(under.in, weight, under.count, d.channels,
                                 y.data() + ((n * d.out_h + oh) * d.out_w + ow) * d.channels);
  });
  return true;
}

bool avg_pool_backward(const Pool2dDims& d, Span<const float> dy, Span<float> dx) {
  if (!takes(d)) return false;
  for_each_input(d, false, [&](std::int64_t n, std::int64_t h, std::int64_t w, TapRange rows, TapRange cols) {
    const float* in[kMostTaps];
    float weight[kMostTaps];
    int count = 0;
    for (std::int64_t oh = rows.first; oh < rows.end; ++oh)
      for (std::int64_t ow = cols.first; ow < cols.end; ++ow) {
        in[count] = dy.data() + ((n * d.out_h + oh) * d.out_w + ow) * d.channels;
        weight[count++] = 1.0f / float(pool_divisor(d, oh, ow));
      }
    simd::weighted_sum_of_pixels(in, weight, count, d.channels,
                                 dx.data() + ((n * d.in_h + h) * d.in_w + w) * d.channels);
  });
  return true;
}

bool global_avg_pool_forward(std::int64_t batch, std::int64_t height, std::int64_t width,
                             std::int64_t channels, Span<const float> x, Span<float> y) {
  const std::int64_t pieces = (channels + kBlock - 1) / kBlock;
  // Neighbouring pieces of one image go in one call.
  parallel_for(batch * pieces, grain_of(height * width * kBlock), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end;) {
      const std::int64_t n = at / pieces, last = std::min(end - n * pieces, pieces),
                         from = (at - n * pieces) * kBlock, to = std::min(last * kBlock, channels);
      simd::mean_of_image(x.data() + n * height * width * channels + from, height, width, channels, to - from,
                          y.data() + n * channels + from);
      at = n * pieces + last;
    }
  });
  return true;
}

bool global_avg_pool_backward(std::int64_t batch, std::int64_t pixels, std::int64_t channels,
                              Span<const float> dy, Span<float> dx) {
  const float share = 1.0f / float(pixels);
  const bool stream = channels % 16 == 0 && leaves_cache(dx, kCachedBytesOfWriters);
  parallel_for(batch * pixels, grain_of(channels), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end;) {
      const std::int64_t n = at / pixels, last = std::min(end, (n + 1) * pixels);
      simd::fill_pixels(dy.data() + n * channels, share, channels, last - at, stream,
                        dx.data() + at * channels);
      at = last;
    }
    if (stream) streaming_fence();
  });
  return true;
}

}  // namespace atrous::kernels::fast
