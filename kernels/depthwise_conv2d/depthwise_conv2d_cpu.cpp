#include <algorithm>
#include <type_traits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_body.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_fast.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_strips.h"

namespace atrous::kernels {
namespace {

// Partial sums of the weight's gradient: as many as rows of dy, at most this many.
constexpr std::int64_t kParts = 16;
std::int64_t parts_of(const DepthwiseConv2dDims& d) { return std::min(d.batch * d.out_h, kParts); }

template <class T>
bool is_fast(const DepthwiseConv2dDims& d) {
  return std::is_same_v<T, float> && fast::takes(d);
}

}  // namespace

template <class T>
std::int64_t depthwise_conv2d_forward_workspace_size(const DepthwiseConv2dDims& d, Device device) {
  return device.is_cpu() && is_fast<T>(d) ? fast::packed_size(d) : 0;
}
template <class T>
std::int64_t depthwise_conv2d_backward_input_workspace_size(const DepthwiseConv2dDims& d, Device device) {
  return device.is_cpu() && is_fast<T>(d) ? fast::packed_size(d) : 0;
}
template <class T>
std::int64_t depthwise_conv2d_backward_weight_workspace_size(const DepthwiseConv2dDims& d, Device device) {
  constexpr std::int64_t kSum = sizeof(Accumulator<T>) / sizeof(T);
  if (!device.is_cpu()) return kSum * depthwise_weight_partials(d);
  if (is_fast<T>(d)) return fast::partial_size(d);
  return kSum * parts_of(d) * (d.taps() + 1) * d.out_channels();  // and a sum of one row for each part
}
ATROUS_INSTANTIATE(depthwise_conv2d_forward_workspace_size);
ATROUS_INSTANTIATE(depthwise_conv2d_backward_input_workspace_size);
ATROUS_INSTANTIATE(depthwise_conv2d_backward_weight_workspace_size);

namespace cpu {
namespace {

// body(pixel, 0, channels) for every pixel.
template <class Body>
void for_each_pixel(std::int64_t pixels, std::int64_t channels, const Body& body) {
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 12) / std::max<std::int64_t>(channels, 1));
  parallel_for(pixels, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i, 0, channels);
  });
}

}  // namespace

template <class T>
void depthwise_conv2d_forward(Stream, const DepthwiseConv2dDims& dims, Span<const T> x, Span<const T> weight,
                              const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::takes(dims)) return fast::depthwise_forward(dims, x, weight, epilogue, workspace, y);
  for_each_pixel(dims.out_pixels(), dims.out_channels(), DepthwiseForward<T>{dims, x, weight, epilogue, y});
}
ATROUS_INSTANTIATE(depthwise_conv2d_forward);

template <class T>
void depthwise_conv2d_backward_input(Stream, const DepthwiseConv2dDims& dims, Span<const T> dy,
                                     Span<const T> weight, Span<T> workspace, Span<T> dx) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::takes(dims)) return fast::depthwise_backward_input(dims, dy, weight, workspace, dx);
  for_each_pixel(dims.in_pixels(), dims.channels, DepthwiseBackwardInput<T>{dims, dy, weight, dx});
}
ATROUS_INSTANTIATE(depthwise_conv2d_backward_input);

template <class T>
void depthwise_conv2d_backward_weight(Stream, const DepthwiseConv2dDims& dims, Span<const T> x,
                                      Span<const T> dy, Span<T> workspace, Span<T> dweight) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::takes(dims)) return fast::depthwise_backward_weight(dims, x, dy, workspace, dweight);
  const std::int64_t k = dims.out_channels(), taps = dims.taps(), size = taps * k;
  const std::int64_t parts = parts_of(dims), rows = dims.batch * dims.out_h;
  const DepthwiseBackwardWeight<T> body{dims, x, dy};
  using Sum = Accumulator<T>;
  Sum* sums = reinterpret_cast<Sum*>(workspace.data());
  Sum* row_sums = sums + parts * size;
  const std::int64_t grain = grain_of(rows * dims.out_w * size / std::max<std::int64_t>(parts, 1));
  parallel_for(parts, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p)
      for (std::int64_t t = 0; t < taps; ++t)
        body(t / dims.window_w, t % dims.window_w, rows * p / parts, rows * (p + 1) / parts, 0, k,
             row_sums + p * k, sums + p * size + t * k);
  });
  for (std::int64_t i = 0; i < size; ++i) {
    Sum sum = 0;
    for (std::int64_t p = 0; p < parts; ++p) sum += sums[p * size + i];
    dweight[i] = T(sum);
  }
}
ATROUS_INSTANTIATE(depthwise_conv2d_backward_weight);

}  // namespace cpu
}  // namespace atrous::kernels
