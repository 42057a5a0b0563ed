#include "atrous/autograd/conv2d_branches.h"

#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

struct Branch {
  Shape weight;
  Conv2dOptions options;
};

// The formula of each branch, in plain loops, into its channels of y.
Reference side_by_side(const std::vector<Reference>& in, const std::vector<Branch>& branches,
                       const Shape& y_shape) {
  const Reference& x = in[0];
  Reference y(y_shape);
  std::int64_t first = 0;
  for (std::size_t b = 0; b < branches.size(); ++b) {
    const Reference& weight = in[b + 1];
    const Conv2dOptions& o = branches[b].options;
    for (std::int64_t n = 0; n < y.shape[0]; ++n)
      for (std::int64_t oh = 0; oh < y.shape[1]; ++oh)
        for (std::int64_t ow = 0; ow < y.shape[2]; ++ow)
          for (std::int64_t k = 0; k < weight.shape[3]; ++k)
            for (std::int64_t r = 0; r < weight.shape[0]; ++r)
              for (std::int64_t s = 0; s < weight.shape[1]; ++s)
                for (std::int64_t c = 0; c < x.shape[3]; ++c)
                  y.at(n, oh, ow, first + k) +=
                      x.padded(n, oh + r * o.rate.h - o.padding.top, ow + s * o.rate.w - o.padding.left, c) *
                      weight.at(r, s, c, k);
    first += weight.shape[3];
  }
  return y;
}

OpCase row(const char* name, const Shape& x, const std::vector<Branch>& branches, const Shape& y) {
  std::vector<Conv2dOptions> options;
  OpCase c{.op = Op::conv2d_branches,
           .name = name,
           .inputs = {{"x", x}},
           .call = {},
           .reference = [=](const auto& in) { return side_by_side(in, branches, y); }};
  for (const Branch& b : branches) {
    c.inputs.push_back({"weight", b.weight});
    options.push_back(b.options);
  }
  c.call = [options](const auto& in) { return conv2d_branches(in[0], {in.begin() + 1, in.end()}, options); };
  c.linear = branches.size() == 1;  // with two weights it is affine in each
  return c;
}

const OpCases cases({
    row("one branch", {2, 5, 6, 3}, {{{3, 3, 3, 4}, {.padding = 1}}}, {2, 5, 6, 4}),
    row("an ASPP: 1x1 and three rates", {2, 9, 8, 5},
        {{{1, 1, 5, 4}, {}},
         {{3, 3, 5, 4}, {.padding = 2, .rate = 2}},
         {{3, 3, 5, 4}, {.padding = 4, .rate = 4}},
         {{3, 3, 5, 4}, {.padding = 6, .rate = 6}}},
        {2, 9, 8, 16}),
    row("other channels, windows, and paddings by side", {1, 7, 6, 8},
        {{{3, 2, 8, 8}, {.padding = {2, 0, 0, 1}}}, {{1, 3, 8, 16}, {.padding = {0, 0, 1, 1}}}},
        {1, 7, 6, 24}),
    row("channels that end within a vector", {1, 5, 7, 19},
        {{{1, 1, 19, 21}, {}}, {{3, 3, 19, 3}, {.padding = 3, .rate = 3}}}, {1, 5, 7, 24}),
    row("more branches than a launch sums up", {1, 6, 5, 8},
        {{{1, 1, 8, 2}, {}},
         {{3, 3, 8, 2}, {.padding = 1}},
         {{3, 3, 8, 2}, {.padding = 2, .rate = 2}},
         {{3, 3, 8, 2}, {.padding = 3, .rate = 3}},
         {{1, 3, 8, 2}, {.padding = {0, 0, 4, 4}, .rate = 4}}},
        {1, 6, 5, 10}),
    row("without padding", {1, 5, 6, 3}, {{{3, 3, 3, 2}, {}}, {{2, 2, 3, 3}, {.rate = 2}}}, {1, 3, 4, 5}),
});

}  // namespace
}  // namespace atrous::tests
