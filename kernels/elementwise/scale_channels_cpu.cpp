#include "atrous/kernels/elementwise/scale_channels.h"

#include <algorithm>
#include <type_traits>

#include "atrous/kernels/elementwise/elementwise_simd.h"
#include "atrous/kernels/elementwise/scale_channels_body.h"
#include "atrous/kernels/for_each.h"
#include "atrous/kernels/streaming_fence.h"

namespace atrous::kernels::cpu {

template <class T>
void scale_channels_forward(Stream, const ScaleChannelsDims& dims, Span<const T> x, Span<const T> factors,
                            Span<T> y) {
  if constexpr (std::is_same_v<T, float>) {
    const bool stream = dims.channels % 16 == 0 && leaves_cache(y);
    parallel_for(dims.batch * dims.pixels, grain_of(dims.channels),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t pixel = begin; pixel < end;) {
                     const std::int64_t n = pixel / dims.pixels, last = std::min(end, (n + 1) * dims.pixels),
                                        at = pixel * dims.channels;
                     simd::scale_channels_forward(x.data() + at, factors.data() + n * dims.channels,
                                                  last - pixel, dims.channels, stream, y.data() + at);
                     pixel = last;
                   }
                   if (stream) streaming_fence();
                 });
  } else {
    for_each_row(dims.batch * dims.pixels, dims.channels, ScaleChannelsPixel<T>{dims, x, factors, y});
  }
}
ATROUS_INSTANTIATE(scale_channels_forward);

template <class T>
void scale_channels_backward_factors(Stream, const ScaleChannelsDims& dims, Span<const T> x, Span<const T> dy,
                                     Span<T> dfactors) {
  constexpr int V = 16;
  const std::int64_t blocks = (dims.channels + V - 1) / V;
  if constexpr (std::is_same_v<T, float>)
    // Neighbouring blocks of one image go in one call: whole lines of as many channels as the thread has.
    parallel_for(dims.batch * blocks, grain_of(dims.pixels * V), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t at = begin; at < end;) {
        const std::int64_t n = at / blocks, last = std::min(end - n * blocks, blocks),
                           c = (at - n * blocks) * V, image = n * dims.pixels * dims.channels + c;
        simd::scale_channels_backward_factors(x.data() + image, dy.data() + image, dims.pixels, dims.channels,
                                              dfactors.data() + n * dims.channels + c,
                                              std::min(last * V, dims.channels) - c);
        at = n * blocks + last;
      }
    });
  else
    for_each_row(dims.batch * blocks, dims.pixels * V, ScaleChannelsFactors<T, V>{dims, x, dy, dfactors});
}
ATROUS_INSTANTIATE(scale_channels_backward_factors);

}  // namespace atrous::kernels::cpu
