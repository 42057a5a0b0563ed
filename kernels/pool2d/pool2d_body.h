#pragma once

#include <limits>

#include "atrous/core/dtype.h"
#include "atrous/kernels/pool2d/pool2d.h"

// Which taps a window has, and the arithmetic of one pixel and a range of its channels, of at most
// kPoolChannels: inner loops run over contiguous memory.

namespace atrous::kernels {

inline constexpr std::int64_t kPoolChannels = 64;

/// Taps of the window at (oh, ow) that lie inside the image.
struct PoolWindow {
  TapRange rows, cols;
  ATROUS_HD PoolWindow(const Pool2dDims& d, std::int64_t oh, std::int64_t ow)
      : rows(live_taps(oh, d.in_h, d.padding.top, d.window.h, 1, d.stride.h)),
        cols(live_taps(ow, d.in_w, d.padding.left, d.window.w, 1, d.stride.w)) {}
  ATROUS_HD bool empty() const { return rows.first >= rows.end || cols.first >= cols.end; }
};

/// What the sum of the window at (oh, ow) is divided by; at least 1.
ATROUS_HD inline std::int64_t pool_divisor(const Pool2dDims& d, std::int64_t oh, std::int64_t ow) {
  const PoolWindow inside(d, oh, ow);
  if (inside.empty()) return 1;
  if (!d.count_include_pad)
    return (inside.rows.end - inside.rows.first) * (inside.cols.end - inside.cols.first);
  // Taps from the window's start to the end of the padding: a last window of ceil mode may reach beyond it.
  const std::int64_t room_h = d.in_h + d.padding.bottom + d.padding.top - oh * d.stride.h;
  const std::int64_t room_w = d.in_w + d.padding.right + d.padding.left - ow * d.stride.w;
  return (room_h < d.window.h ? room_h : d.window.h) * (room_w < d.window.w ? room_w : d.window.w);
}

/// First and last output position whose window holds input position `at`.
ATROUS_HD inline TapRange windows_over(std::int64_t at, std::int64_t out, std::int64_t before,
                                       std::int64_t window, std::int64_t stride) {
  const std::int64_t last = (at + before) / stride, rest = at + before - window + 1;
  return {rest <= 0 ? 0 : (rest + stride - 1) / stride, last < out - 1 ? last + 1 : out};
}

template <class T, class Index>
struct MaxPoolForward {
  Pool2dDims d;
  Span<const T> x;
  Span<T> y;
  Span<Index> taps;  // may be empty

  /// Channels begin..end-1 of output pixel `pixel` of [N, OH, OW].
  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    const std::int64_t ow = pixel % d.out_w, oh = pixel / d.out_w % d.out_h, n = pixel / d.out_w / d.out_h;
    T* best = y.data() + pixel * d.channels;
    Index* where = taps.empty() ? nullptr : taps.data() + pixel * d.channels;
    const PoolWindow w(d, oh, ow);
    const auto first = w.empty() ? Index(0) : Index(w.rows.first * d.window.w + w.cols.first);
    constexpr auto kLeast = -std::numeric_limits<Accumulator<T>>::infinity();
    for (std::int64_t c = begin; c < end; ++c) best[c] = T(kLeast);
    for (std::int64_t c = begin; where && c < end; ++c) where[c] = first;
    for (std::int64_t r = w.rows.first; r < w.rows.end; ++r)
      for (std::int64_t s = w.cols.first; s < w.cols.end; ++s) {
        const std::int64_t ih = oh * d.stride.h + r - d.padding.top,
                           iw = ow * d.stride.w + s - d.padding.left;
        const T* in = x.data() + ((n * d.in_h + ih) * d.in_w + iw) * d.channels;
        for (std::int64_t c = begin; c < end; ++c) {
          const auto v = Accumulator<T>(in[c]), b = Accumulator<T>(best[c]);
          const bool better = v > b || (v != v && b == b);
          if (better) best[c] = in[c];
          if (better && where) where[c] = Index(r * d.window.w + s);
        }
      }
  }
};

template <class T, class Index>
struct MaxPoolBackward {
  Pool2dDims d;
  Span<const T> dy;
  Span<const Index> taps;
  Span<T> dx;

  /// Channels begin..end-1 of input pixel `pixel` of [N, H, W].
  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    const std::int64_t iw = pixel % d.in_w, ih = pixel / d.in_w % d.in_h, n = pixel / d.in_w / d.in_h;
    Accumulator<T> sum[kPoolChannels] = {};
    const TapRange rows = windows_over(ih, d.out_h, d.padding.top, d.window.h, d.stride.h);
    const TapRange cols = windows_over(iw, d.out_w, d.padding.left, d.window.w, d.stride.w);
    for (std::int64_t oh = rows.first; oh < rows.end; ++oh)
      for (std::int64_t ow = cols.first; ow < cols.end; ++ow) {
        const auto tap = Index((ih + d.padding.top - oh * d.stride.h) * d.window.w +
                               (iw + d.padding.left - ow * d.stride.w));
        const std::int64_t from = ((n * d.out_h + oh) * d.out_w + ow) * d.channels;
        for (std::int64_t c = begin; c < end; ++c)
          sum[c - begin] += taps[from + c] == tap ? Accumulator<T>(dy[from + c]) : Accumulator<T>(0);
      }
    T* out = dx.data() + pixel * d.channels;
    for (std::int64_t c = begin; c < end; ++c) out[c] = T(sum[c - begin]);
  }
};

template <class T>
struct AvgPoolForward {
  Pool2dDims d;
  Span<const T> x;
  Span<T> y;

  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    const std::int64_t ow = pixel % d.out_w, oh = pixel / d.out_w % d.out_h, n = pixel / d.out_w / d.out_h;
    Accumulator<T> sum[kPoolChannels] = {};
    const PoolWindow w(d, oh, ow);
    for (std::int64_t r = w.rows.first; r < w.rows.end; ++r)
      for (std::int64_t s = w.cols.first; s < w.cols.end; ++s) {
        const std::int64_t ih = oh * d.stride.h + r - d.padding.top,
                           iw = ow * d.stride.w + s - d.padding.left;
        const T* in = x.data() + ((n * d.in_h + ih) * d.in_w + iw) * d.channels;
        for (std::int64_t c = begin; c < end; ++c) sum[c - begin] += Accumulator<T>(in[c]);
      }
    const auto divisor = Accumulator<T>(pool_divisor(d, oh, ow));
    T* out = y.data() + pixel * d.channels;
    for (std::int64_t c = begin; c < end; ++c) out[c] = T(sum[c - begin] / divisor);
  }
};

template <class T>
struct AvgPoolBackward {
  Pool2dDims d;
  Span<const T> dy;
  Span<T> dx;

  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    const std::int64_t iw = pixel % d.in_w, ih = pixel / d.in_w % d.in_h, n = pixel / d.in_w / d.in_h;
    Accumulator<T> sum[kPoolChannels] = {};
    const TapRange rows = windows_over(ih, d.out_h, d.padding.top, d.window.h, d.stride.h);
    const TapRange cols = windows_over(iw, d.out_w, d.padding.left, d.window.w, d.stride.w);
    for (std::int64_t oh = rows.first; oh < rows.end; ++oh)
      for (std::int64_t ow = cols.first; ow < cols.end; ++ow) {
        const auto share = Accumulator<T>(1) / Accumulator<T>(pool_divisor(d, oh, ow));
        const T* g = dy.data() + ((n * d.out_h + oh) * d.out_w + ow) * d.channels;
        for (std::int64_t c = begin; c < end; ++c) sum[c - begin] += Accumulator<T>(g[c]) * share;
      }
    T* out = dx.data() + pixel * d.channels;
    for (std::int64_t c = begin; c < end; ++c) out[c] = T(sum[c - begin]);
  }
};

}  // namespace atrous::kernels
