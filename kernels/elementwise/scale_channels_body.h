#pragma once

#include "atrous/core/dtype.h"
#include "atrous/core/span.h"
#include "atrous/kernels/elementwise/scale_channels.h"

namespace atrous::kernels {

/// The channels of one pixel.
template <class T>
struct ScaleChannelsPixel {
  ScaleChannelsDims dims;
  Span<const T> x, factors;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t pixel) const {
    using A = Accumulator<T>;
    const T* from = x.data() + pixel * dims.channels;
    const T* f = factors.data() + pixel / dims.pixels * dims.channels;
    T* to = y.data() + pixel * dims.channels;
    for (std::int64_t c = 0; c < dims.channels; ++c) to[c] = T(A(f[c]) * A(from[c]));
  }
};

/// Gradients of V neighbouring factors: block i of the ceil(channels / V) of each image.
template <class T, int V>
struct ScaleChannelsFactors {
  ScaleChannelsDims dims;
  Span<const T> x, dy;
  Span<T> dfactors;
  ATROUS_HD void operator()(std::int64_t i) const {
    using A = Accumulator<T>;
    const std::int64_t blocks = (dims.channels + V - 1) / V, n = i / blocks, first = (i - n * blocks) * V;
    const int count = dims.channels - first < V ? int(dims.channels - first) : V;
    double sums[V] = {};
    for (std::int64_t p = 0; p < dims.pixels; ++p) {
      const std::int64_t at = (n * dims.pixels + p) * dims.channels + first;
      for (int k = 0; k < count; ++k) sums[k] += double(A(x[at + k])) * double(A(dy[at + k]));
    }
    for (int k = 0; k < count; ++k) dfactors[n * dims.channels + first + k] = T(A(sums[k]));
  }
};

}  // namespace atrous::kernels
