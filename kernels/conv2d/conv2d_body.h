#pragma once

#include <cstdint>

#include "atrous/core/host_device.h"
#include "atrous/core/span.h"
#include "atrous/kernels/conv2d/conv2d.h"

// The plain convolution: for every element type and shape, and what tuned kernels are compared with. Each
// body computes neighbouring elements [begin, end) of the innermost axis of one output row, so that a loop on
// the CPU runs along contiguous channels; a CUDA thread would take one element. Outputs double as
// accumulators.

namespace atrous::kernels {

/// y where it is above 0 (and below 6 for relu6); NaN stays NaN.
template <class T>
ATROUS_HD T activate(Activation activation, T y) {
  if (activation != Activation::none && y <= T(0)) return T(0);
  if (activation == Activation::relu6 && y >= T(6)) return T(6);
  return y;
}

/// Outputs k in [begin, end) of output pixel `pixel` = (n * out_h + oh) * out_w + ow.
template <class T>
struct Conv2dForward {
  Conv2dDims d;
  Span<const T> x, weight;
  Conv2dEpilogue<T> epilogue;
  Span<T> y;

  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    const std::int64_t ow = pixel % d.out_w, oh = pixel / d.out_w % d.out_h, n = pixel / d.out_w / d.out_h;
    T* out = y.data() + pixel * d.out_channels;
    for (std::int64_t k = begin; k < end; ++k) out[k] = T(0);
    for (std::int64_t r = 0; r < d.window_h; ++r) {
      const std::int64_t h = oh * d.stride.h + r * d.rate.h - d.padding.top;
      if (h < 0 || h >= d.in_h) continue;
      for (std::int64_t s = 0; s < d.window_w; ++s) {
        const std::int64_t w = ow * d.stride.w + s * d.rate.w - d.padding.left;
        if (w < 0 || w >= d.in_w) continue;
        const T* in = x.data() + ((n * d.in_h + h) * d.in_w + w) * d.in_channels;
        const T* row = weight.data() + (r * d.window_w + s) * d.in_channels * d.out_channels;
        for (std::int64_t c = 0; c < d.in_channels; ++c, row += d.out_channels) {
          const T value = in[c];
          for (std::int64_t k = begin; k < end; ++k) out[k] += value * row[k];
        }
      }
    }
    for (std::int64_t k = begin; k < end; ++k)
      out[k] = activate(epilogue.activation, epilogue.bias.empty() ? out[k] : out[k] + epilogue.bias[k]);
  }
};

/// Elements c in [begin, end) of dx at input pixel `pixel` = (n * in_h + h) * in_w + w.
template <class T>
struct Conv2dBackwardInput {
  Conv2dDims d;
  Span<const T> dy, weight;
  Span<T> dx;

  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    const std::int64_t w = pixel % d.in_w, h = pixel / d.in_w % d.in_h, n = pixel / d.in_w / d.in_h;
    T* out = dx.data() + pixel * d.in_channels;
    for (std::int64_t c = begin; c < end; ++c) out[c] = T(0);
    for (std::int64_t r = 0; r < d.window_h; ++r) {
      const std::int64_t oh = reader_of(h, r, d.out_h, d.padding.top, d.rate.h, d.stride.h);
      if (oh < 0) continue;
      for (std::int64_t s = 0; s < d.window_w; ++s) {
        const std::int64_t ow = reader_of(w, s, d.out_w, d.padding.left, d.rate.w, d.stride.w);
        if (ow < 0) continue;
        const T* from = dy.data() + ((n * d.out_h + oh) * d.out_w + ow) * d.out_channels;
        const T* row = weight.data() + (r * d.window_w + s) * d.in_channels * d.out_channels;
        for (std::int64_t c = begin; c < end; ++c) {
          T sum = 0;
          for (std::int64_t k = 0; k < d.out_channels; ++k) sum += from[k] * row[c * d.out_channels + k];
          out[c] += sum;
        }
      }
    }
  }
};

/// Elements k in [begin, end) of row `row` = (r * window_w + s) * in_channels + c of dweight.
template <class T>
struct Conv2dBackwardWeight {
  Conv2dDims d;
  Span<const T> x, dy;
  Span<T> dweight;

  ATROUS_HD void operator()(std::int64_t row, std::int64_t begin, std::int64_t end) const {
    const std::int64_t c = row % d.in_channels, s = row / d.in_channels % d.window_w,
                       r = row / d.in_channels / d.window_w;
    T* out = dweight.data() + row * d.out_channels;
    for (std::int64_t k = begin; k < end; ++k) out[k] = T(0);
    for (std::int64_t n = 0; n < d.batch; ++n)
      for (std::int64_t oh = 0; oh < d.out_h; ++oh) {
        const std::int64_t h = oh * d.stride.h + r * d.rate.h - d.padding.top;
        if (h < 0 || h >= d.in_h) continue;
        for (std::int64_t ow = 0; ow < d.out_w; ++ow) {
          const std::int64_t w = ow * d.stride.w + s * d.rate.w - d.padding.left;
          if (w < 0 || w >= d.in_w) continue;
          const T value = x[((n * d.in_h + h) * d.in_w + w) * d.in_channels + c];
          const T* from = dy.data() + ((n * d.out_h + oh) * d.out_w + ow) * d.out_channels;
          for (std::int64_t k = begin; k < end; ++k) out[k] += value * from[k];
        }
      }
  }
};

/// How the sum over all pixels of a channel is cut: a count that follows from the number of pixels alone.
struct PixelChunks {
  static constexpr std::int64_t kMost = 64, kLeast = 128;  // chunks; pixels in one
  std::int64_t pixels, size, count;

  ATROUS_HD constexpr explicit PixelChunks(std::int64_t n)
      : pixels(n),
        size((n + kMost - 1) / kMost > kLeast ? (n + kMost - 1) / kMost : kLeast),
        count((n + size - 1) / size) {}
  ATROUS_HD constexpr std::int64_t begin(std::int64_t chunk) const { return chunk * size; }
  ATROUS_HD constexpr std::int64_t end(std::int64_t chunk) const {
    return begin(chunk + 1) < pixels ? begin(chunk + 1) : pixels;
  }
};

/// Sums of channels [begin, end) of dy over the pixels of one chunk, into row `chunk` of `partial`.
template <class T>
struct Conv2dBackwardBias {
  PixelChunks chunks;
  std::int64_t channels;
  Span<const T> dy;
  Span<T> partial;

  ATROUS_HD void operator()(std::int64_t chunk, std::int64_t begin, std::int64_t end) const {
    T* out = partial.data() + chunk * channels;
    for (std::int64_t k = begin; k < end; ++k) out[k] = T(0);
    for (std::int64_t p = chunks.begin(chunk); p < chunks.end(chunk); ++p)
      for (std::int64_t k = begin; k < end; ++k) out[k] += dy[p * channels + k];
  }
};

}  // namespace atrous::kernels
