#pragma once

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/conv2d/conv2d_body.h"

// The depthwise convolution of any window, stride and rate, multiplier 1, forward and the gradient of the
// input. Simpler than depthwise_conv2d_rows.cuh: nothing is kept from one output to the next, and weights are
// read again, from the first-level cache.

namespace atrous::kernels::cuda {

inline constexpr int kTapThreads = 256;

// A block owns kTapThreads places (column, vector of V channels) of one row of the map that is written; a
// thread owns one of them.
struct TapPlace {
  int image, row, column, channel;
  bool inside;
  __device__ TapPlace(unsigned tiles, int rows, int columns, int channels, int vector) {
    const unsigned place = blockIdx.x % tiles * kTapThreads + threadIdx.x,
                   vectors = unsigned(channels / vector);
    const unsigned line = blockIdx.x / tiles;
    image = int(line / unsigned(rows)), row = int(line % unsigned(rows));
    column = int(place / vectors), channel = int(place % vectors) * vector;
    inside = column < columns;
  }
};

template <class T, int V>
__global__ void __launch_bounds__(kTapThreads)
    depthwise_taps_kernel(DepthwiseConv2dDims d, unsigned tiles, const T* x, const T* weight,
                          Conv2dEpilogue<T> epilogue, T* y) {
  using A = Accumulator<T>;
  const TapPlace at(tiles, int(d.out_h), int(d.out_w), int(d.channels), V);
  if (!at.inside) return;
  A sum[V] = {}, v[V], w[V];
  if (!epilogue.bias.empty()) load_channels<T, V>(epilogue.bias.data() + at.channel, sum);
  const int top = at.row * int(d.stride.h) - int(d.padding.top),
            left = at.column * int(d.stride.w) - int(d.padding.left);
  for (int r = 0; r < int(d.window_h); ++r) {
    const int h = top + r * int(d.rate.h);
    if (unsigned(h) >= unsigned(d.in_h)) continue;
    const T* line = x + (at.image * d.in_h + h) * d.in_w * d.channels + at.channel;
    for (int s = 0; s < int(d.window_w); ++s) {
      const int column = left + s * int(d.rate.w);
      if (unsigned(column) >= unsigned(d.in_w)) continue;
      load_channels<T, V>(line + column * d.channels, v);
      load_channels<T, V>(weight + (r * d.window_w + s) * d.channels + at.channel, w);
      ATROUS_UNROLL
      for (int i = 0; i < V; ++i) sum[i] += v[i] * w[i];
    }
  }
  ATROUS_UNROLL
  for (int i = 0; i < V; ++i) sum[i] = activate(epilogue.activation, sum[i]);
  store_channels<T, V>(y + ((at.image * d.out_h + at.row) * d.out_w + at.column) * d.channels + at.channel,
                       sum);
}

// The outputs that read a pixel lie, for each tap, at one place or at none.
__device__ __forceinline__ int depthwise_reader(int at, int tap, int out, int before, int rate, int stride) {
  const int v = at + before - tap * rate;
  if (v < 0) return -1;
  const int o = stride == 1 ? v : v / stride;
  return o * stride == v && o < out ? o : -1;
}

template <class T, int V>
__global__ void __launch_bounds__(kTapThreads)
    depthwise_gather_kernel(DepthwiseConv2dDims d, unsigned tiles, const T* dy, const T* weight, T* dx) {
  using A = Accumulator<T>;
  const TapPlace at(tiles, int(d.in_h), int(d.in_w), int(d.channels), V);
  if (!at.inside) return;
  A sum[V] = {}, v[V], w[V];
  for (int r = 0; r < int(d.window_h); ++r) {
    const int oh =
        depthwise_reader(at.row, r, int(d.out_h), int(d.padding.top), int(d.rate.h), int(d.stride.h));
    if (oh < 0) continue;
    const T* line = dy + (at.image * d.out_h + oh) * d.out_w * d.channels + at.channel;
    for (int s = 0; s < int(d.window_w); ++s) {
      const int ow =
          depthwise_reader(at.column, s, int(d.out_w), int(d.padding.left), int(d.rate.w), int(d.stride.w));
      if (ow < 0) continue;
      load_channels<T, V>(line + ow * d.channels, v);
      load_channels<T, V>(weight + (r * d.window_w + s) * d.channels + at.channel, w);
      ATROUS_UNROLL
      for (int i = 0; i < V; ++i) sum[i] += v[i] * w[i];
    }
  }
  store_channels<T, V>(dx + ((at.image * d.in_h + at.row) * d.in_w + at.column) * d.channels + at.channel,
                       sum);
}

/// Blocks for each row of `columns` pixels.
inline unsigned tap_tiles(std::int64_t columns, std::int64_t vectors) {
  return unsigned((columns * vectors + kTapThreads - 1) / kTapThreads);
}

}  // namespace atrous::kernels::cuda
