#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/conv2d_body.h"

namespace atrous::kernels {

template <class T>
std::int64_t conv2d_forward_workspace_size(const Conv2dDims&) {
  return 0;
}
template <class T>
std::int64_t conv2d_backward_input_workspace_size(const Conv2dDims&) {
  return 0;
}
template <class T>
std::int64_t conv2d_backward_weight_workspace_size(const Conv2dDims&) {
  return 0;
}
template <class T>
std::int64_t conv2d_backward_bias_workspace_size(const Conv2dDims& dims) {
  return PixelChunks(dims.out_pixels()).count * dims.out_channels;
}
ATROUS_INSTANTIATE(conv2d_forward_workspace_size);
ATROUS_INSTANTIATE(conv2d_backward_input_workspace_size);
ATROUS_INSTANTIATE(conv2d_backward_weight_workspace_size);
ATROUS_INSTANTIATE(conv2d_backward_bias_workspace_size);

namespace cpu {
namespace {

// body(row, 0, width) for every row.
template <class Body>
void for_each_row(std::int64_t rows, std::int64_t width, const Body& body) {
  parallel_for(rows, [&](std::int64_t begin, std::int64_t end) {
    const Body local = body;  // its spans in registers: no store can be taken to change them
    for (std::int64_t row = begin; row < end; ++row) local(row, 0, width);
  });
}

}  // namespace

template <class T>
void conv2d_forward(Stream, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
                    const Conv2dEpilogue<T>& epilogue, Span<T>, Span<T> y) {
  for_each_row(dims.out_pixels(), dims.out_channels, Conv2dForward<T>{dims, x, weight, epilogue, y});
}
ATROUS_INSTANTIATE(conv2d_forward);

template <class T>
void conv2d_backward_input(Stream, const Conv2dDims& dims, Span<const T> dy, Span<const T> weight, Span<T>,
                           Span<T> dx) {
  for_each_row(dims.in_pixels(), dims.in_channels, Conv2dBackwardInput<T>{dims, dy, weight, dx});
}
ATROUS_INSTANTIATE(conv2d_backward_input);

template <class T>
void conv2d_backward_weight(Stream, const Conv2dDims& dims, Span<const T> x, Span<const T> dy, Span<T>,
                            Span<T> dweight) {
  for_each_row(dims.taps() * dims.in_channels, dims.out_channels,
               Conv2dBackwardWeight<T>{dims, x, dy, dweight});
}
ATROUS_INSTANTIATE(conv2d_backward_weight);

template <class T>
void conv2d_backward_bias(Stream, const Conv2dDims& dims, Span<const T> dy, Span<T> workspace,
                          Span<T> dbias) {
  const PixelChunks chunks(dims.out_pixels());
  for_each_row(chunks.count, dims.out_channels,
               Conv2dBackwardBias<T>{chunks, dims.out_channels, dy, workspace});
  for (T& sum : dbias) sum = T(0);
  for (std::int64_t chunk = 0; chunk < chunks.count; ++chunk)
    for (std::int64_t k = 0; k < dims.out_channels; ++k) dbias[k] += workspace[chunk * dims.out_channels + k];
}
ATROUS_INSTANTIATE(conv2d_backward_bias);

}  // namespace cpu
}  // namespace atrous::kernels
