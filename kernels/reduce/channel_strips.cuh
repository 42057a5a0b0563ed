#pragma once

#include <cstring>
#include <type_traits>

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/reduce/channel_strips.h"

// The kernels' side of channel_strips.h: what a thread reads, how a block adds its threads' sums up, and how
// the strips' sums become one for each channel.

namespace atrous::kernels::cuda {

/// Blocks of a multiprocessor at least: up to 128 registers a thread. Without it the assembler spills a few
/// to have more.
inline constexpr int kStripBlocks = 2;

/// What one thread of block (strip, tile) reads: `whole` vectors, `step` elements apart, and then `rest`
/// elements of one more.
struct StripPart {
  std::int64_t at = 0, step = 0;
  std::int64_t vector = 0;  ///< of the row
  int whole = 0, rest = 0;
  int column, layer;
};

template <int V>
__device__ __forceinline__ StripPart strip_part(const ChannelStrips& s) {
  StripPart p;
  p.layer = int(threadIdx.x) / s.columns;
  p.column = int(threadIdx.x) - p.layer * s.columns;
  p.vector = std::int64_t(blockIdx.y) * s.columns + p.column;
  if (p.layer >= s.layers || p.vector >= s.row_vectors) return p;
  const std::int64_t first = blockIdx.x * s.each, left = s.pixels - first;
  const int pixels = int(left < s.each ? left : s.each), rows = pixels / s.row_pixels;
  p.at = ((first / s.row_pixels + p.layer) * s.row_vectors + p.vector) * V;
  p.step = s.layers * s.row_vectors * V;
  p.whole = rows > p.layer ? (rows - p.layer - 1) / s.layers + 1 : 0;
  // A last row of fewer pixels.
  const std::int64_t further = (pixels - rows * s.row_pixels) * s.channels - p.vector * V;
  if (further > 0 && rows % s.layers == p.layer) {
    if (further >= V)
      ++p.whole;
    else
      p.rest = int(further);
  }
  return p;
}

/// The channels of the thread's V elements.
template <int V>
__device__ __forceinline__ void strip_channels(const ChannelStrips& s, const StripPart& p, int (&c)[V]) {
  c[0] = int(p.vector * V % s.channels);
  ATROUS_UNROLL
  for (int e = 1; e < V; ++e) c[e] = c[e - 1] + 1 == int(s.channels) ? 0 : c[e - 1] + 1;
}

/// What a thread keeps of its V channels: k[e][i] = arrays[i][channel of e].
template <int V, int K, class C, class A>
__device__ __forceinline__ void load_constants(const ChannelStrips& s, const StripPart& p,
                                               const C* const (&arrays)[K], A (&k)[V][K]) {
  constexpr int kBytes = V * int(sizeof(C));
  int channel[V];
  strip_channels<V>(s, p, channel);
  ATROUS_UNROLL
  for (int i = 0; i < K; ++i) {
    bool vectors = false;
    if constexpr (kBytes % 16 == 0)
      vectors = s.row_pixels == 1 && reinterpret_cast<std::uintptr_t>(arrays[i] + channel[0]) % 16 == 0;
    if (vectors) {
      if constexpr (kBytes % 16 == 0) {
        constexpr int kOfWord = 16 / int(sizeof(C));
        ATROUS_UNROLL
        for (int e = 0; e < V; e += kOfWord) {
          const uint4 word = load16(arrays[i] + channel[0] + e);
          C four[kOfWord];
          memcpy(four, &word, 16);
          ATROUS_UNROLL
          for (int j = 0; j < kOfWord; ++j) k[e + j][i] = A(four[j]);
        }
      }
    } else {
      ATROUS_UNROLL
      for (int e = 0; e < V; ++e) k[e][i] = A(arrays[i][channel[e]]);
    }
  }
}

/// Pixels of this block's strip.
__device__ __forceinline__ std::int64_t strip_size(const ChannelStrips& s) {
  const std::int64_t left = s.pixels - blockIdx.x * s.each;
  return left < s.each ? left : s.each;
}

/// Doubles from one of a thread's V elements to its next in shared memory: neighbouring channels lie in
/// different banks.
template <int V>
ATROUS_HD int strip_pitch(int threads) {
  return threads + (V > 1 ? 16 / V : 0);
}

/// Bytes of shared memory that fold_strip<Sums, V> takes.
template <int V>
std::size_t strip_shared_bytes(int threads) {
  return std::size_t(V) * std::size_t(strip_pitch<V>(threads)) * sizeof(double);
}

/// body(channel, place in the tile) for the channels of the block's tile, each always by the same thread.
template <int V, class Body>
__device__ __forceinline__ void for_tile_channels(const ChannelStrips& s, const Body& body) {
  const std::int64_t base = std::int64_t(blockIdx.y) * s.columns * V, left = s.channels - base;
  const int channels = int(left < std::int64_t(s.columns) * V ? left : std::int64_t(s.columns) * V);
  for (int c = int(threadIdx.x); c < channels; c += int(blockDim.x)) body(base + c, c);
}

/// Adds the sums of a block's threads up, one sum after the other: layers in pairs and pairs of pairs, then
/// the pixels of a row. finish(channel, j, sum) for every channel of the block's tile, all sums of a channel
/// by one thread.
template <int Sums, int V, class Finish>
__device__ __forceinline__ void fold_strip(const ChannelStrips& s, const StripPart& p,
                                           const double (&sums)[Sums][V], double* shared,
                                           const Finish& finish) {
  const int t = int(threadIdx.x), pitch = strip_pitch<V>(int(blockDim.x));
  ATROUS_UNROLL
  for (int j = 0; j < Sums; ++j) {
    if (j > 0) __syncthreads();
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) shared[e * pitch + t] = sums[j][e];
    __syncthreads();
    for (int half = s.layers / 2; half > 0; half /= 2) {
      if (p.layer < half)
        for (int e = 0; e < V; ++e) shared[e * pitch + t] += shared[e * pitch + t + half * s.columns];
      __syncthreads();
    }
    for_tile_channels<V>(s, [&](std::int64_t c, int first) {
      double of_channel = 0;
      const int step = s.row_pixels == 1 ? 0 : int(s.channels);
      for (int pixel = 0, place = first; pixel < s.row_pixels; ++pixel, place += step)
        of_channel += shared[place % V * pitch + place / V];
      finish(c, j, of_channel);
    });
  }
}

// Rule:  kInputs, kConstants, kSums; in[kInputs]; constants[kConstants], arrays over channels (none for 0);
//        terms(v, k, q): what values v of one element add to the sums, k its channel's constants.
// A thread adds its elements, at most about 100 a channel, in Accumulator<T> (in double where V is 1); all
// else is in double. Floor: bytes of the inputs.
//   sums  [strips, kSums, channels]
template <class T, int V, class Rule>
__global__ void __launch_bounds__(ChannelStrips::kThreads, kStripBlocks)
    strip_sums_kernel(ChannelStrips s, Rule rule, double* sums) {
  using A = Accumulator<T>;
  using Total = std::conditional_t<V == 1, double, A>;
  constexpr int N = Rule::kInputs, Q = Rule::kSums, K = Rule::kConstants, kRows = 4;
  ATROUS_DYN_SHARED(bytes);
  const StripPart p = strip_part<V>(s);
  A k[V][K > 0 ? K : 1];
  if constexpr (K > 0)
    if (p.whole + p.rest > 0) load_constants<V>(s, p, rule.constants, k);
  Total total[Q][V] = {};
  const auto add = [&](int e, const A(&v)[N]) {
    A q[Q];
    rule.terms(v, k[e], q);
    ATROUS_UNROLL
    for (int j = 0; j < Q; ++j) total[j][e] += q[j];
  };
  std::int64_t at = p.at;
  int row = 0;
  for (; row + kRows <= p.whole; row += kRows) {
    Channels<T, V> raw[kRows][N];
    ATROUS_UNROLL
    for (int r = 0; r < kRows; ++r, at += p.step) {
      ATROUS_UNROLL
      for (int i = 0; i < N; ++i) raw[r][i] = load_channels<T, V>(rule.in[i] + at);
    }
    ATROUS_UNROLL
    for (int r = 0; r < kRows; ++r) {
      A values[N][V];
      ATROUS_UNROLL
      for (int i = 0; i < N; ++i) unpack<T, V>(raw[r][i], values[i]);
      ATROUS_UNROLL
      for (int e = 0; e < V; ++e) {
        A v[N];
        ATROUS_UNROLL
        for (int i = 0; i < N; ++i) v[i] = values[i][e];
        add(e, v);
      }
    }
  }
  for (; row < p.whole; ++row, at += p.step) {
    A values[N][V];
    ATROUS_UNROLL
    for (int i = 0; i < N; ++i) load_channels<T, V>(rule.in[i] + at, values[i]);
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) {
      A v[N];
      ATROUS_UNROLL
      for (int i = 0; i < N; ++i) v[i] = values[i][e];
      add(e, v);
    }
  }
  ATROUS_UNROLL
  for (int e = 0; e < V; ++e)
    if (e < p.rest) {
      A v[N];
      ATROUS_UNROLL
      for (int i = 0; i < N; ++i) v[i] = A(rule.in[i][at + e]);
      add(e, v);
    }
  double of_thread[Q][V];
  ATROUS_UNROLL
  for (int j = 0; j < Q; ++j) {
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) of_thread[j][e] = double(total[j][e]);
  }
  fold_strip<Q, V>(s, p, of_thread, reinterpret_cast<double*>(bytes),
                   [&](std::int64_t c, int j, double of_channel) {
                     sums[(std::int64_t(blockIdx.x) * Q + j) * s.channels + c] = of_channel;
                   });
}

inline constexpr int kFinishChannels = 8, kFinishLanes = 32, kFinishThreads = kFinishChannels * kFinishLanes;

/// A block's 256 threads make the totals of 8 channels, 32 threads each: thread l of a channel adds strips l,
/// l + 32, ..., then the threads are added in pairs and pairs of pairs. finish(c, totals) makes of them what
/// is wanted.
template <int Sums, class Finish>
__device__ __forceinline__ void finish_strip_sums(std::int64_t group, std::int64_t strips,
                                                  std::int64_t channels, const double* sums,
                                                  double (*shared)[kFinishThreads], const Finish& finish) {
  const int t = int(threadIdx.x), lane = t / kFinishChannels;
  const std::int64_t c = group * kFinishChannels + t % kFinishChannels;
  double total[Sums] = {};
  if (c < channels) ATROUS_NO_UNROLL
  for (std::int64_t q = lane; q < strips; q += kFinishLanes) {
    ATROUS_UNROLL
    for (int j = 0; j < Sums; ++j) total[j] += sums[(q * Sums + j) * channels + c];
  }
  ATROUS_UNROLL
  for (int j = 0; j < Sums; ++j) shared[j][t] = total[j];
  __syncthreads();
  for (int half = kFinishLanes / 2; half > 0; half /= 2) {
    if (lane < half) {
      ATROUS_UNROLL
      for (int j = 0; j < Sums; ++j) shared[j][t] += shared[j][t + half * kFinishChannels];
    }
    __syncthreads();
  }
  if (lane > 0 || c >= channels) return;
  ATROUS_UNROLL
  for (int j = 0; j < Sums; ++j) total[j] = shared[j][t];
  finish(c, total);
}

// A block owns 8 channels.
template <int Sums, class Finish>
__global__ void __launch_bounds__(kFinishThreads)
    strip_sums_finish_kernel(std::int64_t strips, std::int64_t channels, const double* sums, Finish finish) {
  ATROUS_SHARED(double, shared, [Sums][kFinishThreads]);
  finish_strip_sums<Sums>(blockIdx.x, strips, channels, sums, shared, finish);
}

inline unsigned finish_blocks(std::int64_t channels) {
  return unsigned((channels + kFinishChannels - 1) / kFinishChannels);
}

/// Both kernels. `scratch` holds strip_count() * Rule::kSums * channels doubles. All inputs of the rule are
/// vectors where `aligned` says so.
template <class T, class Rule, class Finish>
void strip_sums(Stream stream, std::int64_t pixels, std::int64_t channels, bool aligned, const Rule& rule,
                double* scratch, const Finish& finish) {
  constexpr int V = kVector<T>;
  if (channels == 0) return;
  const std::int64_t each = strip_pixels(pixels, channels);
  ChannelStrips s = ChannelStrips::of(pixels, channels, V, each);
  const bool vectors = V > 1 && aligned && s.ok();
  if (!vectors) s = ChannelStrips::of(pixels, channels, 1, each);
  const dim3 grid(unsigned(s.strips), unsigned(s.tiles));
  if (s.strips > 0) {
    if (vectors)
      ATROUS_LAUNCH((strip_sums_kernel<T, V, Rule>), grid, unsigned(s.threads()),
                    strip_shared_bytes<V>(s.threads()), stream, s, rule, scratch);
    else
      ATROUS_LAUNCH((strip_sums_kernel<T, 1, Rule>), grid, unsigned(s.threads()),
                    strip_shared_bytes<1>(s.threads()), stream, s, rule, scratch);
  }
  ATROUS_LAUNCH((strip_sums_finish_kernel<Rule::kSums, Finish>), finish_blocks(channels),
                unsigned(kFinishThreads), 0, stream, s.strips, channels, static_cast<const double*>(scratch),
                finish);
}

// Map:  kInputs, kConstants, kOutputs; in[kInputs], out[kOutputs], constants[kConstants];
//       apply(v, k, y): the values of one element.
// A thread keeps the constants of its channels in registers and walks down its strip. Floor: bytes of inputs
// and outputs.
template <class T, int V, class Map>
__global__ void __launch_bounds__(ChannelStrips::kThreads, kStripBlocks)
    strip_map_kernel(ChannelStrips s, Map map) {
  using A = Accumulator<T>;
  constexpr int N = Map::kInputs, M = Map::kOutputs, K = Map::kConstants;
  const StripPart p = strip_part<V>(s);
  if (p.whole + p.rest == 0) return;
  A k[V][K];
  load_constants<V>(s, p, map.constants, k);
  const auto run = [&](const Channels<T, V>(&raw)[N], std::int64_t at) {
    A values[N][V], results[M][V];
    ATROUS_UNROLL
    for (int i = 0; i < N; ++i) unpack<T, V>(raw[i], values[i]);
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) {
      A v[N], y[M];
      ATROUS_UNROLL
      for (int i = 0; i < N; ++i) v[i] = values[i][e];
      map.apply(v, k[e], y);
      ATROUS_UNROLL
      for (int i = 0; i < M; ++i) results[i][e] = y[i];
    }
    ATROUS_UNROLL
    for (int i = 0; i < M; ++i) store_channels<T, V>(map.out[i] + at, results[i]);
  };
  std::int64_t at = p.at;
  int row = 0;
  for (; row + 2 <= p.whole; row += 2, at += 2 * p.step) {
    Channels<T, V> above[N], below[N];
    ATROUS_UNROLL
    for (int i = 0; i < N; ++i) {
      above[i] = load_channels<T, V>(map.in[i] + at);
      below[i] = load_channels<T, V>(map.in[i] + at + p.step);
    }
    run(above, at);
    run(below, at + p.step);
  }
  for (; row < p.whole; ++row, at += p.step) {
    Channels<T, V> raw[N];
    ATROUS_UNROLL
    for (int i = 0; i < N; ++i) raw[i] = load_channels<T, V>(map.in[i] + at);
    run(raw, at);
  }
  ATROUS_UNROLL
  for (int e = 0; e < V; ++e)
    if (e < p.rest) {
      A v[N], y[M];
      ATROUS_UNROLL
      for (int i = 0; i < N; ++i) v[i] = A(map.in[i][at + e]);
      map.apply(v, k[e], y);
      ATROUS_UNROLL
      for (int i = 0; i < M; ++i) map.out[i][at + e] = T(y[i]);
    }
}

template <class T, class Map>
void strip_map(Stream stream, std::int64_t pixels, std::int64_t channels, bool aligned, const Map& map) {
  constexpr int V = kVector<T>;
  if (pixels == 0 || channels == 0) return;
  const std::int64_t each = short_strip_pixels(channels);
  ChannelStrips s = ChannelStrips::of(pixels, channels, V, each);
  if (V > 1 && aligned && s.ok()) {
    ATROUS_LAUNCH((strip_map_kernel<T, V, Map>), dim3(unsigned(s.strips), unsigned(s.tiles)),
                  unsigned(s.threads()), 0, stream, s, map);
  } else {
    s = ChannelStrips::of(pixels, channels, 1, each);
    ATROUS_LAUNCH((strip_map_kernel<T, 1, Map>), dim3(unsigned(s.strips), unsigned(s.tiles)),
                  unsigned(s.threads()), 0, stream, s, map);
  }
}

}  // namespace atrous::kernels::cuda
