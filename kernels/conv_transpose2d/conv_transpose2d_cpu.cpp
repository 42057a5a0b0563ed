#include <algorithm>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv_transpose2d/conv_transpose2d.h"

namespace atrous::kernels::cpu {

template <class T>
void conv_transpose2d_forward(Stream stream, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
                              Span<const T> bias, Span<T> workspace, Span<T> y) {
  conv2d_backward_input<T>(stream, dims, x, weight, workspace, y);
  if (bias.empty()) return;
  const std::int64_t k = dims.in_channels;
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / std::max<std::int64_t>(k, 1));
  parallel_for(dims.in_pixels(), grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t pixel = begin; pixel < end; ++pixel) {
      T* out = y.data() + pixel * k;
      for (std::int64_t i = 0; i < k; ++i) out[i] += bias[i];
    }
  });
}
ATROUS_INSTANTIATE_F32_F64(conv_transpose2d_forward);

}  // namespace atrous::kernels::cpu
