#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_rows.cuh"

// What depthwise_instructions.cmake counts: the vector forms of the row-window kernel.

namespace atrous::kernels::cuda {

#define ATROUS_COUNTED(T, V, turned, activated)                                                              \
  template __global__ void depthwise_rows_kernel<T, V, turned, activated>(DepthwiseRows, const T*, const T*, \
                                                                          const T*, T*)
ATROUS_COUNTED(bf16, 8, false, false);
ATROUS_COUNTED(bf16, 8, false, true);
ATROUS_COUNTED(bf16, 8, true, false);
ATROUS_COUNTED(float, 4, false, false);
ATROUS_COUNTED(float, 4, false, true);
ATROUS_COUNTED(float, 4, true, false);

}  // namespace atrous::kernels::cuda
