#pragma once

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_body.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_strips.h"

// The gradient of the weight of a depthwise 3x3: few sums of very many terms: sums of a
// thread's pixels in registers, then over the threads of a block, then over blocks, each in one fixed order.

namespace atrous::kernels::cuda {

inline constexpr int kWeightThreads = DepthwiseWeightCut::kColumns * DepthwiseWeightCut::kVectors;

struct DepthwiseWeightWork {
  DepthwiseConv2dDims d;
  DepthwiseStrips strips;
  DepthwiseWeightCut cut;
};

// A block owns 8 vectors of V channels (blockIdx.y) and part blockIdx.x of the units; thread t owns vector t
// % 8 and column t / 8 of a unit's tile: 9 V sums in registers over all its units. kRolling (stride 1): a
// thread walks the input rows of a strip, each of which meets three rows of dy. Else every output row loads
// its own nine inputs.
//
// Floor: x and dy are read once, 2 sizeof(T) bytes for 18 FLOP.
template <class T, int V, bool kRolling>
__global__ void __launch_bounds__(kWeightThreads)
    depthwise_weight_kernel(DepthwiseWeightWork work, const T* x, const T* dy, Accumulator<T>* partials) {
  using A = Accumulator<T>;
  const DepthwiseConv2dDims& d = work.d;
  const int lane_vector = int(threadIdx.x) % DepthwiseWeightCut::kVectors,
            lane_column = int(threadIdx.x) / DepthwiseWeightCut::kVectors;
  const int c = (int(blockIdx.y) * DepthwiseWeightCut::kVectors + lane_vector) * V;
  const bool has_channels = c < int(d.channels);
  const unsigned tiles =
      unsigned((d.out_w + DepthwiseWeightCut::kColumns - 1) / DepthwiseWeightCut::kColumns);
  A sum[9][V] = {};
  for (unsigned unit = blockIdx.x; unit < work.cut.units; unit += unsigned(work.cut.parts)) {
    const int column = int(unit % tiles) * DepthwiseWeightCut::kColumns + lane_column;
    const unsigned line = unit / tiles;
    const DepthwiseStrips::Run run = work.strips.run(int(line % unsigned(work.strips.runs())));
    const std::int64_t image = line / unsigned(work.strips.runs());
    if (!has_channels || column >= int(d.out_w) || run.count == 0) continue;
    bool live[3];
    const int first_column = column * int(d.stride.w) - int(d.padding.left);
    ATROUS_UNROLL
    for (int s = 0; s < 3; ++s) live[s] = unsigned(first_column + s * int(d.rate.w)) < unsigned(d.in_w);
    const T* g = dy + ((image * d.out_h + run.first) * d.out_w + column) * d.channels + c;
    const std::int64_t g_step = work.strips.rate * d.out_w * d.channels;
    const std::int64_t side = d.rate.w * d.channels;
    int row = run.first * int(d.stride.h) - int(d.padding.top);
    const T* from = x + ((image * d.in_h + row) * d.in_w + first_column) * d.channels + c;
    const std::int64_t row_step = d.rate.h * d.in_w * d.channels;
    if constexpr (kRolling) {
      // dy of the windows whose first, middle and last row is the input row at hand.
      A first[V], middle[V] = {}, last[V] = {}, v[V];
      for (int step = 0; step < run.count + 2;
           ++step, row += work.strips.rate, from += row_step, g += g_step) {
        unpack<T, V>(step < run.count ? load_channels<T, V>(g) : no_channels<T, V>(), first);
        if (unsigned(row) < unsigned(d.in_h)) {
          ATROUS_UNROLL
          for (int s = 0; s < 3; ++s) {
            unpack<T, V>(live[s] ? load_channels<T, V>(from + s * side) : no_channels<T, V>(), v);
            ATROUS_UNROLL
            for (int i = 0; i < V; ++i) {
              sum[s][i] += v[i] * first[i];
              sum[3 + s][i] += v[i] * middle[i];
              sum[6 + s][i] += v[i] * last[i];
            }
          }
        }
        ATROUS_UNROLL
        for (int i = 0; i < V; ++i) last[i] = middle[i], middle[i] = first[i];
      }
    } else {
      const std::int64_t walk = d.stride.h * d.in_w * d.channels;
      for (int step = 0; step < run.count; ++step, row += int(d.stride.h), from += walk, g += g_step) {
        A gradient[V], v[V];
        load_channels<T, V>(g, gradient);
        ATROUS_UNROLL
        for (int r = 0; r < 3; ++r) {
          const bool inside = unsigned(row + r * int(d.rate.h)) < unsigned(d.in_h);
          ATROUS_UNROLL
          for (int s = 0; s < 3; ++s) {
            unpack<T, V>(
                inside && live[s] ? load_channels<T, V>(from + r * row_step + s * side) : no_channels<T, V>(),
                v);
            ATROUS_UNROLL
            for (int i = 0; i < V; ++i) sum[3 * r + s][i] += v[i] * gradient[i];
          }
        }
      }
    }
  }

  // Over the four columns of a warp by shuffles, over the warps through shared memory, tap by tap.
  constexpr int kWarps = kWeightThreads / 32, kChannels = DepthwiseWeightCut::kVectors * V;
  ATROUS_SHARED(A, shared, [9][kWarps][kChannels]);
  const int warp = int(threadIdx.x) / 32;
  ATROUS_UNROLL
  for (int tap = 0; tap < 9; ++tap) {
    ATROUS_UNROLL
    for (int i = 0; i < V; ++i) {
      A v = sum[tap][i];
      v += __shfl_xor_sync(0xffffffffu, v, 8);
      v += __shfl_xor_sync(0xffffffffu, v, 16);
      if (threadIdx.x % 32 < 8) shared[tap][warp][lane_vector * V + i] = v;
    }
  }
  __syncthreads();
  for (int i = int(threadIdx.x); i < 9 * kChannels; i += kWeightThreads) {
    const int tap = i / kChannels, channel = i % kChannels, to = int(blockIdx.y) * kChannels + channel;
    if (to >= int(d.channels)) continue;
    A total = shared[tap][0][channel];
    for (int other = 1; other < kWarps; ++other) total += shared[tap][other][channel];
    partials[(std::int64_t(blockIdx.x) * 9 + tap) * d.channels + to] = total;
  }
}

/// dweight[i] = sum over parts of partials[part, i].
template <class T>
struct SumOfParts {
  std::int64_t parts, size;
  const Accumulator<T>* partials;
  T* to;
  __device__ void operator()(std::int64_t i) const {
    Accumulator<T> sum = 0;
    for (std::int64_t part = 0; part < parts; ++part) sum += partials[part * size + i];
    to[i] = T(sum);
  }
};

/// One tap and channel of one part, by the plain body.
template <class T>
struct DepthwiseWeightPart {
  DepthwiseBackwardWeight<T> body;
  std::int64_t parts;
  Accumulator<T>* partials;
  __device__ void operator()(std::int64_t i) const {
    const DepthwiseConv2dDims& d = body.d;
    const std::int64_t k = i % d.out_channels(), tap = i / d.out_channels() % d.taps(),
                       part = i / d.out_channels() / d.taps(), rows = d.batch * d.out_h;
    Accumulator<T> row_sum, sum;
    body(tap / d.window_w, tap % d.window_w, rows * part / parts, rows * (part + 1) / parts, k, k + 1,
         &row_sum, &sum);
    partials[i] = sum;
  }
};

}  // namespace atrous::kernels::cuda
