#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/elementwise/elementwise_body.h"
#include "atrous/kernels/for_each_cuda.cuh"

namespace atrous::kernels::cuda {

template <class T>
void relu_forward(Stream stream, Span<const T> x, Span<T> y) {
  for_each(stream, y.size(), ReluForward<T>{x, y});
}
ATROUS_INSTANTIATE_F32_F64(relu_forward);

}  // namespace atrous::kernels::cuda
