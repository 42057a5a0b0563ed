#include "atrous/autograd/conv_transpose2d.h"

#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

// By scattering, as the docstring's first sentence says it; the library gathers.
Reference reference(const std::vector<Reference>& in, const ConvTranspose2dOptions& o) {
  const Reference &x = in[0], &w = in[1];
  const auto size = [](std::int64_t n, std::int64_t stride, std::int64_t pads, std::int64_t taps,
                       std::int64_t rate, std::int64_t extra) {
    return (n - 1) * stride - pads + rate * (taps - 1) + 1 + extra;
  };
  Reference y({x.shape[0],
               size(x.shape[1], o.stride.h, o.padding.top + o.padding.bottom, w.shape[0], o.rate.h,
                    o.output_padding.h),
               size(x.shape[2], o.stride.w, o.padding.left + o.padding.right, w.shape[1], o.rate.w,
                    o.output_padding.w),
               w.shape[2]});
  for (std::int64_t n = 0; n < x.shape[0]; ++n)
    for (std::int64_t h = 0; h < x.shape[1]; ++h)
      for (std::int64_t v = 0; v < x.shape[2]; ++v)
        for (std::int64_t r = 0; r < w.shape[0]; ++r)
          for (std::int64_t s = 0; s < w.shape[1]; ++s) {
            const std::int64_t i = h * o.stride.h + r * o.rate.h - o.padding.top;
            const std::int64_t j = v * o.stride.w + s * o.rate.w - o.padding.left;
            if (i < 0 || i >= y.shape[1] || j < 0 || j >= y.shape[2]) continue;
            for (std::int64_t k = 0; k < w.shape[2]; ++k)
              for (std::int64_t c = 0; c < w.shape[3]; ++c)
                y.at(n, i, j, k) += x.at(n, h, v, c) * w.at(r, s, k, c);
          }
  for (std::int64_t i = 0; in.size() > 2 && i < y.shape.numel(); ++i)
    y.values[std::size_t(i)] += in[2].at(i % w.shape[2]);
  return y;
}

OpCase row(const char* name, const Shape& x, const Shape& weight, bool bias,
           const ConvTranspose2dOptions& o) {
  OpCase c{.op = Op::conv_transpose2d,
           .name = name,
           .inputs = {{"x", x}, {"weight", weight}},
           .call =
               [o](const auto& in) {
                 return conv_transpose2d(in[0], in[1], in.size() > 2 ? in[2] : Variable(), o);
               },
           .reference = [o](const auto& in) { return reference(in, o); }};
  if (bias) c.inputs.push_back({"bias", {weight[2]}});
  c.linear = true;
  return c;
}

OpCase rounding(OpCase made) {  // factors of 10 bits where a device has TF32
  made.tolerance = 4e-3;
  return made;
}

const OpCases cases({
    row("3x3", {2, 4, 5, 3}, {3, 3, 4, 3}, false, {}),
    row("4x4 stride 2, padding 1, bias", {2, 4, 3, 5}, {4, 4, 3, 5}, true, {.stride = 2, .padding = 1}),
    row("2x2 stride 2", {2, 3, 4, 3}, {2, 2, 2, 3}, true, {.stride = 2}),
    row("3x3 stride 2, output padding 1", {2, 3, 4, 3}, {3, 3, 2, 3}, true,
        {.stride = 2, .padding = 1, .output_padding = 1}),
    row("stride 3x2, output padding 2x0", {1, 3, 4, 2}, {3, 2, 3, 2}, false,
        {.stride = {3, 2}, .output_padding = {2, 0}}),
    row("rate 2, padding 2", {2, 5, 4, 3}, {3, 3, 4, 3}, true, {.padding = 2, .rate = 2}),
    row("rate 3x2, stride 2, output padding 2x1", {1, 4, 3, 3}, {2, 3, 2, 3}, true,
        {.stride = 2, .output_padding = {2, 1}, .rate = {3, 2}}),
    row("rate larger than the map", {2, 3, 2, 3}, {3, 3, 2, 3}, true, {.padding = 12, .rate = 12}),
    row("four paddings", {2, 4, 5, 3}, {3, 4, 2, 3}, false, {.stride = 2, .padding = {0, 2, 1, 3}}),
    row("gaps between windows", {2, 3, 3, 3}, {1, 1, 2, 3}, true, {.stride = 2}),
    row("20 to 33 channels", {1, 4, 4, 20}, {4, 4, 33, 20}, true, {.stride = 2, .padding = 1}),
    rounding(row("4x4 stride 2 in TF32", {1, 4, 3, 20}, {4, 4, 9, 20}, true,
                 {.stride = 2, .padding = 1, .allow_tf32 = true})),
});

}  // namespace
}  // namespace atrous::tests
