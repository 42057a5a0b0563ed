#pragma once

#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

// The arithmetic of one pixel and a range of its channels: the CPU asks for all channels of a pixel, whose
// inner loops then run over contiguous memory; a CUDA thread asks for one.

namespace atrous::kernels {

template <class T>
struct DepthwiseForward {
  DepthwiseConv2dDims d;
  Span<const T> x, weight;
  Conv2dEpilogue<T> epilogue;
  Span<T> y;

  /// Output channels begin..end-1 of output pixel `pixel` of [N, OH, OW].
  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    const std::int64_t m = d.multiplier, out_c = d.channels * m;
    const std::int64_t ow = pixel % d.out_w, oh = pixel / d.out_w % d.out_h, n = pixel / d.out_w / d.out_h;
    T* out = y.data() + pixel * out_c;
    for (std::int64_t k = begin; k < end; ++k) out[k] = epilogue.bias.empty() ? T(0) : epilogue.bias[k];
    const TapRange rows = live_taps(oh, d.in_h, d.padding.top, d.window_h, d.rate.h, d.stride.h);
    const TapRange cols = live_taps(ow, d.in_w, d.padding.left, d.window_w, d.rate.w, d.stride.w);
    for (std::int64_t r = rows.first; r < rows.end; ++r)
      for (std::int64_t s = cols.first; s < cols.end; ++s) {
        const std::int64_t ih = oh * d.stride.h + r * d.rate.h - d.padding.top;
        const std::int64_t iw = ow * d.stride.w + s * d.rate.w - d.padding.left;
        const T* in = x.data() + ((n * d.in_h + ih) * d.in_w + iw) * d.channels;
        const T* w = weight.data() + (r * d.window_w + s) * out_c;
        if (m == 1)
          for (std::int64_t k = begin; k < end; ++k) out[k] += in[k] * w[k];
        else
          for (std::int64_t k = begin; k < end; ++k) out[k] += in[k / m] * w[k];
      }
    if (epilogue.activation != Activation::none)
      for (std::int64_t k = begin; k < end; ++k) out[k] = activate(epilogue.activation, out[k]);
  }
};

template <class T>
struct DepthwiseBackwardInput {
  DepthwiseConv2dDims d;
  Span<const T> dy, weight;
  Span<T> dx;

  /// Input channels begin..end-1 of input pixel `pixel` of [N, H, W].
  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    const std::int64_t m = d.multiplier, out_c = d.channels * m;
    const std::int64_t iw = pixel % d.in_w, ih = pixel / d.in_w % d.in_h, n = pixel / d.in_w / d.in_h;
    T* out = dx.data() + pixel * d.channels;
    for (std::int64_t c = begin; c < end; ++c) out[c] = T(0);
    for (std::int64_t r = 0; r < d.window_h; ++r) {
      const std::int64_t oh = reader_of(ih, r, d.out_h, d.padding.top, d.rate.h, d.stride.h);
      if (oh < 0) continue;
      for (std::int64_t s = 0; s < d.window_w; ++s) {
        const std::int64_t ow = reader_of(iw, s, d.out_w, d.padding.left, d.rate.w, d.stride.w);
        if (ow < 0) continue;
        const T* g = dy.data() + ((n * d.out_h + oh) * d.out_w + ow) * out_c;
        const T* w = weight.data() + (r * d.window_w + s) * out_c;
        if (m == 1)
          for (std::int64_t c = begin; c < end; ++c) out[c] += g[c] * w[c];
        else
          for (std::int64_t c = begin; c < end; ++c)
            for (std::int64_t j = 0; j < m; ++j) out[c] += g[c * m + j] * w[c * m + j];
      }
    }
  }
};

/// The gradient of the weight from the rows begin..end-1 of dy, seen as [N*OH, OW, K].
template <class T>
struct DepthwiseBackwardWeight {
  DepthwiseConv2dDims d;
  Span<const T> x, dy;

  /// Output channels begin..end-1 of tap (r, s) into `sum`, which they overwrite; `row_sum` is scratch. Sums
  /// of rows are added up, not pixels: shorter chains, smaller rounding errors.
  ATROUS_HD void operator()(std::int64_t r, std::int64_t s, std::int64_t first_row, std::int64_t last_row,
                            std::int64_t begin, std::int64_t end, T* row_sum, T* sum) const {
    const std::int64_t m = d.multiplier, out_c = d.channels * m;
    for (std::int64_t k = begin; k < end; ++k) sum[k] = T(0);
    for (std::int64_t row = first_row; row < last_row; ++row) {
      const std::int64_t oh = row % d.out_h, n = row / d.out_h;
      const std::int64_t ih = oh * d.stride.h + r * d.rate.h - d.padding.top;
      if (ih < 0 || ih >= d.in_h) continue;
      for (std::int64_t k = begin; k < end; ++k) row_sum[k] = T(0);
      for (std::int64_t ow = 0; ow < d.out_w; ++ow) {
        const std::int64_t iw = ow * d.stride.w + s * d.rate.w - d.padding.left;
        if (iw < 0 || iw >= d.in_w) continue;
        const T* in = x.data() + ((n * d.in_h + ih) * d.in_w + iw) * d.channels;
        const T* g = dy.data() + (row * d.out_w + ow) * out_c;
        if (m == 1)
          for (std::int64_t k = begin; k < end; ++k) row_sum[k] += in[k] * g[k];
        else
          for (std::int64_t k = begin; k < end; ++k) row_sum[k] += in[k / m] * g[k];
      }
      for (std::int64_t k = begin; k < end; ++k) sum[k] += row_sum[k];
    }
  }
};

}  // namespace atrous::kernels
