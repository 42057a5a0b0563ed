#pragma once

#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/direct.h"
#include "atrous/kernels/gemm/gemm.h"

// A 1x1 convolution with stride 1 and no padding is one product of matrices, rows of pixels by the weight. On
// CUDA it and its gradients go to gemm.h, which adds a bias and takes the positive part before it writes; a
// relu6 or hard swish would need another pass over y, which costs more than cuBLAS wins over implicit_gemm.h
// (129x129x256 at batch 8: 32 us of memory more against 22 us of multiplication in all), so it stays with the
// latter.

namespace atrous::kernels {

constexpr bool is_pointwise(const Conv2dDims& d) {
  return d.taps() == 1 && d.stride == PerAxis(1) && d.in_h == d.out_h && d.in_w == d.out_w &&
         d.padding.top == 0 && d.padding.left == 0;
}

/// Whether gemm_with_epilogue() does what is left to do to the outputs. Exact convolutions keep away from
/// cuBLAS: its choice of a kernel, and with it the order of a sum, goes by the number of pixels.
template <class T>
bool takes_gemm(const Conv2dDims& d, const Conv2dEpilogue<T>& epilogue) {
  return is_pointwise(d) && !d.exact &&
         (epilogue.activation == Activation::none || epilogue.activation == Activation::relu);
}

/// Whether an exact convolution of this type keeps away from tensor cores too.
template <class T>
bool plain_in_exact(const Conv2dDims& d) {
  return d.exact && sizeof(T) == 2;
}

/// Whether the statistics of a 1x1 convolution are worth implicit_gemm.h, which takes them from its tiles: of
/// few channels the product costs less than another pass over y, of many cuBLAS is faster by more than that.
/// For bf16 the pass is 2 bytes an output, 0.47 ps at 4.3 TB/s; the product 2 flops a channel, 1.8 fs at the
/// difference of 460 and 790 TFLOP/s: equal at 260 channels (TF32: twice of both).
constexpr bool statistics_in_tiles(const Conv2dDims& d) { return !is_pointwise(d) || d.in_channels <= 256; }

/// y = x * weight, or dx = dy * weight transposed.
constexpr GemmDims pointwise_product(Gather direction, const Conv2dDims& d) {
  const bool forward = direction == Gather::forward;
  return {.rows = d.in_pixels(),
          .columns = forward ? d.out_channels : d.in_channels,
          .depth = forward ? d.in_channels : d.out_channels,
          .transpose_b = !forward,
          .allow_tf32 = d.allow_tf32};
}

/// dweight = x transposed * dy.
constexpr GemmDims pointwise_weight_product(const Conv2dDims& d) {
  return {.rows = d.in_channels,
          .columns = d.out_channels,
          .depth = d.in_pixels(),
          .transpose_a = true,
          .allow_tf32 = d.allow_tf32};
}

}  // namespace atrous::kernels
