#include "atrous/kernels/elementwise/scale_channels.h"

#include <type_traits>

#include "atrous/kernels/elementwise/elementwise_simd.h"
#include "atrous/kernels/elementwise/scale_channels_body.h"
#include "atrous/kernels/for_each.h"

namespace atrous::kernels::cpu {

template <class T>
void scale_channels_forward(Stream, const ScaleChannelsDims& dims, Span<const T> x, Span<const T> factors,
                            Span<T> y) {
  if constexpr (std::is_same_v<T, float>)
    for_each_row(dims.batch * dims.pixels, dims.channels, [=](std::int64_t pixel) {
      const std::int64_t at = pixel * dims.channels, of = pixel / dims.pixels * dims.channels;
      simd::mul_forward(factors.data() + of, x.data() + at, y.data() + at, dims.channels);
    });
  else
    for_each_row(dims.batch * dims.pixels, dims.channels, ScaleChannelsPixel<T>{dims, x, factors, y});
}
ATROUS_INSTANTIATE(scale_channels_forward);

template <class T>
void scale_channels_backward_factors(Stream, const ScaleChannelsDims& dims, Span<const T> x, Span<const T> dy,
                                     Span<T> dfactors) {
  constexpr int V = 16;
  for_each_row(dims.batch * ((dims.channels + V - 1) / V), dims.pixels * V,
               ScaleChannelsFactors<T, V>{dims, x, dy, dfactors});
}
ATROUS_INSTANTIATE(scale_channels_backward_factors);

}  // namespace atrous::kernels::cpu
