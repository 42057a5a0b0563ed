#include <algorithm>
#include <cmath>

#include "atrous/autograd/resize.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

// The weight with which output o reads input k: a hat of width 1 around the place that o maps to.
double hat(std::int64_t o, std::int64_t k, std::int64_t in, std::int64_t out, bool align_corners) {
  double s = align_corners ? (out > 1 ? double(o) * double(in - 1) / double(out - 1) : 0.0)
                           : (double(o) + 0.5) * double(in) / double(out) - 0.5;
  s = std::min(std::max(s, 0.0), double(in - 1));
  return std::max(0.0, 1 - std::abs(s - double(k)));
}

Reference bilinear(const Reference& x, const ResizeOptions& to) {
  Reference y({x.shape[0], to.out_h, to.out_w, x.shape[3]});
  for (std::int64_t n = 0; n < x.shape[0]; ++n)
    for (std::int64_t oh = 0; oh < to.out_h; ++oh)
      for (std::int64_t ow = 0; ow < to.out_w; ++ow)
        for (std::int64_t h = 0; h < x.shape[1]; ++h)
          for (std::int64_t w = 0; w < x.shape[2]; ++w)
            for (std::int64_t c = 0; c < x.shape[3]; ++c)
              y.at(n, oh, ow, c) += hat(oh, h, x.shape[1], to.out_h, to.align_corners) *
                                    hat(ow, w, x.shape[2], to.out_w, to.align_corners) * x.at(n, h, w, c);
  return y;
}

OpCase row(const char* name, const Shape& x, const ResizeOptions& to) {
  return {.op = Op::resize_bilinear,
          .name = name,
          .inputs = {{"x", x}},
          .call = [to](const auto& in) { return resize_bilinear(in[0], to); },
          .reference = [to](const auto& in) { return bilinear(in[0], to); },
          .linear = true};
}

OpCase skipping(OpCase made) {  // shrinks: a NaN may lie between the pixels read
  made.nan_passes = false;
  return made;
}

const OpCases cases({
    row("corners aligned, 4 times larger", {2, 5, 7, 3}, {17, 25, true}),
    row("corners aligned, sizes without a common factor", {2, 5, 4, 21}, {13, 11, true}),
    row("corners aligned, the same size", {1, 4, 6, 5}, {4, 6, true}),
    skipping(row("corners aligned, smaller", {2, 11, 9, 3}, {5, 3, true})),
    row("corners aligned, rows grow, columns shrink", {1, 3, 9, 40}, {8, 5, true}),
    skipping(row("corners aligned, to a single pixel", {2, 3, 4, 3}, {1, 1, true})),
    row("corners aligned, from a single pixel", {2, 1, 1, 33}, {4, 3, true}),
    row("half-pixel centres, 4 times larger", {2, 4, 5, 3},
        {.out_h = 16, .out_w = 20, .align_corners = false}),
    row("half-pixel centres, odd sizes", {1, 5, 4, 65}, {.out_h = 7, .out_w = 11, .align_corners = false}),
    skipping(row("half-pixel centres, smaller", {2, 11, 9, 3},
                 {.out_h = 4, .out_w = 4, .align_corners = false})),
    skipping(row("half-pixel centres, to a single pixel", {1, 4, 4, 3},
                 {.out_h = 1, .out_w = 1, .align_corners = false})),
    row("half-pixel centres, from a single row", {1, 1, 5, 3},
        {.out_h = 6, .out_w = 9, .align_corners = false}),
});

}  // namespace
}  // namespace atrous::tests
