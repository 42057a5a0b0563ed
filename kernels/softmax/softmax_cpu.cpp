#include "atrous/kernels/softmax/softmax.h"

#include "atrous/core/parallel.h"
#include "atrous/kernels/softmax/softmax_body.h"

namespace atrous::kernels::cpu {
namespace {

// body(p) for every pixel.
template <class Body>
void for_each_pixel(const SoftmaxDims& dims, const Body& body) {
  parallel_for(dims.pixels, 1 + (1 << 12) / dims.classes, [&](std::int64_t begin, std::int64_t end) {
    const Body local = body;
    for (std::int64_t p = begin; p < end; ++p) local(p);
  });
}

}  // namespace

template <class T>
void softmax_forward(Stream, const SoftmaxDims& dims, Span<const T> x, Span<T> y) {
  for_each_pixel(dims, SoftmaxForward<T>{dims.classes, x, y});
}
ATROUS_INSTANTIATE(softmax_forward);

template <class T>
void softmax_backward(Stream, const SoftmaxDims& dims, Span<const T> y, Span<const T> dy, Span<T> dx) {
  for_each_pixel(dims, SoftmaxBackward<T>{dims.classes, y, dy, dx});
}
ATROUS_INSTANTIATE(softmax_backward);

template <class T>
void log_softmax_forward(Stream, const SoftmaxDims& dims, Span<const T> x, Span<T> y) {
  for_each_pixel(dims, LogSoftmaxForward<T>{dims.classes, x, y});
}
ATROUS_INSTANTIATE(log_softmax_forward);

template <class T>
void log_softmax_backward(Stream, const SoftmaxDims& dims, Span<const T> y, Span<const T> dy, Span<T> dx) {
  for_each_pixel(dims, LogSoftmaxBackward<T>{dims.classes, y, dy, dx});
}
ATROUS_INSTANTIATE(log_softmax_backward);

template <class T>
void argmax_channels(Stream, const SoftmaxDims& dims, Span<const T> x, Span<std::uint8_t> labels8,
                     Span<std::int32_t> labels32) {
  if (labels8.empty() && labels32.empty()) return;
  if (labels8.empty())
    for_each_pixel(dims, ArgmaxChannels<T, std::int32_t>{dims.classes, x, labels32});
  else
    for_each_pixel(dims, ArgmaxChannels<T, std::uint8_t>{dims.classes, x, labels8});
}
ATROUS_INSTANTIATE(argmax_channels);

}  // namespace atrous::kernels::cpu
