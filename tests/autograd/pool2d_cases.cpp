#include "atrous/autograd/pool2d.h"

#include <algorithm>
#include <cmath>

#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

std::int64_t size(std::int64_t in, std::int64_t before, std::int64_t after, std::int64_t window,
                  std::int64_t stride, bool ceil_mode) {
  const double room = double(in + before + after - window) / double(stride);
  std::int64_t out = std::int64_t(ceil_mode ? std::ceil(room) : std::floor(room)) + 1;
  if (ceil_mode && (out - 1) * stride >= in + before) --out;
  return out;
}

// fold(out, values of the taps inside the image, taps inside image and padding)
template <class Options, class Fold>
Reference pooled(const Reference& x, const Options& o, Fold fold) {
  const std::int64_t H = x.shape[1], W = x.shape[2];
  Reference y({x.shape[0], size(H, o.padding.top, o.padding.bottom, o.window.h, o.stride.h, o.ceil_mode),
               size(W, o.padding.left, o.padding.right, o.window.w, o.stride.w, o.ceil_mode), x.shape[3]});
  for (std::int64_t n = 0; n < y.shape[0]; ++n)
    for (std::int64_t i = 0; i < y.shape[1]; ++i)
      for (std::int64_t j = 0; j < y.shape[2]; ++j)
        for (std::int64_t c = 0; c < y.shape[3]; ++c) {
          std::vector<double> values;
          double within = 0;
          for (std::int64_t r = 0; r < o.window.h; ++r)
            for (std::int64_t s = 0; s < o.window.w; ++s) {
              const std::int64_t h = i * o.stride.h + r - o.padding.top,
                                 w = j * o.stride.w + s - o.padding.left;
              if (h >= 0 && h < H && w >= 0 && w < W) values.push_back(x.at(n, h, w, c));
              if (h < H + o.padding.bottom && w < W + o.padding.right) within += 1;
            }
          y.at(n, i, j, c) = fold(values, within);
        }
  return y;
}

OpCase max_row(const char* name, const Shape& x, const MaxPool2dOptions& o) {
  return {.op = Op::max_pool2d,
          .name = name,
          .inputs = {{"x", x, Draw::distinct}},
          .call = [o](const auto& in) { return max_pool2d(in[0], o); },
          .reference =
              [o](const auto& in) {
                return pooled(in[0], o, [](const std::vector<double>& v, double) {
                  return v.empty() ? -INFINITY : *std::max_element(v.begin(), v.end());
                });
              }};
}

OpCase avg_row(const char* name, const Shape& x, const AvgPool2dOptions& o) {
  OpCase c{.op = Op::avg_pool2d,
           .name = name,
           .inputs = {{"x", x}},
           .call = [o](const auto& in) { return avg_pool2d(in[0], o); },
           .reference =
               [o](const auto& in) {
                 return pooled(in[0], o, [&](const std::vector<double>& v, double within) {
                   double sum = 0;
                   for (const double a : v) sum += a;
                   return v.empty() ? 0 : sum / (o.count_include_pad ? within : double(v.size()));
                 });
               }};
  c.linear = true;
  return c;
}

OpCase global_row(const char* name, const Shape& x) {
  OpCase c{.op = Op::global_avg_pool2d,
           .name = name,
           .inputs = {{"x", x}},
           .call = [](const auto& in) { return global_avg_pool2d(in[0]); },
           .reference =
               [](const auto& in) {
                 const Shape& s = in[0].shape;
                 Reference y({s[0], 1, 1, s[3]});
                 for (std::int64_t n = 0; n < s[0]; ++n)
                   for (std::int64_t h = 0; h < s[1]; ++h)
                     for (std::int64_t w = 0; w < s[2]; ++w)
                       for (std::int64_t ch = 0; ch < s[3]; ++ch)
                         y.at(n, 0, 0, ch) += in[0].at(n, h, w, ch) / double(s[1] * s[2]);
                 return y;
               }};
  c.linear = true;
  return c;
}

const OpCases cases({
    max_row("2x2 stride 2", {2, 5, 6, 3}, {}),
    max_row("3x3 stride 2, padding 1, 19 channels", {2, 7, 8, 19}, {.window = 3, .stride = 2, .padding = 1}),
    max_row("3x3 stride 1, padding 1", {2, 5, 4, 17}, {.window = 3, .stride = 1, .padding = 1}),
    max_row("3x3 stride 2, padding after only", {1, 6, 6, 4},
            {.window = 3, .stride = 2, .padding = {0, 1, 0, 1}}),
    max_row("ceil mode", {2, 6, 7, 3}, {.window = 3, .stride = 2, .ceil_mode = true}),
    max_row("ceil mode, last window left out", {1, 4, 5, 3},
            {.window = 2, .stride = 3, .padding = 1, .ceil_mode = true}),
    max_row("window 2x3, stride 3x1", {2, 8, 5, 5}, {.window = {2, 3}, .stride = {3, 1}}),
    max_row("window larger than the map", {2, 3, 4, 3}, {.window = 7, .stride = 2, .padding = 2}),
    max_row("window of 357 taps", {1, 12, 11, 2}, {.window = {17, 21}, .stride = 3, .padding = 7}),
    avg_row("2x2 stride 2", {2, 5, 6, 3}, {}),
    avg_row("3x3 stride 2, padding counts", {2, 7, 8, 19}, {.window = 3, .stride = 2, .padding = 1}),
    avg_row("3x3 stride 2, padding does not count", {2, 7, 8, 19},
            {.window = 3, .stride = 2, .padding = 1, .count_include_pad = false}),
    avg_row("ceil mode, padding counts", {2, 6, 7, 3},
            {.window = 3, .stride = 2, .padding = 1, .ceil_mode = true}),
    avg_row("ceil mode, padding does not count", {2, 6, 7, 3},
            {.window = 3, .stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false}),
    avg_row("ceil mode, window 2x5, stride 3x2", {1, 6, 8, 3},
            {.window = {2, 5}, .stride = {3, 2}, .ceil_mode = true}),
    avg_row("window larger than the map", {2, 3, 4, 3}, {.window = 6, .stride = 1, .padding = 2}),
    avg_row("windows in the padding", {1, 3, 4, 3}, {.window = 2, .stride = 1, .padding = {3, 0, 0, 2}}),
    global_row("5x7", {2, 5, 7, 3}),
    global_row("one pixel", {3, 1, 1, 5}),
    global_row("more channels than a block", {2, 4, 3, 133}),
});

}  // namespace
}  // namespace atrous::tests
