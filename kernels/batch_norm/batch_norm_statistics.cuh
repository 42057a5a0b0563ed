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

/// What one thread has added up of its V elements a vector.
template <class T, int V>
struct ShiftedSums {
  using A = Accumulator<T>;
  using Total = std::conditional_t<V == 1, double, A>;
  A shift[V];
  Total sum[V], square[V];

  __device__ __forceinline__ void clear() {
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) shift[e] = A(0), sum[e] = square[e] = Total(0);
  }
  __device__ __forceinline__ void add(int e, A value) {
    const A d = value - shift[e];
    sum[e] += d;
    square[e] += Total(d) * Total(d);
  }
  __device__ __forceinline__ void add(const Channels<T, V>& raw) {
    A v[V];
    unpack<T, V>(raw, v);
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) add(e, v[e]);
  }
};

/// Brings the sums of a block's threads to one shift a channel and writes those of its strip.
///   shared  strip_shared_bytes<V>() of it: first the shifts, then what fold_strip adds up, the shifts again
///   sums    [strips, 2, channels]: the mean of each strip, and the sum of squared deviations about it
template <class T, int V>
__device__ __forceinline__ void fold_statistics(const ChannelStrips& s, const StripPart& p,
                                                const ShiftedSums<T, V>& own, double* shared, double* sums) {
  Accumulator<T>* const shifts = reinterpret_cast<Accumulator<T>*>(shared);
  // Elements of layer 0 in a row's first pixel exist in every strip: their shifts serve their channels.
  const auto share_shifts = [&] {
    if (p.layer == 0) {
      ATROUS_UNROLL
      for (int e = 0; e < V; ++e) shifts[shift_at<V>(s.columns, p.column * V + e)] = own.shift[e];
    }
    __syncthreads();
  };
  share_shifts();
  double of_thread[2][V];
  ATROUS_UNROLL
  for (int e = 0; e < V; ++e) {
    const double n = double(p.whole + (e < p.rest ? 1 : 0));
    double first = 0, second = 0;
    if (n > 0) {
      const int place = p.column * V + e;
      const Accumulator<T> common =
          shifts[shift_at<V>(s.columns, s.row_pixels == 1 ? place : place % int(s.channels))];
      const double gap = double(own.shift[e]) - double(common), sum = double(own.sum[e]);
      first = sum + n * gap;
      second = double(own.square[e]) + gap * (2 * sum + n * gap);
    }
    of_thread[0][e] = first;
    of_thread[1][e] = second;
  }
  __syncthreads();
  const std::int64_t of_strip = std::int64_t(blockIdx.x) * 2 * s.channels;
  fold_strip<2, V>(s, p, of_thread, shared,
                   [&](std::int64_t c, int j, double total) { sums[of_strip + j * s.channels + c] = total; });
  __syncthreads();
  share_shifts();
  const double n = double(strip_size(s));
  for_tile_channels<V>(s, [&](std::int64_t c, int place) {  // by the thread that wrote the two sums
    const double first = sums[of_strip + c], second = sums[of_strip + s.channels + c];
    sums[of_strip + c] = double(shifts[shift_at<V>(s.columns, place)]) + first / n;
    sums[of_strip + s.channels + c] = second - first * first / n;
  });
}

// Floor: bytes of x.
template <class T, int V>
__global__ void __launch_bounds__(ChannelStrips::kThreads, kStripBlocks)
    strip_statistics_kernel(ChannelStrips s, const T* x, double* sums) {
  using A = Accumulator<T>;
  constexpr int kRows = 4;
  ATROUS_DYN_SHARED(bytes);
  const StripPart p = strip_part<V>(s);
  ShiftedSums<T, V> own;
  own.clear();
  if (p.whole > 0) {
    load_channels<T, V>(x + p.at, own.shift);
  } else {
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e)
      if (e < p.rest) own.shift[e] = A(x[p.at + e]);
  }
  std::int64_t at = p.at;
  int row = 0;
  for (; row + kRows <= p.whole; row += kRows) {
    Channels<T, V> raw[kRows];
    ATROUS_UNROLL
    for (int r = 0; r < kRows; ++r, at += p.step) raw[r] = load_channels<T, V>(x + at);
    ATROUS_UNROLL
    for (int r = 0; r < kRows; ++r) own.add(raw[r]);
  }
  for (; row < p.whole; ++row, at += p.step) own.add(load_channels<T, V>(x + at));
  ATROUS_UNROLL
  for (int e = 0; e < V; ++e)
    if (e < p.rest) own.add(e, A(x[at + e]));
  fold_statistics(s, p, own, reinterpret_cast<double*>(bytes), sums);
}

/// As finish_strip_sums(): a block's 256 threads merge the strips of 8 channels. done(c, mean, var).
template <class Done>
__device__ __forceinline__ void finish_statistics(std::int64_t group, std::int64_t pixels, std::int64_t each,
                                                  std::int64_t strips, std::int64_t channels,
                                                  const double* sums, Moments* shared, const Done& done) {
  const int t = int(threadIdx.x), lane = t / kFinishChannels;
  const std::int64_t c = group * kFinishChannels + t % kFinishChannels;
  Moments m{0, 0, 0};
  if (c < channels) ATROUS_NO_UNROLL
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
  if (lane == 0 && c < channels) done(c, m.mean, m.squares / double(pixels));
}

}  // namespace atrous::kernels::cuda
