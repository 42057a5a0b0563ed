#include <cstdint>

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/pool2d/pool2d.h"
#include "atrous/kernels/pool2d/pool2d_body.h"
#include "atrous/kernels/reduce/block_reduce.cuh"

// A thread owns V channels of one pixel of the result and gathers what it needs: taps under a window, or the
// windows over a pixel. Windows overlap, and neighbouring threads read the same pixels: the caches serve
// those. Floor: bytes of x, y and taps once each.

namespace atrous::kernels::cuda {
namespace {

// V taps, as they lie in memory. Element-wise where V is 1; else the vectors of T are aligned, and so are
// these.
template <int V>
__device__ __forceinline__ void store_taps(std::uint8_t* to, const int (&tap)[V]) {
  if constexpr (V == 1) {
    *to = std::uint8_t(tap[0]);
  } else {
    unsigned words[V / 4];
    ATROUS_UNROLL
    for (int w = 0; w < V / 4; ++w)
      words[w] = unsigned(tap[4 * w]) | unsigned(tap[4 * w + 1]) << 8 | unsigned(tap[4 * w + 2]) << 16 |
                 unsigned(tap[4 * w + 3]) << 24;
    if constexpr (V == 4)
      *reinterpret_cast<unsigned*>(to) = words[0];
    else
      store8(to, make_uint2(words[0], words[1]));
  }
}
template <int V>
__device__ __forceinline__ void store_taps(std::int32_t* to, const int (&tap)[V]) {
  if constexpr (V == 1) {
    *to = tap[0];
  } else {
    ATROUS_UNROLL
    for (int w = 0; w < V; w += 4)
      store16(to + w,
              make_uint4(unsigned(tap[w]), unsigned(tap[w + 1]), unsigned(tap[w + 2]), unsigned(tap[w + 3])));
  }
}
template <int V>
__device__ __forceinline__ void load_taps(const std::uint8_t* from, int (&tap)[V]) {
  if constexpr (V == 1) {
    tap[0] = *from;
  } else {
    unsigned words[2] = {};
    if constexpr (V == 4) {
      words[0] = *reinterpret_cast<const unsigned*>(from);
    } else {
      const uint2 pair = load8(from);
      words[0] = pair.x, words[1] = pair.y;
    }
    ATROUS_UNROLL
    for (int i = 0; i < V; ++i) tap[i] = int(words[i / 4] >> (i % 4 * 8) & 255u);
  }
}
template <int V>
__device__ __forceinline__ void load_taps(const std::int32_t* from, int (&tap)[V]) {
  if constexpr (V == 1) {
    tap[0] = *from;
  } else {
    ATROUS_UNROLL
    for (int w = 0; w < V; w += 4) {
      const uint4 four = load16(from + w);
      tap[w] = int(four.x), tap[w + 1] = int(four.y), tap[w + 2] = int(four.z), tap[w + 3] = int(four.w);
    }
  }
}

/// Vector i of a tensor [batch, height, width, channels].
struct Place {
  std::int64_t n, h, w, pixel, c;
};
template <int V>
__device__ __forceinline__ Place place_of(std::int64_t i, std::int64_t height, std::int64_t width,
                                          std::int64_t channels) {
  const std::int64_t vectors = channels / V, pixel = i / vectors, row = pixel / width, n = row / height;
  return {n, row - n * height, pixel - row * width, pixel, (i - pixel * vectors) * V};
}

template <class T, int V, class Index>
struct MaxForward {
  using A = Accumulator<T>;
  Pool2dDims d;
  const T* x;
  T* y;
  Index* taps;  // or null
  __device__ void operator()(std::int64_t i) const {
    const Place p = place_of<V>(i, d.out_h, d.out_w, d.channels);
    const PoolWindow window(d, p.h, p.w);
    A best[V];
    int where[V];
    ATROUS_UNROLL
    for (int k = 0; k < V; ++k) {
      best[k] = kMinusInfinity<A>;
      where[k] = window.empty() ? 0 : int(window.rows.first * d.window.w + window.cols.first);
    }
    for (std::int64_t r = window.rows.first; r < window.rows.end; ++r)
      for (std::int64_t s = window.cols.first; s < window.cols.end; ++s) {
        const std::int64_t h = p.h * d.stride.h + r - d.padding.top,
                           w = p.w * d.stride.w + s - d.padding.left;
        A v[V];
        load_channels<T, V>(x + ((p.n * d.in_h + h) * d.in_w + w) * d.channels + p.c, v);
        ATROUS_UNROLL
        for (int k = 0; k < V; ++k) {
          const bool better = v[k] > best[k] || (v[k] != v[k] && best[k] == best[k]);
          best[k] = better ? v[k] : best[k];
          where[k] = better ? int(r * d.window.w + s) : where[k];
        }
      }
    store_channels<T, V>(y + i * V, best);
    if (taps) store_taps<V>(taps + i * V, where);
  }
};

// visit(oh, ow) for every window over pixel (h, w) of the input.
template <class Visit>
__device__ __forceinline__ void each_window(const Pool2dDims& d, std::int64_t h, std::int64_t w,
                                            const Visit& visit) {
  const TapRange rows = windows_over(h, d.out_h, d.padding.top, d.window.h, d.stride.h);
  const TapRange cols = windows_over(w, d.out_w, d.padding.left, d.window.w, d.stride.w);
  // Positions on one axis: 32 bits hold them, and 64 would spill.
  const int last_h = int(rows.end), last_w = int(cols.end);
  for (int oh = int(rows.first); oh < last_h; ++oh)
    for (int ow = int(cols.first); ow < last_w; ++ow) visit(oh, ow);
}

template <class T, int V, class Index>
struct MaxBackward {
  using A = Accumulator<T>;
  Pool2dDims d;
  const T* dy;
  const Index* taps;
  T* dx;
  __device__ void operator()(std::int64_t i) const {
    const Place p = place_of<V>(i, d.in_h, d.in_w, d.channels);
    A sum[V] = {};
    const int h = int(p.h + d.padding.top), w = int(p.w + d.padding.left);
    each_window(d, p.h, p.w, [&](int oh, int ow) {
      const int own = (h - oh * int(d.stride.h)) * int(d.window.w) + w - ow * int(d.stride.w);
      const std::int64_t from = ((p.n * d.out_h + oh) * d.out_w + ow) * d.channels + p.c;
      int tap[V];
      A v[V];
      load_taps<V>(taps + from, tap);
      load_channels<T, V>(dy + from, v);
      ATROUS_UNROLL
      for (int k = 0; k < V; ++k) sum[k] += tap[k] == own ? v[k] : A(0);
    });
    store_channels<T, V>(dx + i * V, sum);
  }
};

template <class T, int V>
struct AvgForward {
  using A = Accumulator<T>;
  Pool2dDims d;
  const T* x;
  T* y;
  __device__ void operator()(std::int64_t i) const {
    const Place p = place_of<V>(i, d.out_h, d.out_w, d.channels);
    const PoolWindow window(d, p.h, p.w);
    A sum[V] = {};
    for (std::int64_t r = window.rows.first; r < window.rows.end; ++r)
      for (std::int64_t s = window.cols.first; s < window.cols.end; ++s) {
        const std::int64_t h = p.h * d.stride.h + r - d.padding.top,
                           w = p.w * d.stride.w + s - d.padding.left;
        A v[V];
        load_channels<T, V>(x + ((p.n * d.in_h + h) * d.in_w + w) * d.channels + p.c, v);
        ATROUS_UNROLL
        for (int k = 0; k < V; ++k) sum[k] += v[k];
      }
    const A divisor = A(pool_divisor(d, p.h, p.w));
    ATROUS_UNROLL
    for (int k = 0; k < V; ++k) sum[k] /= divisor;
    store_channels<T, V>(y + i * V, sum);
  }
};

template <class T, int V>
struct AvgBackward {
  using A = Accumulator<T>;
  Pool2dDims d;
  const T* dy;
  T* dx;
  __device__ void operator()(std::int64_t i) const {
    const Place p = place_of<V>(i, d.in_h, d.in_w, d.channels);
    A sum[V] = {};
    each_window(d, p.h, p.w, [&](int oh, int ow) {
      const A share = A(1) / A(pool_divisor(d, oh, ow));
      A v[V];
      load_channels<T, V>(dy + ((p.n * d.out_h + oh) * d.out_w + ow) * d.channels + p.c, v);
      ATROUS_UNROLL
      for (int k = 0; k < V; ++k) sum[k] += v[k] * share;
    });
    store_channels<T, V>(dx + i * V, sum);
  }
};

template <class T, int V>
struct Spread {
  using A = Accumulator<T>;
  std::int64_t pixels, channels;
  A share;
  const T* dy;
  T* dx;
  __device__ void operator()(std::int64_t i) const {
    const Place p = place_of<V>(i, 1, pixels, channels);
    A v[V];
    load_channels<T, V>(dy + p.n * channels + p.c, v);
    ATROUS_UNROLL
    for (int k = 0; k < V; ++k) v[k] *= share;
    store_channels<T, V>(dx + i * V, v);
  }
};

// make<V>() is run over `elements` / V vectors, V as wide as `wide` says.
template <class T, class Make>
void for_each_vector(Stream stream, bool wide, std::int64_t elements, const Make& make) {
  constexpr int V = kVector<T>;
  if (wide)
    for_each(stream, elements / V, make.template operator()<V>());
  else
    for_each(stream, elements, make.template operator()<1>());
}

constexpr int kMeanThreads = 256;

// The mean of every channel of an image. A block owns an image and `columns` vectors of its channels; its
// threads walk down the pixels in kMeanThreads / columns layers, which are added in pairs and pairs of pairs,
// all sums in double. Floor: bytes of x.
template <class T, int V>
__global__ void __launch_bounds__(kMeanThreads)
    image_mean_kernel(std::int64_t pixels, std::int64_t channels, int columns, int tiles, const T* x, T* y) {
  ATROUS_SHARED(double, shared, [V][kMeanThreads]);
  const int t = int(threadIdx.x), layers = kMeanThreads / columns, layer = t / columns;
  const std::int64_t n = blockIdx.x / unsigned(tiles);
  const std::int64_t c = (std::int64_t(blockIdx.x % unsigned(tiles)) * columns + t % columns) * V;
  const T* image = x + n * pixels * channels;
  double sum[V] = {};
  if (c < channels)
    for (std::int64_t p = layer; p < pixels; p += layers) {
      Accumulator<T> v[V];
      load_channels<T, V>(image + p * channels + c, v);
      ATROUS_UNROLL
      for (int k = 0; k < V; ++k) sum[k] += double(v[k]);
    }
  ATROUS_UNROLL
  for (int k = 0; k < V; ++k) shared[k][t] = sum[k];
  __syncthreads();
  for (int half = layers / 2; half > 0; half /= 2) {
    if (layer < half) {
      ATROUS_UNROLL
      for (int k = 0; k < V; ++k) shared[k][t] += shared[k][t + half * columns];
    }
    __syncthreads();
  }
  if (layer > 0 || c >= channels) return;
  Accumulator<T> mean[V];
  ATROUS_UNROLL
  for (int k = 0; k < V; ++k) mean[k] = Accumulator<T>(shared[k][t] / double(pixels));
  store_channels<T, V>(y + n * channels + c, mean);
}

template <class T, int V>
void image_mean(Stream stream, std::int64_t batch, std::int64_t pixels, std::int64_t channels, const T* x,
                T* y) {
  const std::int64_t vectors = channels / V;
  int columns = 1;  // a power of two
  while (columns < 16 && columns < vectors) columns *= 2;
  const std::int64_t tiles = (vectors + columns - 1) / columns;
  ATROUS_LAUNCH((image_mean_kernel<T, V>), unsigned(tiles * batch), kMeanThreads, 0, stream, pixels, channels,
                columns, int(tiles), x, y);
}

}  // namespace

template <class T>
void max_pool2d_forward(Stream stream, const Pool2dDims& d, Span<const T> x, Span<T> y, MaxTaps taps) {
  const bool wide = in_vectors<T>(d.channels, x.data(), y.data(), taps.narrow.data()) &&
                    in_vectors<T>(d.channels, taps.wide.data());
  if (taps.wide.empty())
    for_each_vector<T>(stream, wide, y.size(), [&]<int V>() {
      return MaxForward<T, V, std::uint8_t>{d, x.data(), y.data(), taps.narrow.data()};
    });
  else
    for_each_vector<T>(stream, wide, y.size(), [&]<int V>() {
      return MaxForward<T, V, std::int32_t>{d, x.data(), y.data(), taps.wide.data()};
    });
}
ATROUS_INSTANTIATE(max_pool2d_forward);

template <class T>
void max_pool2d_backward(Stream stream, const Pool2dDims& d, Span<const T> dy, MaxTaps taps, Span<T> dx) {
  const bool wide = in_vectors<T>(d.channels, dy.data(), dx.data(), taps.narrow.data()) &&
                    in_vectors<T>(d.channels, taps.wide.data());
  if (taps.wide.empty())
    for_each_vector<T>(stream, wide, dx.size(), [&]<int V>() {
      return MaxBackward<T, V, std::uint8_t>{d, dy.data(), taps.narrow.data(), dx.data()};
    });
  else
    for_each_vector<T>(stream, wide, dx.size(), [&]<int V>() {
      return MaxBackward<T, V, std::int32_t>{d, dy.data(), taps.wide.data(), dx.data()};
    });
}
ATROUS_INSTANTIATE(max_pool2d_backward);

template <class T>
void avg_pool2d_forward(Stream stream, const Pool2dDims& d, Span<const T> x, Span<T> y) {
  for_each_vector<T>(stream, in_vectors<T>(d.channels, x.data(), y.data()), y.size(), [&]<int V>() {
    return AvgForward<T, V>{d, x.data(), y.data()};
  });
}
ATROUS_INSTANTIATE(avg_pool2d_forward);

template <class T>
void avg_pool2d_backward(Stream stream, const Pool2dDims& d, Span<const T> dy, Span<T> dx) {
  for_each_vector<T>(stream, in_vectors<T>(d.channels, dy.data(), dx.data()), dx.size(), [&]<int V>() {
    return AvgBackward<T, V>{d, dy.data(), dx.data()};
  });
}
ATROUS_INSTANTIATE(avg_pool2d_backward);

template <class T>
void global_avg_pool2d_forward(Stream stream, std::int64_t batch, std::int64_t height, std::int64_t width,
                               std::int64_t channels, Span<const T> x, Span<T> y) {
  if (y.empty()) return;
  if (in_vectors<T>(channels, x.data(), y.data()))
    image_mean<T, kVector<T>>(stream, batch, height * width, channels, x.data(), y.data());
  else
    image_mean<T, 1>(stream, batch, height * width, channels, x.data(), y.data());
}
ATROUS_INSTANTIATE(global_avg_pool2d_forward);

template <class T>
void global_avg_pool2d_backward(Stream stream, std::int64_t, std::int64_t pixels, std::int64_t channels,
                                Span<const T> dy, Span<T> dx) {
  const auto share = Accumulator<T>(1) / Accumulator<T>(pixels);
  for_each_vector<T>(stream, in_vectors<T>(channels, dy.data(), dx.data()), dx.size(), [&]<int V>() {
    return Spread<T, V>{pixels, channels, share, dy.data(), dx.data()};
  });
}
ATROUS_INSTANTIATE(global_avg_pool2d_backward);

}  // namespace atrous::kernels::cuda
