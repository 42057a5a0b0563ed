#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/elementwise/dropout.h"
#include "atrous/kernels/elementwise/dropout_body.h"

namespace atrous::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// A thread owns V neighbouring elements, V / 4 counters of the generator; behind the last whole vector, or
// where the spans are not aligned, the four elements of one counter. Floor: bytes of x and y; the generator
// takes about 15 instructions an element.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(DropoutFour<T> body, std::int64_t vectors, std::int64_t groups) {
  using A = Accumulator<T>;
  constexpr int V = kVector<T>;
  const std::int64_t first = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t stride = std::int64_t(gridDim.x) * kThreads;
  if constexpr (V >= 4) {
    for (std::int64_t i = first; i < vectors; i += stride) {
      A v[V];
      load_channels<T, V>(body.x.data() + i * V, v);
      ATROUS_UNROLL
      for (int j = 0; j < V; j += 4) {
        const PhiloxWords words = philox(body.seed, body.call, std::uint64_t(i * (V / 4) + j / 4));
        ATROUS_UNROLL
        for (int k = 0; k < 4; ++k) v[j + k] = dropped(body.factor(words.words[k]), v[j + k]);
      }
      store_channels<T, V>(body.y.data() + i * V, v);
    }
  }
  for (std::int64_t g = vectors * (V / 4) + first; g < groups; g += stride) body(g);
}

// Element i of the factors.
template <class A>
struct DrawFactor {
  DropoutFactor<A> factor;
  std::uint64_t seed, call;
  Span<A> factors;
  __device__ void operator()(std::int64_t i) const {
    factors[i] = factor(random_bits(seed, call, std::uint64_t(i)));
  }
};

// Vector i of x: V channels of one pixel.
template <class T, int V>
struct ApplyFactors {
  ChannelDropoutDims dims;
  const T* x;
  const Accumulator<T>* factors;
  T* y;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t row = dims.channels / V, pixel = i / row, c = (i - pixel * row) * V;
    const Accumulator<T>* f = factors + pixel / dims.pixels * dims.channels + c;
    Accumulator<T> v[V];
    load_channels<T, V>(x + i * V, v);
    ATROUS_UNROLL
    for (int k = 0; k < V; ++k) v[k] = dropped(f[k], v[k]);
    store_channels<T, V>(y + i * V, v);
  }
};

}  // namespace

template <class T>
void dropout_forward(Stream stream, const DropoutRule& rule, Span<const T> x, Span<T> y) {
  if (y.empty()) return;
  constexpr int V = kVector<T>;
  const std::int64_t groups = (y.size() + 3) / 4;
  const std::int64_t vectors = in_vectors<T>(V, x.data(), y.data()) ? y.size() / V : 0;
  const std::int64_t rest = groups - vectors * (V / 4), work = vectors > rest ? vectors : rest;
  const std::int64_t blocks = (work + kThreads - 1) / kThreads;
  const DropoutFour<T> body{DropoutFactor<Accumulator<T>>(rule), rule.seed, rule.call, x, y};
  ATROUS_LAUNCH((dropout_kernel<T>), unsigned(blocks < kForEachBlocks ? blocks : kForEachBlocks), kThreads, 0,
                stream, body, vectors, groups);
}
ATROUS_INSTANTIATE(dropout_forward);

template <class T>
void channel_dropout_forward(Stream stream, const DropoutRule& rule, const ChannelDropoutDims& dims,
                             Span<const T> x, Span<Accumulator<T>> factors, Span<T> y) {
  using A = Accumulator<T>;
  for_each(stream, factors.size(), DrawFactor<A>{DropoutFactor<A>(rule), rule.seed, rule.call, factors});
  constexpr int V = kVector<T>;
  if (in_vectors<T>(dims.channels, x.data(), y.data()))
    for_each(stream, y.size() / V, ApplyFactors<T, V>{dims, x.data(), factors.data(), y.data()});
  else
    for_each(stream, y.size(), ApplyFactors<T, 1>{dims, x.data(), factors.data(), y.data()});
}
ATROUS_INSTANTIATE(channel_dropout_forward);

}  // namespace atrous::kernels::cuda
