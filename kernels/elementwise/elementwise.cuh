#pragma once

#include <cstdint>

#include "atrous/core/span.h"
#include "atrous/kernels/channels.cuh"

// y[i] = f(x[i], ...) at the speed of memory: 16 bytes an access wherever the spans allow it.

namespace atrous::kernels::cuda {

template <class T, int Inputs, class F>
struct ElementwiseCall {
  const T* x[Inputs];
  T* y;  // may be one of x
  F f;

  __device__ __forceinline__ Accumulator<T> apply(const Accumulator<T>* v) const {
    if constexpr (Inputs == 1)
      return f(v[0]);
    else if constexpr (Inputs == 2)
      return f(v[0], v[1]);
    else
      return f(v[0], v[1], v[2]);
  }
};

inline constexpr int kElementwiseThreads = 256;

// A thread owns one vector of V elements, from element `head` on, and one of the few elements before the
// first and behind the last vector. Floor: bytes of x and y once each.
template <class T, int Inputs, class F>
__global__ void __launch_bounds__(kElementwiseThreads)
    elementwise_kernel(ElementwiseCall<T, Inputs, F> call, std::int64_t head, std::int64_t vectors,
                       std::int64_t n) {
  using A = Accumulator<T>;
  constexpr int V = kVector<T>;
  const std::int64_t first = std::int64_t(blockIdx.x) * kElementwiseThreads + threadIdx.x;
  const std::int64_t stride = std::int64_t(gridDim.x) * kElementwiseThreads;
  for (std::int64_t i = first; i < vectors; i += stride) {
    const std::int64_t at = head + i * V;
    A x[Inputs][V], y[V];
    ATROUS_UNROLL
    for (int k = 0; k < Inputs; ++k) load_channels<T, V>(call.x[k] + at, x[k]);
    ATROUS_UNROLL
    for (int l = 0; l < V; ++l) {
      A v[Inputs];
      ATROUS_UNROLL
      for (int k = 0; k < Inputs; ++k) v[k] = x[k][l];
      y[l] = call.apply(v);
    }
    store_channels<T, V>(call.y + at, y);
  }
  for (std::int64_t i = first; i < n - vectors * V; i += stride) {
    const std::int64_t at = i < head ? i : i + vectors * V;
    A v[Inputs];
    ATROUS_UNROLL
    for (int k = 0; k < Inputs; ++k) v[k] = A(call.x[k][at]);
    call.y[at] = T(call.apply(v));
  }
}

/// Elements by which `p` lies behind a multiple of 16 bytes.
template <class T>
std::int64_t misalignment(const T* p) {
  return std::int64_t(reinterpret_cast<std::uintptr_t>(p) % 16 / sizeof(T));
}

/// y[i] = f(x[i]...) for one to three inputs. Spans that begin at different distances from a multiple of 16
/// bytes are read element by element.
template <class T, class F, class... Inputs>
void elementwise(Stream stream, const F& f, Span<T> y, const Inputs&... x) {
  const std::int64_t n = y.size();
  if (n == 0) return;
  constexpr int V = kVector<T>;
  const std::int64_t off = misalignment(y.data());
  const bool together = ((misalignment(x.data()) == off) && ...);
  std::int64_t head = V == 1 ? 0 : together ? (V - off) % V : n;
  if (head > n) head = n;
  const std::int64_t vectors = (n - head) / V, scalars = n - vectors * V;
  const std::int64_t work = vectors > scalars ? vectors : scalars;
  const std::int64_t blocks = (work + kElementwiseThreads - 1) / kElementwiseThreads;
  const unsigned grid = unsigned(blocks < kForEachBlocks ? blocks : kForEachBlocks);
  ATROUS_LAUNCH((elementwise_kernel<T, int(sizeof...(x)), F>), grid, kElementwiseThreads, 0, stream,
                (ElementwiseCall<T, int(sizeof...(x)), F>{{x.data()...}, y.data(), f}), head, vectors, n);
}

}  // namespace atrous::kernels::cuda
