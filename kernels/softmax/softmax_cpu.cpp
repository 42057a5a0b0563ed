#include "atrous/kernels/softmax/softmax.h"

#include <type_traits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/softmax/softmax_body.h"
#include "atrous/kernels/softmax/softmax_simd.h"

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

// Floats of not too many classes go through the vector code. Its results for a pixel do not depend on where a
// part begins: lanes do not mix.
bool vectorised(const SoftmaxDims& dims) { return dims.classes <= simd::kMostClasses; }

void vector_softmax(const SoftmaxDims& dims, bool logarithm, const float* x, float* y) {
  parallel_for(dims.pixels, 1 + (1 << 12) / dims.classes, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t at = begin * dims.classes;
    simd::softmax(end - begin, dims.classes, logarithm, x + at, y + at);
  });
}

}  // namespace

template <class T>
void softmax_forward(Stream, const SoftmaxDims& dims, Span<const T> x, Span<T> y) {
  if constexpr (std::is_same_v<T, float>)
    if (vectorised(dims)) return vector_softmax(dims, false, x.data(), y.data());
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
  if constexpr (std::is_same_v<T, float>)
    if (vectorised(dims)) return vector_softmax(dims, true, x.data(), y.data());
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
  if constexpr (std::is_same_v<T, float>)
    if (vectorised(dims))
      return parallel_for(dims.pixels, 1 + (1 << 14) / dims.classes,
                          [&](std::int64_t begin, std::int64_t end) {
                            simd::argmax(end - begin, dims.classes, x.data() + begin * dims.classes,
                                         labels8.empty() ? nullptr : labels8.data() + begin,
                                         labels32.empty() ? nullptr : labels32.data() + begin);
                          });
  if (labels8.empty())
    for_each_pixel(dims, ArgmaxChannels<T, std::int32_t>{dims.classes, x, labels32});
  else
    for_each_pixel(dims, ArgmaxChannels<T, std::uint8_t>{dims.classes, x, labels8});
}
ATROUS_INSTANTIATE(argmax_channels);

}  // namespace atrous::kernels::cpu
