#pragma once

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/resize/resize_body.h"

// The bilinear resize of maps whose axes are small enough for 32-bit taps.

namespace atrous::kernels::cuda {

inline constexpr int kResizeThreads = 256, kResizeRows = 8;

/// Sizes in 32 bits, and the blocks of a row.
struct ResizeWork {
  int in_h, in_w, out_h, out_w, channels;
  SmallResizeAxis rows, columns;
  unsigned tiles;
};
inline ResizeWork resize_work(const ResizeDims& d, unsigned tiles) {
  return {int(d.in_h),
          int(d.in_w),
          int(d.out_h),
          int(d.out_w),
          int(d.channels),
          {int(d.in_h), int(d.out_h), d.align_corners},
          {int(d.in_w), int(d.out_w), d.align_corners},
          tiles};
}

// A block owns kResizeRows neighbouring output rows of one image and kResizeThreads places (column, vector of
// V channels) of each: contiguous memory in every row. A thread owns one place in all of them: its column's
// taps are computed once, and the two input columns are read again only where the input row changes.
//
// Floor: upsampling is the writing of y; the input, a fraction of it, comes from the caches.
template <class T, int V>
__global__ void __launch_bounds__(kResizeThreads) resize_rows_kernel(ResizeWork g, const T* x, T* y) {
  using A = Accumulator<T>;
  ATROUS_SHARED(int, low, [kResizeRows]);
  ATROUS_SHARED(int, high, [kResizeRows]);
  ATROUS_SHARED(float, weight, [kResizeRows]);
  const unsigned groups = unsigned((g.out_h + kResizeRows - 1) / kResizeRows), line = blockIdx.x / g.tiles;
  const int image = int(line / groups), first = int(line % groups) * kResizeRows;
  const int count = g.out_h - first < kResizeRows ? g.out_h - first : kResizeRows;
  if (int(threadIdx.x) < count) {
    const auto tap = g.rows.tap(first + int(threadIdx.x));
    low[threadIdx.x] = tap.low, high[threadIdx.x] = tap.high, weight[threadIdx.x] = tap.weight;
  }
  __syncthreads();
  const unsigned place = blockIdx.x % g.tiles * kResizeThreads + threadIdx.x,
                 vectors = unsigned(g.channels / V);
  const int column = int(place / vectors), c = int(place % vectors) * V;
  if (column >= g.out_w) return;
  const auto tap = g.columns.tap(column);
  const std::int64_t line_size = std::int64_t(g.in_w) * g.channels;
  const T* from = x + std::int64_t(image) * g.in_h * line_size + c;
  const int left = tap.low * g.channels, right = tap.high * g.channels;
  T* to = y + ((std::int64_t(image) * g.out_h + first) * g.out_w + column) * g.channels + c;
  A a[V] = {}, b[V] = {}, e[V] = {}, f[V] = {};  // upper left and right, lower left and right
  int loaded = -1;
  for (int r = 0; r < count; ++r, to += std::int64_t(g.out_w) * g.channels) {
    // high differs among rows of one low: it is low itself where the weight is 0.
    const int upper = low[r], lower = high[r], both = upper * 2 + (lower - upper);
    if (both != loaded) {
      load_channels<T, V>(from + upper * line_size + left, a);
      load_channels<T, V>(from + upper * line_size + right, b);
      load_channels<T, V>(from + lower * line_size + left, e);
      load_channels<T, V>(from + lower * line_size + right, f);
      loaded = both;
    }
    const A row_weight = weight[r];
    A v[V];
    ATROUS_UNROLL
    for (int i = 0; i < V; ++i)
      v[i] = blend(blend(a[i], e[i], row_weight), blend(b[i], f[i], row_weight), A(tap.weight));
    store_channels<T, V>(to, v);
  }
}

}  // namespace atrous::kernels::cuda
