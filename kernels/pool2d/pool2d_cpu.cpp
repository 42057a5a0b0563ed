#include <algorithm>
#include <type_traits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/pool2d/pool2d.h"
#include "atrous/kernels/pool2d/pool2d_body.h"
#include "atrous/kernels/pool2d/pool2d_fast.h"

namespace atrous::kernels::cpu {
namespace {

// body(pixel, begin, end) for every pixel and every block of its channels.
template <class Body>
void each_pixel(std::int64_t pixels, std::int64_t channels, const Body& body) {
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 13) / std::max<std::int64_t>(channels, 1));
  parallel_for(pixels, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t c = 0; c < channels; c += kPoolChannels)
        body(i, c, std::min(c + kPoolChannels, channels));
  });
}

}  // namespace

template <class T>
void max_pool2d_forward(Stream, const Pool2dDims& dims, Span<const T> x, Span<T> y, MaxTaps taps) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::max_pool_forward(dims, x, y, taps)) return;
  const std::int64_t pixels = dims.batch * dims.out_h * dims.out_w;
  if (taps.wide.empty())
    each_pixel(pixels, dims.channels, MaxPoolForward<T, std::uint8_t>{dims, x, y, taps.narrow});
  else
    each_pixel(pixels, dims.channels, MaxPoolForward<T, std::int32_t>{dims, x, y, taps.wide});
}
ATROUS_INSTANTIATE(max_pool2d_forward);

template <class T>
void max_pool2d_backward(Stream, const Pool2dDims& dims, Span<const T> dy, MaxTaps taps, Span<T> dx) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::max_pool_backward(dims, dy, taps, dx)) return;
  const std::int64_t pixels = dims.batch * dims.in_h * dims.in_w;
  if (taps.wide.empty())
    each_pixel(pixels, dims.channels, MaxPoolBackward<T, std::uint8_t>{dims, dy, taps.narrow, dx});
  else
    each_pixel(pixels, dims.channels, MaxPoolBackward<T, std::int32_t>{dims, dy, taps.wide, dx});
}
ATROUS_INSTANTIATE(max_pool2d_backward);

template <class T>
void avg_pool2d_forward(Stream, const Pool2dDims& dims, Span<const T> x, Span<T> y) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::avg_pool_forward(dims, x, y)) return;
  each_pixel(dims.batch * dims.out_h * dims.out_w, dims.channels, AvgPoolForward<T>{dims, x, y});
}
ATROUS_INSTANTIATE(avg_pool2d_forward);

template <class T>
void avg_pool2d_backward(Stream, const Pool2dDims& dims, Span<const T> dy, Span<T> dx) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::avg_pool_backward(dims, dy, dx)) return;
  each_pixel(dims.batch * dims.in_h * dims.in_w, dims.channels, AvgPoolBackward<T>{dims, dy, dx});
}
ATROUS_INSTANTIATE(avg_pool2d_backward);

template <class T>
void global_avg_pool2d_forward(Stream, std::int64_t batch, std::int64_t height, std::int64_t width,
                               std::int64_t channels, Span<const T> x, Span<T> y) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::global_avg_pool_forward(batch, height, width, channels, x, y)) return;
  constexpr std::int64_t kBlock = kPoolChannels;
  using A = Accumulator<T>;
  const std::int64_t blocks = (channels + kBlock - 1) / kBlock;
  parallel_for(batch * blocks, grain_of(height * width * kBlock), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t n = i / blocks, from = i % blocks * kBlock,
                         count = std::min(kBlock, channels - from);
      A total[kBlock] = {};
      for (std::int64_t h = 0; h < height; ++h) {
        A row[kBlock] = {};
        const T* in = x.data() + ((n * height + h) * width) * channels + from;
        for (std::int64_t w = 0; w < width; ++w, in += channels)
          for (std::int64_t c = 0; c < count; ++c) row[c] += A(in[c]);
        for (std::int64_t c = 0; c < count; ++c) total[c] += row[c];
      }
      for (std::int64_t c = 0; c < count; ++c) y[n * channels + from + c] = T(total[c] / A(height * width));
    }
  });
}
ATROUS_INSTANTIATE(global_avg_pool2d_forward);

template <class T>
void global_avg_pool2d_backward(Stream, std::int64_t batch, std::int64_t pixels, std::int64_t channels,
                                Span<const T> dy, Span<T> dx) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::global_avg_pool_backward(batch, pixels, channels, dy, dx)) return;
  using A = Accumulator<T>;
  const A share = A(1) / A(pixels);
  each_pixel(batch * pixels, channels, [&](std::int64_t pixel, std::int64_t begin, std::int64_t end) {
    const T* g = dy.data() + pixel / pixels * channels;
    T* out = dx.data() + pixel * channels;
    for (std::int64_t c = begin; c < end; ++c) out[c] = T(A(g[c]) * share);
  });
}
ATROUS_INSTANTIATE(global_avg_pool2d_backward);

}  // namespace atrous::kernels::cpu
