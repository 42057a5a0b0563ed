#pragma once

#include <cstdint>

#include "atrous/kernels/cuda.cuh"
#include "atrous/kernels/for_each_cuda.cuh"

// How a thread holds neighbouring channels: V elements of T in memory (16 bytes, or a single element where
// the number of channels or their place does not allow more), V accumulators in registers.

namespace atrous::kernels::cuda {

/// Elements of T in 16 bytes; 1 for double, which only plain bodies serve.
template <class T>
inline constexpr int kVector = sizeof(T) == 8 ? 1 : int(16 / sizeof(T));

/// Whether rows of `channels` elements can be read 16 bytes at a time.
template <class T>
bool in_vectors(std::int64_t channels, const void* a, const void* b = nullptr, const void* c = nullptr) {
  const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
  return kVector<T> > 1 && channels % kVector<T> == 0 && aligned(a) && aligned(b) && aligned(c);
}

/// V channels as they lie in memory.
template <class T, int V>
struct Channels {
  static_assert(V * sizeof(T) == 16, "16 bytes");
  uint4 raw;
};
template <class T>
struct Channels<T, 1> {
  T raw;
};

template <class T, int V>
__device__ __forceinline__ Channels<T, V> no_channels() {
  if constexpr (V == 1)
    return {T(Accumulator<T>(0))};
  else
    return {make_uint4(0, 0, 0, 0)};
}

template <class T, int V>
__device__ __forceinline__ Channels<T, V> load_channels(const T* p) {
  if constexpr (V == 1)
    return {*p};
  else
    return {load16(p)};
}

template <class T, int V>
__device__ __forceinline__ void unpack(const Channels<T, V>& c, Accumulator<T> (&v)[V]) {
  if constexpr (V == 1) {
    v[0] = Accumulator<T>(c.raw);
  } else if constexpr (V == 4) {
    v[0] = __uint_as_float(c.raw.x), v[1] = __uint_as_float(c.raw.y);
    v[2] = __uint_as_float(c.raw.z), v[3] = __uint_as_float(c.raw.w);
  } else {
    const float2 a = unpack_bf16(c.raw.x), b = unpack_bf16(c.raw.y), e = unpack_bf16(c.raw.z),
                 f = unpack_bf16(c.raw.w);
    v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y, v[4] = e.x, v[5] = e.y, v[6] = f.x, v[7] = f.y;
  }
}

template <class T, int V>
__device__ __forceinline__ void load_channels(const T* p, Accumulator<T> (&v)[V]) {
  unpack<T, V>(load_channels<T, V>(p), v);
}

template <class T, int V>
__device__ __forceinline__ Channels<T, V> pack_channels(const Accumulator<T> (&v)[V]) {
  if constexpr (V == 1)
    return {T(v[0])};
  else if constexpr (V == 4)
    return {make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]),
                       __float_as_uint(v[3]))};
  else
    return {make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]),
                       pack_bf16(v[6], v[7]))};
}

template <class T, int V>
__device__ __forceinline__ void store_channels(T* p, const Accumulator<T> (&v)[V]) {
  if constexpr (V == 1)
    *p = T(v[0]);
  else
    store16(p, pack_channels<T, V>(v).raw);
}

/// A plain body with element(pixel, channel), as for_each() wants it.
template <class Body>
struct EachElement {
  Body body;
  std::int64_t channels;
  __device__ void operator()(std::int64_t i) const { body.element(i / channels, i % channels); }
};

/// body.element(pixel, channel) for every element of [pixels, channels], a thread each.
template <class Body>
void for_each_element(Stream stream, std::int64_t pixels, std::int64_t channels, const Body& body) {
  for_each(stream, pixels * channels, EachElement<Body>{body, channels});
}

}  // namespace atrous::kernels::cuda
