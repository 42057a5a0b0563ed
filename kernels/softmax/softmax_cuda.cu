#include <cmath>

#include "atrous/kernels/softmax/softmax.h"
#include "atrous/kernels/softmax/softmax_tile.cuh"

namespace atrous::kernels::cuda {
namespace {

// What is done to one row. Inputs are kInputs rows of elements E (Accumulator<T> in shared memory, T in
// device memory); row(x, put) calls put(c, value) for the results of its lanes, each after the last read of
// that element.

struct Softmax {
  static constexpr int kInputs = 1;
  template <class A, class E, class Put>
  __device__ __forceinline__ static void row(const RowView<E> (&x)[1], const Put& put) {
    const A largest = x[0].template largest<A>();
    const A factor = A(1) / x[0].exponentials(largest);
    x[0].each([&](int c) { put(c, x[0].exponential(c, largest) * factor); });
  }
};

struct LogSoftmax {
  static constexpr int kInputs = 1;
  template <class A, class E, class Put>
  __device__ __forceinline__ static void row(const RowView<E> (&x)[1], const Put& put) {
    const A largest = x[0].template largest<A>();
    const A log_sum =
        std::log(x[0].template sum<A>([&](int c) { return std::exp(A(x[0].at[c]) - largest); }));
    x[0].each([&](int c) { put(c, (A(x[0].at[c]) - largest) - log_sum); });
  }
};

/// Of y and dy.
struct SoftmaxGradient {
  static constexpr int kInputs = 2;
  template <class A, class E, class Put>
  __device__ __forceinline__ static void row(const RowView<E> (&x)[2], const Put& put) {
    const A dot = x[0].template sum<A>([&](int c) { return A(x[0].at[c]) * A(x[1].at[c]); });
    x[0].each([&](int c) { put(c, A(x[0].at[c]) * (A(x[1].at[c]) - dot)); });
  }
};

struct LogSoftmaxGradient {
  static constexpr int kInputs = 2;
  template <class A, class E, class Put>
  __device__ __forceinline__ static void row(const RowView<E> (&x)[2], const Put& put) {
    const A sum = x[0].template sum<A>([&](int c) { return A(x[1].at[c]); });
    x[0].each([&](int c) { put(c, A(x[1].at[c]) - std::exp(A(x[0].at[c])) * sum); });
  }
};

template <class T, int Inputs>
struct Rows {
  const T* x[Inputs];
};

// A block owns the rows of RowTile::pixels pixels, a group of lanes one row. Floor: bytes of the inputs and
// of the result; about 10 instructions an exponential.
template <class T, class F>
__global__ void __launch_bounds__(kTileThreads)
    rows_kernel(RowTile t, std::int64_t pixels, Rows<T, F::kInputs> in, T* y) {
  using A = Accumulator<T>;
  ATROUS_DYN_SHARED(bytes);
  A* rows = reinterpret_cast<A*>(bytes);
  const int tile = t.pixels * t.pitch;
  const std::int64_t first = std::int64_t(blockIdx.x) * t.pixels, left = pixels - first;
  const int here = int(left < t.pixels ? left : t.pixels), count = here * t.classes;
  ATROUS_UNROLL
  for (int i = 0; i < F::kInputs; ++i) load_rows(t, in.x[i] + first * t.classes, count, rows + i * tile);
  __syncthreads();
  const int pixel = int(threadIdx.x) / t.lanes;
  // Groups without a pixel take part in their warp's shuffles with no classes.
  RowView<A> x[F::kInputs];
  ATROUS_UNROLL
  for (int i = 0; i < F::kInputs; ++i)
    x[i] = {rows + i * tile + pixel * t.pitch, pixel < here ? t.classes : 0,
            int(threadIdx.x) - pixel * t.lanes, t.lanes};
  F::template row<A>(x, [&](int c, A value) { x[0].at[c] = value; });
  __syncthreads();
  store_rows(t, rows, count, y + first * t.classes);
}

// Any number of classes: a warp a row, in device memory. It reads a row two or three times.
template <class T, class F>
__global__ void __launch_bounds__(kTileThreads)
    long_rows_kernel(RowTile t, std::int64_t pixels, Rows<T, F::kInputs> in, T* y) {
  using A = Accumulator<T>;
  const std::int64_t pixel = std::int64_t(blockIdx.x) * t.pixels + threadIdx.x / 32;
  if (pixel >= pixels) return;  // whole warps
  RowView<const T> x[F::kInputs];
  ATROUS_UNROLL
  for (int i = 0; i < F::kInputs; ++i)
    x[i] = {in.x[i] + pixel * t.classes, t.classes, int(threadIdx.x % 32), 32};
  T* to = y + pixel * t.classes;
  F::template row<A>(x, [&](int c, A value) { to[c] = T(value); });
}

template <class F, class T>
void run_rows(Stream stream, const SoftmaxDims& dims, const Rows<T, F::kInputs>& in, T* y) {
  if (dims.pixels == 0) return;
  const RowTile t = RowTile::of<Accumulator<T>>(dims.classes);
  if (t.shared())
    ATROUS_LAUNCH((rows_kernel<T, F>), t.blocks(dims.pixels), kTileThreads,
                  t.bytes(sizeof(Accumulator<T>), F::kInputs), stream, t, dims.pixels, in, y);
  else
    ATROUS_LAUNCH((long_rows_kernel<T, F>), t.blocks(dims.pixels), kTileThreads, 0, stream, t, dims.pixels,
                  in, y);
}

/// The first of the greatest among the lanes of a row; NaN is not greater than anything.
template <class A>
struct Best {
  A value;
  int at;
};
template <class A, class E>
__device__ __forceinline__ int argmax_of_row(const RowView<E>& x, int lanes) {
  constexpr int kNone = 0x7fffffff;
  Best<A> best{kMinusInfinity<A>, kNone};
  x.each([&](int c) {
    const A v = A(x.at[c]);
    if (v > best.value) best = {v, c};
  });
  for (int distance = 1; distance < lanes; distance *= 2) {
    const Best<A> other{__shfl_xor_sync(kAllLanes, best.value, distance),
                        __shfl_xor_sync(kAllLanes, best.at, distance)};
    if (other.value > best.value || (other.value == best.value && other.at < best.at)) best = other;
  }
  // Nothing is greater than class 0 if that is NaN, nor if all the others are minus infinity or NaN.
  if (x.classes == 0 || A(x.at[0]) != A(x.at[0]) || best.at == kNone) return 0;
  return best.at;
}

template <class T, class Label, bool Shared>
__global__ void __launch_bounds__(kTileThreads)
    argmax_kernel(RowTile t, std::int64_t pixels, const T* x, Label* labels) {
  using A = Accumulator<T>;
  const std::int64_t first = std::int64_t(blockIdx.x) * t.pixels, left = pixels - first;
  const int here = int(left < t.pixels ? left : t.pixels);
  const int pixel = int(threadIdx.x) / t.lanes, lane = int(threadIdx.x) % t.lanes;
  const int classes = pixel < here ? t.classes : 0;
  int label;
  if constexpr (Shared) {
    ATROUS_DYN_SHARED(bytes);
    A* rows = reinterpret_cast<A*>(bytes);
    load_rows(t, x + first * t.classes, here * t.classes, rows);
    __syncthreads();
    label = argmax_of_row<A>(RowView<A>{rows + pixel * t.pitch, classes, lane, t.lanes}, t.lanes);
  } else {
    label =
        argmax_of_row<A>(RowView<const T>{x + (first + pixel) * t.classes, classes, lane, t.lanes}, t.lanes);
  }
  if (pixel < here && lane == 0) labels[first + pixel] = Label(label);
}

template <class T, class Label>
void run_argmax(Stream stream, const SoftmaxDims& dims, const T* x, Label* labels) {
  if (dims.pixels == 0) return;
  const RowTile t = RowTile::of<Accumulator<T>>(dims.classes);
  if (t.shared())
    ATROUS_LAUNCH((argmax_kernel<T, Label, true>), t.blocks(dims.pixels), kTileThreads,
                  t.bytes(sizeof(Accumulator<T>), 1), stream, t, dims.pixels, x, labels);
  else
    ATROUS_LAUNCH((argmax_kernel<T, Label, false>), t.blocks(dims.pixels), kTileThreads, 0, stream, t,
                  dims.pixels, x, labels);
}

}  // namespace

template <class T>
void softmax_forward(Stream stream, const SoftmaxDims& dims, Span<const T> x, Span<T> y) {
  run_rows<Softmax>(stream, dims, Rows<T, 1>{{x.data()}}, y.data());
}
ATROUS_INSTANTIATE(softmax_forward);

template <class T>
void softmax_backward(Stream stream, const SoftmaxDims& dims, Span<const T> y, Span<const T> dy, Span<T> dx) {
  run_rows<SoftmaxGradient>(stream, dims, Rows<T, 2>{{y.data(), dy.data()}}, dx.data());
}
ATROUS_INSTANTIATE(softmax_backward);

template <class T>
void log_softmax_forward(Stream stream, const SoftmaxDims& dims, Span<const T> x, Span<T> y) {
  run_rows<LogSoftmax>(stream, dims, Rows<T, 1>{{x.data()}}, y.data());
}
ATROUS_INSTANTIATE(log_softmax_forward);

template <class T>
void log_softmax_backward(Stream stream, const SoftmaxDims& dims, Span<const T> y, Span<const T> dy,
                          Span<T> dx) {
  run_rows<LogSoftmaxGradient>(stream, dims, Rows<T, 2>{{y.data(), dy.data()}}, dx.data());
}
ATROUS_INSTANTIATE(log_softmax_backward);

template <class T>
void argmax_channels(Stream stream, const SoftmaxDims& dims, Span<const T> x, Span<std::uint8_t> labels8,
                     Span<std::int32_t> labels32) {
  if (!labels8.empty())
    run_argmax(stream, dims, x.data(), labels8.data());
  else if (!labels32.empty())
    run_argmax(stream, dims, x.data(), labels32.data());
}
ATROUS_INSTANTIATE(argmax_channels);

}  // namespace atrous::kernels::cuda
