#pragma once

#include <type_traits>

#include "atrous/kernels/reduce/channel_strips.cuh"
#include "atrous/kernels/reduce/moments.cuh"

// Mean and variance of every channel of [pixels, channels] in one pass, exact also where the mean is much
// larger than the deviation.
//
// A thread takes its first element as a shift and adds x - shift and its square in Accumulator<T>, at most
// about 100 times (in double where V is 1). Whatever the mean is, these are numbers of the size of the
// deviations. A block brings the sums of its threads to one shift a channel, in double; a second kernel
// merges the strips' means and squares by Chan, Golub & LeVeque, 1982.

namespace atrous::kernels::cuda {

/// Where the shift of element `place` of a row lies in shared memory: neighbours in different banks.
template <int V>
ATROUS_HD int shift_pitch(int columns) {
  return V > 1 ? (columns + 31) / 32 * 32 + 32 / V : columns;
}
template <int V>
__device__ __forceinline__ int shift_at(int columns, int place) {
  return place % V * shift_pitch<V>(columns) + place / V;
}

/// Bytes of shared memory: two sums of every element of a block's threads, and the shifts of one layer.
template <class A, int V>
std::size_t statistics_shared_bytes(const ChannelStrips& s) {
  return strip_shared_bytes<V>(s, 2) + std::size_t(shift_pitch<V>(s.columns)) * V * sizeof(A);
}

// Floor: bytes of x.
//   sums  [strips, 2, channels]: the mean of each strip, and the sum of squared deviations about it
template <class T, int V>
__global__ void __launch_bounds__(ChannelStrips::kThreads, kStripBlocks)
    strip_statistics_kernel(ChannelStrips s, const T* x, double* sums) {
  using A = Accumulator<T>;
  using Total = std::conditional_t<V == 1, double, A>;
  constexpr int kRows = 4;
  ATROUS_DYN_SHARED(bytes);
  double* shared = reinterpret_cast<double*>(bytes);
  A* shifts =
      reinterpret_cast<A*>(bytes + sizeof(double) * 2 * V * std::size_t(strip_pitch<V>(int(blockDim.x))));
  const StripPart p = strip_part<V>(s);
  A shift[V];
  Total sum[V], square[V];
  ATROUS_UNROLL
  for (int e = 0; e < V; ++e) shift[e] = A(0), sum[e] = square[e] = Total(0);
  if (p.whole > 0) {
    load_channels<T, V>(x + p.at, shift);
  } else {
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e)
      if (e < p.rest) shift[e] = A(x[p.at + e]);
  }
  const auto add = [&](int e, A value) {
    const A d = value - shift[e];
    sum[e] += d;
    square[e] += Total(d) * Total(d);
  };
  std::int64_t at = p.at;
  int row = 0;
  for (; row + kRows <= p.whole; row += kRows) {
    Channels<T, V> raw[kRows];
    ATROUS_UNROLL
    for (int r = 0; r < kRows; ++r, at += p.step) raw[r] = load_channels<T, V>(x + at);
    ATROUS_UNROLL
    for (int r = 0; r < kRows; ++r) {
      A v[V];
      unpack<T, V>(raw[r], v);
      ATROUS_UNROLL
      for (int e = 0; e < V; ++e) add(e, v[e]);
    }
  }
  for (; row < p.whole; ++row, at += p.step) {
    A v[V];
    load_channels<T, V>(x + at, v);
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) add(e, v[e]);
  }
  ATROUS_UNROLL
  for (int e = 0; e < V; ++e)
    if (e < p.rest) add(e, A(x[at + e]));

  // Elements of layer 0 in a row's first pixel exist in every strip: their shifts serve their channels.
  if (p.layer == 0) {
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) shifts[shift_at<V>(s.columns, p.column * V + e)] = shift[e];
  }
  __syncthreads();
  double of_thread[2][V];
  ATROUS_UNROLL
  for (int e = 0; e < V; ++e) {
    const double n = double(p.whole + (e < p.rest ? 1 : 0));
    double first = 0, second = 0;
    if (n > 0) {
      const int place = p.column * V + e;
      const A common = shifts[shift_at<V>(s.columns, s.row_pixels == 1 ? place : place % int(s.channels))];
      const double gap = double(shift[e]) - double(common), own = double(sum[e]);
      first = own + n * gap;
      second = double(square[e]) + gap * (2 * own + n * gap);
    }
    of_thread[0][e] = first;
    of_thread[1][e] = second;
  }
  const double n = double(strip_size(s));
  const std::int64_t base = std::int64_t(blockIdx.y) * s.columns * V;
  fold_strip<2, V>(s, p, of_thread, shared, [&](std::int64_t c, const double(&total)[2]) {
    double* of_strip = sums + std::int64_t(blockIdx.x) * 2 * s.channels + c;
    of_strip[0] = double(shifts[shift_at<V>(s.columns, int(c - base))]) + total[0] / n;
    of_strip[s.channels] = total[1] - total[0] * total[0] / n;
  });
}

// As strip_sums_finish_kernel: 8 channels a block, 32 threads each.
__global__ void __launch_bounds__(kFinishChannels* kFinishLanes)
    statistics_finish_kernel(std::int64_t pixels, std::int64_t each, std::int64_t strips,
                             std::int64_t channels, const double* sums, double* mean, double* var) {
  ATROUS_SHARED(Moments, shared, [kFinishLanes * kFinishChannels]);
  const int t = int(threadIdx.x), lane = t / kFinishChannels;
  const std::int64_t c = std::int64_t(blockIdx.x) * kFinishChannels + t % kFinishChannels;
  Moments m{0, 0, 0};
  if (c < channels)
    for (std::int64_t q = lane; q < strips; q += kFinishLanes) {
      const std::int64_t left = pixels - q * each;
      const double* of_strip = sums + q * 2 * channels + c;
      m.merge({double(left < each ? left : each), of_strip[0], of_strip[channels]});
    }
  shared[t] = m;
  __syncthreads();
  for (int half = kFinishLanes / 2; half > 0; half /= 2) {
    if (lane < half) {
      m.merge(shared[t + half * kFinishChannels]);
      shared[t] = m;
    }
    __syncthreads();
  }
  if (lane > 0 || c >= channels) return;
  mean[c] = m.mean;
  var[c] = m.squares / double(pixels);
}

}  // namespace atrous::kernels::cuda
