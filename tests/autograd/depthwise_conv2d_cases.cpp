#include "atrous/autograd/depthwise_conv2d.h"

#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

Reference reference(const std::vector<Reference>& in, const Conv2dOptions& o) {
  const Reference &x = in[0], &w = in[1];
  const std::int64_t m = w.shape[3];
  const auto size = [](std::int64_t n, std::int64_t pads, std::int64_t taps, std::int64_t rate,
                       std::int64_t stride) { return (n + pads - rate * (taps - 1) - 1) / stride + 1; };
  Reference y(
      {x.shape[0], size(x.shape[1], o.padding.top + o.padding.bottom, w.shape[0], o.rate.h, o.stride.h),
       size(x.shape[2], o.padding.left + o.padding.right, w.shape[1], o.rate.w, o.stride.w), x.shape[3] * m});
  for (std::int64_t n = 0; n < y.shape[0]; ++n)
    for (std::int64_t i = 0; i < y.shape[1]; ++i)
      for (std::int64_t j = 0; j < y.shape[2]; ++j)
        for (std::int64_t k = 0; k < y.shape[3]; ++k) {
          double sum = in.size() > 2 ? in[2].at(k) : 0;
          for (std::int64_t r = 0; r < w.shape[0]; ++r)
            for (std::int64_t s = 0; s < w.shape[1]; ++s)
              sum +=
                  w.at(r, s, k / m, k % m) * x.padded(n, i * o.stride.h + r * o.rate.h - o.padding.top,
                                                      j * o.stride.w + s * o.rate.w - o.padding.left, k / m);
          y.at(n, i, j, k) = sum;
        }
  return y;
}

OpCase row(const char* name, const Shape& x, const Shape& weight, bool bias, const Conv2dOptions& o) {
  OpCase c{.op = Op::depthwise_conv2d,
           .name = name,
           .inputs = {{"x", x}, {"weight", weight}},
           .call =
               [o](const auto& in) {
                 return depthwise_conv2d(in[0], in[1], in.size() > 2 ? in[2] : Variable(), o);
               },
           .reference = [o](const auto& in) { return reference(in, o); }};
  if (bias) c.inputs.push_back({"bias", {weight[2] * weight[3]}});
  c.linear = true;
  return c;
}

const OpCases cases({
    row("3x3", {2, 5, 7, 3}, {3, 3, 3, 1}, false, {.padding = 1}),
    row("bias, multiplier 2", {2, 5, 6, 3}, {3, 3, 3, 2}, true, {.padding = 1}),
    row("bias, 19 channels", {2, 6, 5, 19}, {3, 3, 19, 1}, true, {.padding = 1}),
    row("stride 2, 37 channels", {2, 7, 8, 37}, {3, 3, 37, 1}, false, {.stride = 2, .padding = 1}),
    row("stride 2, padding after only", {2, 6, 8, 5}, {3, 3, 5, 1}, false,
        {.stride = 2, .padding = {0, 1, 0, 1}}),
    row("stride 3x2, rate 2x3", {2, 9, 11, 3}, {3, 2, 3, 2}, true,
        {.stride = {3, 2}, .padding = 2, .rate = {2, 3}}),
    row("rate 2", {2, 9, 8, 18}, {3, 3, 18, 1}, false, {.padding = 2, .rate = 2}),
    row("rate 3, no padding", {1, 9, 8, 4}, {3, 3, 4, 1}, true, {.rate = 3}),
    row("rate larger than the map", {2, 5, 4, 17}, {3, 3, 17, 1}, true, {.padding = 12, .rate = 12}),
    row("stride 2, rate 2", {2, 9, 10, 18}, {3, 3, 18, 1}, true, {.stride = 2, .padding = 2, .rate = 2}),
    row("four paddings", {2, 4, 5, 3}, {3, 3, 3, 1}, true, {.padding = {1, 0, 2, 3}}),
    row("padding wider than the window", {1, 3, 4, 16}, {3, 3, 16, 1}, true, {.padding = 4}),
    row("window larger than the map", {2, 3, 2, 3}, {5, 4, 3, 1}, false, {.padding = 2}),
    row("one tap", {2, 4, 5, 6}, {1, 1, 6, 1}, true, {}),
    row("even window", {2, 5, 6, 4}, {2, 4, 4, 3}, false, {.padding = {1, 0, 1, 2}}),
    row("one output pixel", {2, 3, 3, 33}, {3, 3, 33, 1}, true, {}),
});

}  // namespace
}  // namespace atrous::tests
