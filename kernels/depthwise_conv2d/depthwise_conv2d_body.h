#pragma once

#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

// The arithmetic of one pixel and a range of its channels: the CPU asks for all channels of a pixel, whose
// inner loops then run over contiguous memory; a CUDA thread asks for one, element(). Sums are kept in
// Accumulator<T>.

namespace atrous::kernels {

/// Channels that the CPU sums together, in registers.
inline constexpr std::int64_t kDepthwiseLanes = 16;

template <class T>
struct DepthwiseForward {
  using Sum = Accumulator<T>;
  DepthwiseConv2dDims d;
  Span<const T> x, weight;
  Conv2dEpilogue<T> epilogue;
  Span<T> y;

  /// Output channels begin..end-1 of output pixel `pixel` of [N, OH, OW].
  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    for (std::int64_t k = begin; k < end; k += kDepthwiseLanes)
      lanes<kDepthwiseLanes>(pixel, k, end - k < kDepthwiseLanes ? end - k : kDepthwiseLanes);
  }
  ATROUS_HD void element(std::int64_t pixel, std::int64_t k) const { lanes<1>(pixel, k, 1); }

 private:
  template <std::int64_t kMost>
  ATROUS_HD void lanes(std::int64_t pixel, std::int64_t begin, std::int64_t count) const {
    const std::int64_t m = d.multiplier, out_c = d.channels * m;
    const std::int64_t ow = pixel % d.out_w, oh = pixel / d.out_w % d.out_h, n = pixel / d.out_w / d.out_h;
    Sum sum[kMost];
    for (std::int64_t k = 0; k < count; ++k)
      sum[k] = epilogue.bias.empty() ? Sum(0) : Sum(epilogue.bias[begin + k]);
    const TapRange rows = live_taps(oh, d.in_h, d.padding.top, d.window_h, d.rate.h, d.stride.h);
    const TapRange cols = live_taps(ow, d.in_w, d.padding.left, d.window_w, d.rate.w, d.stride.w);
    for (std::int64_t r = rows.first; r < rows.end; ++r)
      for (std::int64_t s = cols.first; s < cols.end; ++s) {
        const std::int64_t ih = oh * d.stride.h + r * d.rate.h - d.padding.top;
        const std::int64_t iw = ow * d.stride.w + s * d.rate.w - d.padding.left;
        const T* in = x.data() + ((n * d.in_h + ih) * d.in_w + iw) * d.channels;
        const T* w = weight.data() + (r * d.window_w + s) * out_c + begin;
        if (m == 1)
          for (std::int64_t k = 0; k < count; ++k) sum[k] += Sum(in[begin + k]) * Sum(w[k]);
        else
          for (std::int64_t k = 0; k < count; ++k) sum[k] += Sum(in[(begin + k) / m]) * Sum(w[k]);
      }
    T* out = y.data() + pixel * out_c + begin;
    for (std::int64_t k = 0; k < count; ++k) out[k] = T(activate(epilogue.activation, sum[k]));
  }
};

template <class T>
struct DepthwiseBackwardInput {
  using Sum = Accumulator<T>;
  DepthwiseConv2dDims d;
  Span<const T> dy, weight;
  Span<T> dx;

  /// Input channels begin..end-1 of input pixel `pixel` of [N, H, W].
  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    for (std::int64_t c = begin; c < end; c += kDepthwiseLanes)
      lanes<kDepthwiseLanes>(pixel, c, end - c < kDepthwiseLanes ? end - c : kDepthwiseLanes);
  }
  ATROUS_HD void element(std::int64_t pixel, std::int64_t c) const { lanes<1>(pixel, c, 1); }

 private:
  template <std::int64_t kMost>
  ATROUS_HD void lanes(std::int64_t pixel, std::int64_t begin, std::int64_t count) const {
    const std::int64_t m = d.multiplier, out_c = d.channels * m;
    const std::int64_t iw = pixel % d.in_w, ih = pixel / d.in_w % d.in_h, n = pixel / d.in_w / d.in_h;
    Sum sum[kMost] = {};
    for (std::int64_t r = 0; r < d.window_h; ++r) {
      const std::int64_t oh = reader_of(ih, r, d.out_h, d.padding.top, d.rate.h, d.stride.h);
      if (oh < 0) continue;
      for (std::int64_t s = 0; s < d.window_w; ++s) {
        const std::int64_t ow = reader_of(iw, s, d.out_w, d.padding.left, d.rate.w, d.stride.w);
        if (ow < 0) continue;
        const T* g = dy.data() + ((n * d.out_h + oh) * d.out_w + ow) * out_c + begin * m;
        const T* w = weight.data() + (r * d.window_w + s) * out_c + begin * m;
        if (m == 1)
          for (std::int64_t c = 0; c < count; ++c) sum[c] += Sum(g[c]) * Sum(w[c]);
        else
          for (std::int64_t c = 0; c < count; ++c)
            for (std::int64_t j = 0; j < m; ++j) sum[c] += Sum(g[c * m + j]) * Sum(w[c * m + j]);
      }
    }
    T* out = dx.data() + pixel * d.channels + begin;
    for (std::int64_t c = 0; c < count; ++c) out[c] = T(sum[c]);
  }
};

/// The gradient of the weight from the rows begin..end-1 of dy, seen as [N*OH, OW, K].
template <class T>
struct DepthwiseBackwardWeight {
  using Sum = Accumulator<T>;
  DepthwiseConv2dDims d;
  Span<const T> x, dy;

  /// Output channels begin..end-1 of tap (r, s) into `sum`, which they overwrite; `row_sum` is scratch; both
  /// begin with channel `begin`. Sums of rows are added up, not pixels: shorter chains, smaller rounding
  /// errors.
  ATROUS_HD void operator()(std::int64_t r, std::int64_t s, std::int64_t first_row, std::int64_t last_row,
                            std::int64_t begin, std::int64_t end, Sum* row_sum, Sum* sum) const {
    const std::int64_t m = d.multiplier, out_c = d.channels * m;
    const std::int64_t count = end - begin;
    for (std::int64_t k = 0; k < count; ++k) sum[k] = Sum(0);
    for (std::int64_t row = first_row; row < last_row; ++row) {
      const std::int64_t oh = row % d.out_h, n = row / d.out_h;
      const std::int64_t ih = oh * d.stride.h + r * d.rate.h - d.padding.top;
      if (ih < 0 || ih >= d.in_h) continue;
      for (std::int64_t k = 0; k < count; ++k) row_sum[k] = Sum(0);
      for (std::int64_t ow = 0; ow < d.out_w; ++ow) {
        const std::int64_t iw = ow * d.stride.w + s * d.rate.w - d.padding.left;
        if (iw < 0 || iw >= d.in_w) continue;
        const T* in = x.data() + ((n * d.in_h + ih) * d.in_w + iw) * d.channels;
        const T* g = dy.data() + (row * d.out_w + ow) * out_c + begin;
        if (m == 1)
          for (std::int64_t k = 0; k < count; ++k) row_sum[k] += Sum(in[begin + k]) * Sum(g[k]);
        else
          for (std::int64_t k = 0; k < count; ++k) row_sum[k] += Sum(in[(begin + k) / m]) * Sum(g[k]);
      }
      for (std::int64_t k = 0; k < count; ++k) sum[k] += row_sum[k];
    }
  }
};

}  // namespace atrous::kernels
