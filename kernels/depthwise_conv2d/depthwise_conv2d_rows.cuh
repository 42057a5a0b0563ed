#pragma once

#include <cmath>

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_strips.h"

// The depthwise 3x3 of stride 1, forward and (with the window turned) the gradient of the input.

namespace atrous::kernels::cuda {

/// A gather of stride 1 from one map to another; output row h reads rows h - top + r*rate.
struct DepthwiseRows {
  int from_h, from_w, to_w, channels;
  int rate_w, top, left;
  DepthwiseStrips strips;
  unsigned tiles;    // blocks of a run
  unsigned vectors;  // of a column that lie side by side in a block: all, or 8 where those are whole tiles
  Activation activation;
  float ceiling;  // of a relu or relu6, whose floor is 0: infinity or 6
};

inline constexpr int kDepthwiseThreads = 128;

// A block owns one run of rows of one image and kDepthwiseThreads places (column, vector of V channels), so
// that a warp's accesses are contiguous. A thread owns V channels of one column of the run: weights in
// registers, three accumulators that rotate: an input row is the last row of one window, the middle of the
// next and the first of the one after. The row after is on its way while one is multiplied.
//
// Floor: an input is read and an output written once, 2 sizeof(T) bytes an output for 18 FLOP; at 4.3 TB/s
// bf16 leaves 31 lane-instructions an output (tests/cuda/depthwise_instructions.cmake counts them).
//
// kActivated: a relu or relu6, by its ceiling, or with kSwish a hard swish.
template <class T, int V, bool kTurned, bool kActivated, bool kSwish = false>
__global__ void __launch_bounds__(kDepthwiseThreads, V < 8        ? 4
                                                     : kActivated ? 2
                                                                  : 3)
    depthwise_rows_kernel(DepthwiseRows g, const T* x, const T* weight, const T* bias, T* y) {
  using A = Accumulator<T>;
  const unsigned run_number = blockIdx.x / g.tiles,
                 place = blockIdx.x % g.tiles * kDepthwiseThreads + threadIdx.x;
  const unsigned image = run_number / unsigned(g.strips.runs());
  const DepthwiseStrips::Run run = g.strips.run(int(run_number % unsigned(g.strips.runs())));
  const unsigned column_vectors = unsigned(g.channels / V);
  if (place >= column_vectors * unsigned(g.to_w) || run.count == 0) return;
  const unsigned chunk = place / g.vectors;
  const int c = int(chunk / unsigned(g.to_w) * g.vectors + place % g.vectors) * V,
            column = int(chunk % unsigned(g.to_w));

  A w[9][V];
  ATROUS_UNROLL
  for (int i = 0; i < 9; ++i)
    load_channels<T, V>(weight + std::int64_t(kTurned ? 8 - i : i) * g.channels + c, w[i]);

  const Channels<T, V> start = bias ? load_channels<T, V>(bias + c) : no_channels<T, V>();

  bool live[3];
  ATROUS_UNROLL
  for (int s = 0; s < 3; ++s) live[s] = unsigned(column + s * g.rate_w - g.left) < unsigned(g.from_w);
  const std::int64_t side = std::int64_t(g.rate_w) * g.channels;
  const std::int64_t from_step = std::int64_t(g.strips.rate) * g.from_w * g.channels;
  const std::int64_t to_step = std::int64_t(g.strips.rate) * g.to_w * g.channels;
  int row = run.first - g.top;
  const T* from = x + ((std::int64_t(image) * g.from_h + row) * g.from_w + column - g.left) * g.channels + c;
  // Of the output two rows above the first: it is stored after the third input row.
  T* to = y + ((std::int64_t(image) * g.strips.rows + run.first) * g.to_w + column) * g.channels + c -
          2 * to_step;

  const auto fetch = [&](int s) {
    return live[s] && unsigned(row) < unsigned(g.from_h) ? load_channels<T, V>(from + s * side)
                                                         : no_channels<T, V>();
  };
  const int steps = run.count + 2;
  Channels<T, V> ahead[3];
  ATROUS_UNROLL
  for (int s = 0; s < 3; ++s) ahead[s] = fetch(s);
  // Input row `step`: for the window that ends with it, the one in its middle, the one that begins. The row
  // after is asked for as its place falls free.
  const auto take = [&](int step, A(&last)[V], A(&middle)[V], A(&first)[V]) {
    // Beyond the last row no row is asked for.
    row = step + 1 < steps ? row + g.strips.rate : -1;
    from += from_step;
    unpack<T, V>(start, first);
    ATROUS_UNROLL
    for (int s = 0; s < 3; ++s) {
      A v[V];
      unpack<T, V>(ahead[s], v);
      ahead[s] = fetch(s);
      ATROUS_UNROLL
      for (int i = 0; i < V; ++i) {
        first[i] += v[i] * w[s][i];
        middle[i] += v[i] * w[3 + s][i];
        last[i] += v[i] * w[6 + s][i];
      }
    }
    if (step >= 2) {
      if constexpr (kActivated) {
        ATROUS_UNROLL
        for (int i = 0; i < V; ++i)
          last[i] = kSwish ? HardSwish()(last[i]) : clamp_or_nan(last[i], g.ceiling);
      }
      store_channels<T, V>(to, last);
    }
    to += to_step;
  };
  A a[V] = {}, b[V] = {}, e[V] = {};
  for (int step = 0; step < steps; step += 3) {
    take(step, a, b, e);
    if (step + 1 < steps) take(step + 1, b, e, a);
    if (step + 2 < steps) take(step + 2, e, a, b);
  }
}

template <class T, int V, bool kTurned>
void launch_depthwise_rows(Stream stream, DepthwiseRows g, std::int64_t batch, const T* x, const T* weight,
                           const T* bias, T* y) {
  const unsigned vectors = unsigned(g.channels / V);
  g.vectors = vectors % 8 == 0 ? 8 : vectors;
  g.tiles = (vectors * unsigned(g.to_w) + kDepthwiseThreads - 1) / kDepthwiseThreads;
  g.ceiling = g.activation == Activation::relu6 ? 6.0f : INFINITY;
  const unsigned blocks = unsigned(batch * g.strips.runs() * g.tiles);
  if (blocks == 0) return;
  if (g.activation == Activation::none)
    ATROUS_LAUNCH((depthwise_rows_kernel<T, V, kTurned, false>), blocks, kDepthwiseThreads, 0, stream, g, x,
                  weight, bias, y);
  else if constexpr (!kTurned) {
    if (g.activation == Activation::hard_swish)
      ATROUS_LAUNCH((depthwise_rows_kernel<T, V, false, true, true>), blocks, kDepthwiseThreads, 0, stream, g,
                    x, weight, bias, y);
    else
      ATROUS_LAUNCH((depthwise_rows_kernel<T, V, false, true>), blocks, kDepthwiseThreads, 0, stream, g, x,
                    weight, bias, y);
  }
}

}  // namespace atrous::kernels::cuda
