#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/layout/layout.h"

// A thread moves V neighbouring channels of one pixel: 16 bytes where every run of channels begins and ends
// at a multiple of them, else one element. Floor: bytes read and written once each.

namespace atrous::kernels::cuda {
namespace {

template <class T, int V>
__device__ __forceinline__ void put(const Channels<T, V>& c, T* to) {
  if constexpr (V == 1)
    *to = c.raw;
  else
    store16(to, c.raw);
}

template <class T, int V>
__device__ __forceinline__ void move(const T* from, T* to) {
  put<T, V>(load_channels<T, V>(from), to);
}

template <class T, int V>
struct CopyRun {
  ChannelRunDims dims;
  const T* x;
  T* y;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t run = dims.count / V, row = i / run, c = (i - row * run) * V;
    move<T, V>(x + row * dims.x_channels + dims.x_begin + c, y + row * dims.y_channels + dims.y_begin + c);
  }
};

template <class T, int V>
struct EmbedRun {
  ChannelRunDims dims;
  const T* x;
  T* y;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t all = dims.y_channels / V, row = i / all, c = (i - row * all) * V;
    const std::int64_t from = c - dims.y_begin;
    if (from >= 0 && from < dims.count)
      move<T, V>(x + row * dims.x_channels + dims.x_begin + from, y + i * V);
    else
      put<T, V>(no_channels<T, V>(), y + i * V);
  }
};

template <class T, int V>
struct PadVector {
  PadDims dims;
  Accumulator<T> value;
  const T* x;
  T* y;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t vectors = dims.channels / V, pixel = i / vectors, c = (i - pixel * vectors) * V;
    const std::int64_t image_row = pixel / dims.out_w, n = image_row / dims.out_h;
    const std::int64_t h = image_row - n * dims.out_h - dims.top;
    const std::int64_t w = pixel - image_row * dims.out_w - dims.left;
    if (h >= 0 && h < dims.in_h && w >= 0 && w < dims.in_w) {
      move<T, V>(x + ((n * dims.in_h + h) * dims.in_w + w) * dims.channels + c, y + i * V);
    } else {
      Accumulator<T> v[V];
      ATROUS_UNROLL
      for (int k = 0; k < V; ++k) v[k] = value;
      store_channels<T, V>(y + i * V, v);
    }
  }
};

// Whether runs of channels with these sizes and places can be moved 16 bytes at a time.
template <class T>
bool runs_in_vectors(const ChannelRunDims& d, Span<const T> x, Span<T> y) {
  constexpr int V = kVector<T>;
  return d.count % V == 0 && d.x_begin % V == 0 && d.y_begin % V == 0 && d.x_channels % V == 0 &&
         in_vectors<T>(d.y_channels, x.data(), y.data());
}

}  // namespace

template <class T>
void copy_channels(Stream stream, const ChannelRunDims& dims, Span<const T> x, Span<T> y) {
  constexpr int V = kVector<T>;
  if (runs_in_vectors(dims, x, y))
    for_each(stream, dims.rows * (dims.count / V), CopyRun<T, V>{dims, x.data(), y.data()});
  else
    for_each(stream, dims.rows * dims.count, CopyRun<T, 1>{dims, x.data(), y.data()});
}
ATROUS_INSTANTIATE(copy_channels);

template <class T>
void embed_channels(Stream stream, const ChannelRunDims& dims, Span<const T> x, Span<T> y) {
  constexpr int V = kVector<T>;
  if (runs_in_vectors(dims, x, y))
    for_each(stream, dims.rows * (dims.y_channels / V), EmbedRun<T, V>{dims, x.data(), y.data()});
  else
    for_each(stream, dims.rows * dims.y_channels, EmbedRun<T, 1>{dims, x.data(), y.data()});
}
ATROUS_INSTANTIATE(embed_channels);

template <class T>
void pad_forward(Stream stream, const PadDims& dims, double value, Span<const T> x, Span<T> y) {
  constexpr int V = kVector<T>;
  const auto v = Accumulator<T>(T(value));
  const std::int64_t pixels = dims.batch * dims.out_h * dims.out_w;
  if (in_vectors<T>(dims.channels, x.data(), y.data()))
    for_each(stream, pixels * (dims.channels / V), PadVector<T, V>{dims, v, x.data(), y.data()});
  else
    for_each(stream, pixels * dims.channels, PadVector<T, 1>{dims, v, x.data(), y.data()});
}
ATROUS_INSTANTIATE(pad_forward);

}  // namespace atrous::kernels::cuda
