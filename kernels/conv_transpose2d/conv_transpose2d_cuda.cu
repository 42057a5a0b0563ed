#include "atrous/kernels/conv2d/conv2d_cuda.h"
#include "atrous/kernels/conv_transpose2d/conv_transpose2d.h"

namespace atrous::kernels::cuda {

template <class T>
void conv_transpose2d_forward(Stream stream, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
                              Span<const T> bias, Span<T> workspace, Span<T> y) {
  conv2d_gather<T>(stream, Gather::backward_input, dims, x, weight, {.bias = bias}, workspace, y);
}
ATROUS_INSTANTIATE(conv_transpose2d_forward);

}  // namespace atrous::kernels::cuda
