#include "atrous/kernels/elementwise/scale_channels.h"

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/elementwise/scale_channels_body.h"

namespace atrous::kernels::cuda {
namespace {

// Vector i of x: V channels of one pixel.
template <class T, int V>
struct ScaleVector {
  ScaleChannelsDims dims;
  const T *x, *factors;
  T* y;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t row = dims.channels / V, pixel = i / row, c = (i - pixel * row) * V;
    Accumulator<T> v[V], f[V];
    load_channels<T, V>(x + i * V, v);
    load_channels<T, V>(factors + pixel / dims.pixels * dims.channels + c, f);
    ATROUS_UNROLL
    for (int k = 0; k < V; ++k) v[k] = f[k] * v[k];
    store_channels<T, V>(y + i * V, v);
  }
};

}  // namespace

template <class T>
void scale_channels_forward(Stream stream, const ScaleChannelsDims& dims, Span<const T> x,
                            Span<const T> factors, Span<T> y) {
  constexpr int V = kVector<T>;
  if (in_vectors<T>(dims.channels, x.data(), factors.data(), y.data()))
    for_each(stream, y.size() / V, ScaleVector<T, V>{dims, x.data(), factors.data(), y.data()});
  else
    for_each(stream, y.size(), ScaleVector<T, 1>{dims, x.data(), factors.data(), y.data()});
}
ATROUS_INSTANTIATE(scale_channels_forward);

// A thread owns a channel of an image; neighbours read neighbouring channels of each pixel.
template <class T>
void scale_channels_backward_factors(Stream stream, const ScaleChannelsDims& dims, Span<const T> x,
                                     Span<const T> dy, Span<T> dfactors) {
  for_each(stream, dfactors.size(), ScaleChannelsFactors<T, 1>{dims, x, dy, dfactors});
}
ATROUS_INSTANTIATE(scale_channels_backward_factors);

}  // namespace atrous::kernels::cuda
