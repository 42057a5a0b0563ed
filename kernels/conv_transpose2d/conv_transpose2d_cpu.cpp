#include <type_traits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/conv2d/conv2d_cpu.h"
#include "atrous/kernels/conv_transpose2d/conv_transpose2d.h"

namespace atrous::kernels::cpu {

template <class T>
void conv_transpose2d_forward(Stream, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
                              Span<const T> bias, Span<T> workspace, Span<T> y) {
  if constexpr (std::is_same_v<T, float>) {
    conv2d_gather(Gather::backward_input, dims, x, weight, {.bias = bias}, workspace, y);
  } else {
    const std::int64_t k = dims.in_channels;
    const std::int64_t grain = grain_of(dims.taps() * dims.out_channels * k);
    parallel_for(dims.in_pixels(), grain, [=](std::int64_t begin, std::int64_t end) {
      const Conv2dBackwardInput<T> body{dims, x, weight, bias, y};
      for (std::int64_t pixel = begin; pixel < end; ++pixel) body(pixel, 0, k);
    });
  }
}
ATROUS_INSTANTIATE(conv_transpose2d_forward);

}  // namespace atrous::kernels::cpu
