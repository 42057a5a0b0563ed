#include <type_traits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/resize/resize.h"
#include "atrous/kernels/resize/resize_body.h"
#include "atrous/kernels/resize/resize_fast.h"

namespace atrous::kernels::cpu {
namespace {

// call(i) for i in 0..n-1, each of which touches about `cost` elements.
template <class Call>
void for_each_pixel(std::int64_t n, std::int64_t cost, const Call& call) {
  const std::int64_t grain = 1 + (1 << 14) / (cost + 1);
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const Call local = call;
    for (std::int64_t i = begin; i < end; ++i) local(i);
  });
}

// body(i, 0, channels) for i in 0..n-1.
template <class Body>
void for_each_pixel(std::int64_t n, std::int64_t cost, std::int64_t channels, const Body& body) {
  for_each_pixel(n, cost, [=](std::int64_t i) { body(i, 0, channels); });
}

std::int64_t out_pixels(const ResizeDims& d) { return d.batch * d.out_h * d.out_w; }

}  // namespace

template <class T>
void resize_bilinear_forward(Stream, const ResizeDims& dims, Span<const T> x, Span<T> y) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_resize_bilinear_forward(dims, x, y)) return;
  for_each_pixel(out_pixels(dims), dims.channels, dims.channels, ResizeBilinearForward<T>{dims, x, y});
}
ATROUS_INSTANTIATE(resize_bilinear_forward);

template <class T>
void resize_bilinear_backward(Stream, const ResizeDims& dims, Span<const T> dy, Span<T> dx) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_resize_bilinear_backward(dims, dy, dx)) return;
  const std::int64_t n = dims.batch * dims.in_h * dims.in_w;
  if (n > 0) for_each_pixel(n, dy.size() / n, dims.channels, ResizeBilinearBackward<T>{dims, dy, dx});
}
ATROUS_INSTANTIATE(resize_bilinear_backward);

template <class T>
void resize_argmax(Stream, const ResizeDims& dims, Span<const T> x, Span<std::uint8_t> labels8,
                   Span<std::int32_t> labels32) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_resize_argmax(dims, x, labels8, labels32)) return;
  if (labels8.empty())
    for_each_pixel(labels32.size(), dims.channels, ResizeArgmax<T, std::int32_t>{dims, x, labels32});
  else
    for_each_pixel(labels8.size(), dims.channels, ResizeArgmax<T, std::uint8_t>{dims, x, labels8});
}
ATROUS_INSTANTIATE(resize_argmax);

template <class T>
void resize_nearest(Stream, const ResizeDims& dims, Span<const T> x, Span<T> y) {
  for_each_pixel(out_pixels(dims), dims.channels, dims.channels, ResizeNearest<T>{dims, x, y});
}
template decltype(resize_nearest<std::uint8_t>) resize_nearest<std::uint8_t>;
template decltype(resize_nearest<std::int32_t>) resize_nearest<std::int32_t>;

template <class T>
void resize_antialias_forward(Stream, const ResizeDims& dims, Span<const T> x, Span<T> workspace, Span<T> y) {
  const std::int64_t rows = dims.batch * dims.in_h;
  const Span<T> narrow = workspace.part(0, rows * dims.out_w * dims.channels);
  for_each_pixel(rows * dims.out_w, dims.channels * (2 + 2 * dims.in_w / dims.out_w), dims.channels,
                 ResizeAntialiasAxis<T>{dims.in_w, dims.out_w, dims.channels, x, narrow});
  const std::int64_t inner = dims.out_w * dims.channels;
  for_each_pixel(dims.batch * dims.out_h, inner * (2 + 2 * dims.in_h / dims.out_h), inner,
                 ResizeAntialiasAxis<T>{dims.in_h, dims.out_h, inner, narrow, y});
}
ATROUS_INSTANTIATE(resize_antialias_forward);

}  // namespace atrous::kernels::cpu

namespace atrous::kernels {

std::int64_t resize_antialias_workspace_size(const ResizeDims& dims) {
  return dims.batch * dims.in_h * dims.out_w * dims.channels;
}

}  // namespace atrous::kernels
