#include "atrous/kernels/elementwise/scale_channels.h"

#include "atrous/kernels/elementwise/scale_channels_body.h"
#include "atrous/kernels/for_each.h"

namespace atrous::kernels::cpu {

template <class T>
void scale_channels_forward(Stream, const ScaleChannelsDims& dims, Span<const T> x, Span<const T> factors,
                            Span<T> y) {
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
