#include <algorithm>

#include "atrous/core/parallel.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_body.h"

namespace atrous::kernels {
namespace {

// Partial sums of the gradients of the parameters: as many as rows of dy, at most this many.
constexpr std::int64_t kParts = 16;
std::int64_t parts_of(const DepthwiseConv2dDims& d) { return std::min(d.batch * d.out_h, kParts); }

// Pixels that are worth waking a thread for.
std::int64_t pixel_grain(std::int64_t channels) {
  return std::max<std::int64_t>(1, (1 << 12) / std::max<std::int64_t>(channels, 1));
}

// sum[i] = parts[0][i] + parts[1][i] + ..., each of n elements
template <class T>
void add_parts(const T* parts, std::int64_t count, std::int64_t n, T* sum) {
  for (std::int64_t i = 0; i < n; ++i) sum[i] = T(0);
  for (std::int64_t p = 0; p < count; ++p)
    for (std::int64_t i = 0; i < n; ++i) sum[i] += parts[p * n + i];
}

}  // namespace

std::int64_t depthwise_conv2d_forward_workspace_size(const DepthwiseConv2dDims&) { return 0; }
std::int64_t depthwise_conv2d_backward_input_workspace_size(const DepthwiseConv2dDims&) { return 0; }
std::int64_t depthwise_conv2d_backward_weight_workspace_size(const DepthwiseConv2dDims& d) {
  return parts_of(d) * (d.taps() + 1) * d.out_channels();
}
std::int64_t depthwise_conv2d_backward_bias_workspace_size(const DepthwiseConv2dDims& d) {
  return parts_of(d) * 2 * d.out_channels();
}

namespace cpu {

template <class T>
void depthwise_conv2d_forward(Stream, const DepthwiseConv2dDims& dims, Span<const T> x, Span<const T> weight,
                              Span<const T> bias, Span<T> y, Span<T>) {
  const DepthwiseForward<T> body{dims, x, weight, bias, y};
  const std::int64_t channels = dims.out_channels();
  parallel_for(dims.batch * dims.out_h * dims.out_w, pixel_grain(channels),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) body(i, 0, channels);
               });
}
ATROUS_INSTANTIATE(depthwise_conv2d_forward);

template <class T>
void depthwise_conv2d_backward_input(Stream, const DepthwiseConv2dDims& dims, Span<const T> dy,
                                     Span<const T> weight, Span<T> dx, Span<T>) {
  const DepthwiseBackwardInput<T> body{dims, dy, weight, dx};
  parallel_for(dims.batch * dims.in_h * dims.in_w, pixel_grain(dims.channels),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) body(i, 0, dims.channels);
               });
}
ATROUS_INSTANTIATE(depthwise_conv2d_backward_input);

template <class T>
void depthwise_conv2d_backward_weight(Stream, const DepthwiseConv2dDims& dims, Span<const T> x,
                                      Span<const T> dy, Span<T> dweight, Span<T> workspace) {
  const std::int64_t k = dims.out_channels(), taps = dims.taps();
  const std::int64_t parts = parts_of(dims), rows = dims.batch * dims.out_h;
  const DepthwiseBackwardWeight<T> body{dims, x, dy};
  T* sums = workspace.data();
  T* scratch = sums + parts * taps * k;
  parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p)
      for (std::int64_t t = 0; t < taps; ++t)
        body(t / dims.taps_w, t % dims.taps_w, rows * p / parts, rows * (p + 1) / parts, 0, k,
             scratch + p * k, sums + (p * taps + t) * k);
  });
  add_parts(sums, parts, taps * k, dweight.data());
}
ATROUS_INSTANTIATE(depthwise_conv2d_backward_weight);

template <class T>
void depthwise_conv2d_backward_bias(Stream, const DepthwiseConv2dDims& dims, Span<const T> dy, Span<T> dbias,
                                    Span<T> workspace) {
  const std::int64_t k = dims.out_channels(), parts = parts_of(dims), rows = dims.batch * dims.out_h;
  T* sums = workspace.data();
  T* scratch = sums + parts * k;
  parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      T* sum = sums + p * k;
      T* row_sum = scratch + p * k;
      std::fill(sum, sum + k, T(0));
      for (std::int64_t row = rows * p / parts; row < rows * (p + 1) / parts; ++row) {
        std::fill(row_sum, row_sum + k, T(0));
        for (std::int64_t ow = 0; ow < dims.out_w; ++ow)
          for (std::int64_t c = 0; c < k; ++c) row_sum[c] += dy[(row * dims.out_w + ow) * k + c];
        for (std::int64_t c = 0; c < k; ++c) sum[c] += row_sum[c];
      }
    }
  });
  add_parts(sums, parts, k, dbias.data());
}
ATROUS_INSTANTIATE(depthwise_conv2d_backward_bias);

}  // namespace cpu
}  // namespace atrous::kernels
