#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_body.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_rows.cuh"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_taps.cuh"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_weight.cuh"

// Which kernel serves which call: f32 and bf16 with multiplier 1 take the tuned ones, in vectors of 16 bytes
// where the channels allow it, channel by channel else; doubles and multipliers take the plain bodies.

namespace atrous::kernels::cuda {
namespace {

constexpr std::int64_t kLongSide = 1 << 28;  // beyond it the tuned kernels' 32-bit places could overflow

template <class T>
bool is_tuned(const DepthwiseConv2dDims& d) {
  const auto fits = [&](std::int64_t side) { return side * (d.channels + 1) < kLongSide; };
  return sizeof(T) < 8 && d.multiplier == 1 && fits(d.in_w) && fits(d.out_w) && fits(d.in_h) &&
         fits(d.out_h) && fits(d.rate.h * d.window_h) && fits(d.rate.w * d.window_w) && fits(d.padding.top) &&
         fits(d.padding.left) && d.stride.h < kLongSide && d.stride.w < kLongSide;
}
bool is_3x3(const DepthwiseConv2dDims& d) { return d.window_h == 3 && d.window_w == 3; }

// Rows that a thread walks: two input rows more than it writes, so not too few, and enough threads for the
// device, so not too many.
int strip_of(std::int64_t batch, std::int64_t rows, std::int64_t row_vectors) {
  constexpr std::int64_t kThreads = 1 << 17;
  const std::int64_t longest = batch * rows * row_vectors / kThreads;
  return int(longest < 8 ? 8 : longest > 32 ? 32 : longest);
}

// call(width) with the vector's width as a type: std::integral_constant.
template <class T, class Call>
void by_width(bool vectors, const Call& call) {
  if (vectors)
    call(std::integral_constant<int, kVector<T>>());
  else
    call(std::integral_constant<int, 1>());
}

}  // namespace

template <class T>
void depthwise_conv2d_forward(Stream stream, const DepthwiseConv2dDims& dims, Span<const T> x,
                              Span<const T> weight, const Conv2dEpilogue<T>& epilogue, Span<T>, Span<T> y) {
  if (y.empty()) return;
  if constexpr (sizeof(T) < 8)
    if (is_tuned<T>(dims)) {
      const bool vectors = in_vectors<T>(dims.channels, x.data(), weight.data(), y.data()) &&
                           in_vectors<T>(dims.channels, epilogue.bias.data());
      return by_width<T>(vectors, [&](auto width) {
        constexpr int V = width();
        if (is_3x3(dims) && dims.stride == PerAxis(1)) {
          const DepthwiseRows rows{
              int(dims.in_h),
              int(dims.in_w),
              int(dims.out_w),
              int(dims.channels),
              int(dims.rate.w),
              int(dims.padding.top),
              int(dims.padding.left),
              depthwise_strips(dims.out_h, dims.rate.h,
                               strip_of(dims.batch, dims.out_h, dims.out_w * dims.channels / V)),
              0,
              0,
              epilogue.activation,
              0};
          return launch_depthwise_rows<T, V, false>(stream, rows, dims.batch, x.data(), weight.data(),
                                                    epilogue.bias.data(), y.data());
        }
        const unsigned tiles = tap_tiles(dims.out_w, dims.channels / V);
        ATROUS_LAUNCH((depthwise_taps_kernel<T, V>), unsigned(dims.batch * dims.out_h * tiles), kTapThreads,
                      0, stream, dims, tiles, x.data(), weight.data(), epilogue, y.data());
      });
    }
  for_each_element(stream, dims.out_pixels(), dims.out_channels(),
                   DepthwiseForward<T>{dims, x, weight, epilogue, y});
}
ATROUS_INSTANTIATE(depthwise_conv2d_forward);

template <class T>
void depthwise_conv2d_backward_input(Stream stream, const DepthwiseConv2dDims& dims, Span<const T> dy,
                                     Span<const T> weight, Span<T>, Span<T> dx) {
  if (dx.empty()) return;
  if constexpr (sizeof(T) < 8)
    if (is_tuned<T>(dims))
      return by_width<T>(in_vectors<T>(dims.channels, dy.data(), weight.data(), dx.data()), [&](auto width) {
        constexpr int V = width();
        if (is_3x3(dims) && dims.stride == PerAxis(1)) {
          // The forward pass on dy with the window turned.
          const DepthwiseRows rows{
              int(dims.out_h),
              int(dims.out_w),
              int(dims.in_w),
              int(dims.channels),
              int(dims.rate.w),
              int(2 * dims.rate.h - dims.padding.top),
              int(2 * dims.rate.w - dims.padding.left),
              depthwise_strips(dims.in_h, dims.rate.h,
                               strip_of(dims.batch, dims.in_h, dims.in_w * dims.channels / V)),
              0,
              0,
              Activation::none,
              0};
          return launch_depthwise_rows<T, V, true>(stream, rows, dims.batch, dy.data(), weight.data(),
                                                   nullptr, dx.data());
        }
        const unsigned tiles = tap_tiles(dims.in_w, dims.channels / V);
        ATROUS_LAUNCH((depthwise_gather_kernel<T, V>), unsigned(dims.batch * dims.in_h * tiles), kTapThreads,
                      0, stream, dims, tiles, dy.data(), weight.data(), dx.data());
      });
  for_each_element(stream, dims.in_pixels(), dims.channels, DepthwiseBackwardInput<T>{dims, dy, weight, dx});
}
ATROUS_INSTANTIATE(depthwise_conv2d_backward_input);

template <class T>
void depthwise_conv2d_backward_weight(Stream stream, const DepthwiseConv2dDims& dims, Span<const T> x,
                                      Span<const T> dy, Span<T> workspace, Span<T> dweight) {
  auto* partials = reinterpret_cast<Accumulator<T>*>(workspace.data());
  std::int64_t parts = depthwise_plain_parts(dims);
  const bool tuned = is_tuned<T>(dims) && is_3x3(dims) && parts > 0;
  if (tuned) {
    if constexpr (sizeof(T) < 8)
      by_width<T>(in_vectors<T>(dims.channels, x.data(), dy.data()), [&](auto width) {
        constexpr int V = width();
        const bool rolling = dims.stride.h == 1;
        const DepthwiseStrips strips = depthwise_strips(dims.out_h, rolling ? dims.rate.h : 1, 32);
        const DepthwiseWeightCut cut = depthwise_weight_cut(dims, strips);
        const unsigned lanes = DepthwiseWeightCut::kVectors * V;
        const dim3 grid(unsigned(cut.parts), (unsigned(dims.channels) + lanes - 1) / lanes);
        parts = cut.parts;
        const DepthwiseWeightWork work{dims, strips, cut};
        if (rolling)
          ATROUS_LAUNCH((depthwise_weight_kernel<T, V, true>), grid, kWeightThreads, 0, stream, work,
                        x.data(), dy.data(), partials);
        else
          ATROUS_LAUNCH((depthwise_weight_kernel<T, V, false>), grid, kWeightThreads, 0, stream, work,
                        x.data(), dy.data(), partials);
      });
  } else {
    for_each(stream, parts * dweight.size(),
             DepthwiseWeightPart<T>{DepthwiseBackwardWeight<T>{dims, x, dy}, parts, partials});
  }
  for_each(stream, dweight.size(), SumOfParts<T>{parts, dweight.size(), partials, dweight.data()});
}
ATROUS_INSTANTIATE(depthwise_conv2d_backward_weight);

}  // namespace atrous::kernels::cuda
