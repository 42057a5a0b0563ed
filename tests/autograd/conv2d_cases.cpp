#include "atrous/autograd/conv2d.h"

#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

// The formula of conv2d.h, in plain loops.
Reference convolve(const std::vector<Reference>& in, const Conv2dOptions& o) {
  const Reference &x = in[0], &weight = in[1];
  const auto size = [](std::int64_t padded, std::int64_t taps, std::int64_t rate, std::int64_t stride) {
    return (padded - rate * (taps - 1) - 1) / stride + 1;
  };
  const std::int64_t taps_h = weight.shape[0], taps_w = weight.shape[1];
  Reference y(Shape{
      x.shape[0], size(x.shape[1] + o.padding.top + o.padding.bottom, taps_h, o.rate.h, o.stride.h),
      size(x.shape[2] + o.padding.left + o.padding.right, taps_w, o.rate.w, o.stride.w), weight.shape[3]});
  for (std::int64_t n = 0; n < y.shape[0]; ++n)
    for (std::int64_t oh = 0; oh < y.shape[1]; ++oh)
      for (std::int64_t ow = 0; ow < y.shape[2]; ++ow)
        for (std::int64_t k = 0; k < y.shape[3]; ++k) {
          double sum = in.size() > 2 ? in[2].at(k) : 0.0;
          for (std::int64_t r = 0; r < taps_h; ++r)
            for (std::int64_t s = 0; s < taps_w; ++s)
              for (std::int64_t c = 0; c < x.shape[3]; ++c)
                sum += x.padded(n, oh * o.stride.h + r * o.rate.h - o.padding.top,
                                ow * o.stride.w + s * o.rate.w - o.padding.left, c) *
                       weight.at(r, s, c, k);
          y.at(n, oh, ow, k) = sum;
        }
  return y;
}

OpCase row(const char* name, const Shape& x, const Shape& weight, const Conv2dOptions& o, bool bias = false) {
  OpCase c{
      .op = Op::conv2d,
      .name = name,
      .inputs = {{"x", x}, {"weight", weight}},
      .call = [o](const auto& in) { return conv2d(in[0], in[1], in.size() > 2 ? in[2] : Variable(), o); },
      .reference = [o](const auto& in) { return convolve(in, o); },
      .linear = true};
  // At a stride above the window the middle pixel may be one that no window reads.
  c.nan_passes = o.stride.h <= weight[0] && o.stride.w <= weight[1];
  if (bias) c.inputs.push_back({"bias", {weight[3]}});
  return c;
}

OpCase rounding(OpCase made) {  // factors of 10 bits where a device has TF32
  made.tolerance = 4e-3;
  return made;
}

const OpCases cases({
    row("1x1", {2, 5, 7, 3}, {1, 1, 3, 4}, {}),
    row("1x1 with bias", {2, 5, 7, 3}, {1, 1, 3, 4}, {}, true),
    row("1x1, stride 2", {2, 5, 7, 3}, {1, 1, 3, 4}, {.stride = 2}),
    row("1x1, channels of several vectors and a rest", {1, 6, 5, 37}, {1, 1, 37, 53}, {}, true),
    row("1x1 with padding: the border is the bias", {1, 3, 4, 3}, {1, 1, 3, 4}, {.padding = 1}, true),
    row("3x3 same", {2, 5, 7, 3}, {3, 3, 3, 4}, {.padding = 1}, true),
    row("3x3 without padding", {2, 5, 7, 3}, {3, 3, 3, 4}, {}),
    row("3x3, more channels than a block", {1, 4, 5, 19}, {3, 3, 19, 21}, {.padding = 1}, true),
    row("3x3, stride 2", {2, 7, 8, 3}, {3, 3, 3, 4}, {.stride = 2, .padding = 1}, true),
    row("3x3, stride 2, one channel a vector wide", {1, 9, 6, 16}, {3, 3, 16, 8},
        {.stride = 2, .padding = 1}),
    row("window 2x2, stride 3: pixels that no window reads", {1, 11, 9, 2}, {2, 2, 2, 3}, {.stride = 3}),
    row("3x3, rate 2", {2, 6, 7, 3}, {3, 3, 3, 4}, {.padding = 2, .rate = 2}, true),
    row("3x3, rate 2, stride 2", {1, 9, 8, 3}, {3, 3, 3, 2}, {.stride = 2, .padding = 2, .rate = 2}),
    row("asymmetric padding", {1, 5, 6, 3}, {3, 3, 3, 4}, {.padding = {1, 2, 0, 3}}, true),
    row("asymmetric padding, stride 2 (tf same)", {1, 6, 8, 3}, {3, 3, 3, 4},
        {.stride = 2, .padding = {0, 1, 0, 1}}),
    row("stride by axis", {1, 7, 9, 2}, {3, 3, 2, 3}, {.stride = {1, 3}, .padding = 1}),
    row("rate by axis", {1, 7, 9, 2}, {3, 3, 2, 3}, {.padding = {1, 1, 3, 3}, .rate = {1, 3}}),
    row("stride and rate by axis", {1, 8, 9, 2}, {3, 2, 2, 3},
        {.stride = {2, 1}, .padding = {2, 1, 0, 3}, .rate = {2, 3}}, true),
    row("rate larger than the map: only the centre tap lives", {1, 4, 5, 3}, {3, 3, 3, 4},
        {.padding = 6, .rate = 6}, true),
    row("rate at which pixels differ in their live taps", {1, 9, 9, 3}, {3, 3, 3, 2},
        {.padding = 4, .rate = 4}),
    row("window larger than the map", {1, 2, 3, 3}, {5, 5, 3, 2}, {.padding = 2}, true),
    row("padding that leaves outputs without any input", {1, 3, 3, 2}, {3, 3, 2, 3}, {.padding = 4}, true),
    row("window 4x4, stride 2", {1, 8, 6, 3}, {4, 4, 3, 2}, {.stride = 2, .padding = 1}),
    row("window 2x2, stride 2", {1, 6, 7, 3}, {2, 2, 3, 4}, {.stride = 2}),
    row("window 1x5", {1, 4, 7, 3}, {1, 5, 3, 2}, {.padding = {0, 0, 2, 2}}),
    row("window 7x7, stride 2, three channels", {1, 13, 14, 3}, {7, 7, 3, 5}, {.stride = 2, .padding = 3}),
    row("one pixel", {2, 1, 1, 5}, {1, 1, 5, 3}, {}, true),
    row("one pixel, 3x3", {2, 1, 1, 3}, {3, 3, 3, 4}, {.padding = 1}),
    row("one channel to one", {1, 6, 5, 1}, {3, 3, 1, 1}, {.padding = 1}, true),
    rounding(row("3x3 in TF32", {1, 5, 6, 19}, {3, 3, 19, 21}, {.padding = 1, .allow_tf32 = true}, true)),
    row("3x3 by plain sums", {1, 6, 5, 19}, {3, 3, 19, 21}, {.padding = 1, .exact = true}, true),
    row("1x1 by plain sums", {1, 6, 5, 19}, {1, 1, 19, 21}, {.exact = true}),
    rounding(row("1x1 in TF32", {1, 5, 6, 19}, {1, 1, 19, 21}, {.allow_tf32 = true})),
});

}  // namespace
}  // namespace atrous::tests
