#include <type_traits>

#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/conv2d/bias_gradient.cuh"
#include "atrous/kernels/conv2d/conv2d_cuda.h"
#include "atrous/kernels/conv2d/conv2d_plain.cuh"
#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "atrous/kernels/conv2d/pointwise.h"
#include "atrous/kernels/conv2d/weight_gemm.h"

// Which implementation serves which type and size: float and bf16 the tiled kernels, double, and sizes beyond
// their 32-bit arithmetic, the plain bodies; 1x1 convolutions of every type the matrix product (pointwise.h).

namespace atrous::kernels::cuda {

template <class T>
constexpr bool kTiled = !std::is_same_v<T, double>;

namespace {

// On the tiled kernels; T is not double.
template <class T>
void run_tiled(Stream stream, const GatherProblem<T>& problem, Span<T> workspace, Span<double> moments = {}) {
  if constexpr (std::is_same_v<T, float>)
    implicit_gemm(stream, {problem}, problem.dims.allow_tf32, workspace, moments);
  else
    implicit_gemm(stream, {problem}, as_accumulators(workspace), moments);
}

}  // namespace

template <class T>
void conv2d_gather(Stream stream, Gather direction, const Conv2dDims& dims, Span<const T> source,
                   Span<const T> weight, const Conv2dEpilogue<T>& epilogue, Span<T> workspace,
                   Span<T> destination) {
  if (destination.empty()) return;
  if (!epilogue.residual.empty()) {
    conv2d_gather<T>(stream, direction, dims, source, weight, {.bias = epilogue.bias}, workspace,
                     destination);
    return for_each(stream, destination.size(),
                    ResidualEnd<T>{epilogue.activation, epilogue.residual, destination});
  }
  if (takes_gemm(dims, epilogue))
    return gemm_with_epilogue<T>(stream, pointwise_product(direction, dims), source, weight,
                                 {epilogue.bias, epilogue.activation == Activation::relu}, workspace,
                                 destination);
  if constexpr (kTiled<T>)
    if (takes_implicit_gemm(direction, dims) && !plain_in_exact<T>(dims))
      return run_tiled<T>(stream, {direction, dims, source, weight, epilogue, destination}, workspace);
  if (direction == Gather::forward)
    plain_forward(stream, dims, source, weight, epilogue, destination);
  else
    plain_backward_input(stream, dims, source, weight, epilogue.bias, destination);
}
ATROUS_INSTANTIATE(conv2d_gather);

template <class T>
void conv2d_pack_weight(Stream stream, const Conv2dDims&, Span<const T> weight, Span<T> packed) {
  ATROUS_CUDA_CHECK("conv2d_pack_weight",
                    cudaMemcpyAsync(packed.data(), weight.data(), std::size_t(weight.size()) * sizeof(T),
                                    cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream.handle)));
}
ATROUS_INSTANTIATE(conv2d_pack_weight);

template <class T>
void conv2d_forward(Stream stream, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
                    const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y) {
  conv2d_gather(stream, Gather::forward, dims, x, weight, epilogue, workspace, y);
}
ATROUS_INSTANTIATE(conv2d_forward);

template <class T>
void conv2d_forward_statistics(Stream stream, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
                               const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<double> sums,
                               Span<T> y, Span<double> mean, Span<double> var) {
  if (y.empty()) return;
  if constexpr (kTiled<T>)
    if (statistics_in_tiles(dims) && takes_implicit_gemm(Gather::forward, dims) && !plain_in_exact<T>(dims))
      return run_tiled<T>(stream, {Gather::forward, dims, x, weight, epilogue, y, mean, var}, workspace,
                          sums);
  conv2d_gather(stream, Gather::forward, dims, x, weight, epilogue, workspace, y);
  batch_norm_statistics<T>(stream, {dims.out_pixels(), dims.out_channels}, y, sums, mean, var);
}
ATROUS_INSTANTIATE(conv2d_forward_statistics);

template <class T>
void conv2d_forward_packed(Stream stream, const Conv2dDims& dims, Span<const T> x, Span<const T> packed,
                           const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y) {
  conv2d_gather(stream, Gather::forward, dims, x, packed, epilogue, workspace, y);
}
ATROUS_INSTANTIATE(conv2d_forward_packed);

template <class T>
void conv2d_backward_input(Stream stream, const Conv2dDims& dims, Span<const T> dy, Span<const T> weight,
                           Span<T> workspace, Span<T> dx) {
  conv2d_gather<T>(stream, Gather::backward_input, dims, dy, weight, {}, workspace, dx);
}
ATROUS_INSTANTIATE(conv2d_backward_input);

template <class T>
void conv2d_backward_weight(Stream stream, const Conv2dDims& dims, Span<const T> x, Span<const T> dy,
                            Span<T> workspace, Span<T> dweight) {
  if (is_pointwise(dims)) return gemm<T>(stream, pointwise_weight_product(dims), x, dy, workspace, dweight);
  if constexpr (kTiled<T>)
    if (takes_weight_gemm(dims)) {
      if constexpr (std::is_same_v<T, float>)
        weight_gemm(stream, {{dims, x, dy, dweight}}, dims.allow_tf32, workspace);
      else
        weight_gemm(stream, {{dims, x, dy, dweight}}, as_accumulators(workspace));
      return;
    }
  plain_backward_weight(stream, dims, x, dy, dweight);
}
ATROUS_INSTANTIATE(conv2d_backward_weight);

template <class T>
void conv2d_backward_bias(Stream stream, const Conv2dDims& dims, Span<const T> dy, Span<T> workspace,
                          Span<T> dbias) {
  const PixelChunks chunks(dims.out_pixels());
  const Span<Accumulator<T>> partial = as_accumulators(workspace);
  bias_chunks(stream, chunks, dims.out_channels, dy, partial);
  for_each(stream, dims.out_channels, Conv2dBiasTotal<T>{chunks.count, dims.out_channels, partial, dbias});
}
ATROUS_INSTANTIATE(conv2d_backward_bias);

}  // namespace atrous::kernels::cuda
