#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/kernels/elementwise/elementwise.h"
#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"

// The vector kernels (float, multiplier 1) against the plain loops (double), which the ladder compares with
// finite differences and an independent reference.

namespace atrous::tests {
namespace {

using kernels::Activation;
using kernels::DepthwiseConv2dDims;

template <class T>
struct Problem {
  DepthwiseConv2dDims d;
  std::vector<T> x, weight, bias, dy;

  explicit Problem(const DepthwiseConv2dDims& sizes)
      : d(sizes),
        x(values(d.in_pixels() * d.channels, 1)),
        weight(values(d.taps() * d.out_channels(), 2)),
        bias(values(d.out_channels(), 3)),
        dy(values(d.out_pixels() * d.out_channels(), 4)) {}

  static std::vector<T> values(std::int64_t n, std::uint64_t seed) {
    Random random(seed);
    std::vector<T> v(std::size_t(n), T(0));
    for (T& a : v) a = T(float(random.uniform(-1, 1)));
    return v;
  }

  // y, dx, dweight
  std::vector<std::vector<T>> run(Activation activation = Activation::none) const {
    Guarded<T> a(kernels::depthwise_conv2d_forward_workspace_size<T>(d)),
        b(kernels::depthwise_conv2d_backward_input_workspace_size<T>(d)),
        c(kernels::depthwise_conv2d_backward_weight_workspace_size<T>(d)), y(std::int64_t(dy.size())),
        dx(std::int64_t(x.size())), dweight(std::int64_t(weight.size()));
    kernels::depthwise_conv2d_forward<T>({}, d, x, weight, {bias, activation}, a.span(), y.span());
    kernels::depthwise_conv2d_backward_input<T>({}, d, dy, weight, b.span(), dx.span());
    kernels::depthwise_conv2d_backward_weight<T>({}, d, x, dy, c.span(), dweight.span());
    for (const Guarded<T>* r : {&a, &b, &c, &y, &dx, &dweight}) CHECK(r->intact());
    return {y.values(), dx.values(), dweight.values()};
  }
};

DepthwiseConv2dDims sized(DepthwiseConv2dDims d) {
  d.out_h = window_positions(d.in_h, d.padding.top, d.padding.bottom, d.window_h, d.rate.h, d.stride.h);
  d.out_w = window_positions(d.in_w, d.padding.left, d.padding.right, d.window_w, d.rate.w, d.stride.w);
  return d;
}

void check(const DepthwiseConv2dDims& d) {
  if (d.out_h <= 0 || d.out_w <= 0) return;
  INFO(d.in_h << 'x' << d.in_w << 'x' << d.channels << ", window " << PerAxis(d.window_h, d.window_w)
              << ", stride " << d.stride << ", rate " << d.rate << ", padding " << d.padding);
  const auto truth = Problem<double>(d).run();
  const auto got = Problem<float>(d).run();
  for (std::size_t i = 0; i < 3; ++i) {
    INFO((i == 0 ? "forward" : i == 1 ? "gradient by x" : "gradient by the weight"));
    CHECK(gap(got[i], truth[i]) < 2e-6);
  }
}

}  // namespace

TEST_CASE("depthwise_conv2d: vector kernels agree with the plain loops at every stride and rate",
          "[kernels][depthwise_conv2d]") {
  for (const std::int64_t channels : {16, 17, 40})
    for (const std::int64_t stride : {1, 2, 3})
      for (const std::int64_t rate : {1, 2, 3, 4, 12})
        for (const std::int64_t padding : {std::int64_t(0), rate, 2 * rate + 1})
          check(sized({.batch = 2,
                       .in_h = 13,
                       .in_w = 10,
                       .channels = channels,
                       .window_h = 3,
                       .window_w = 3,
                       .stride = stride,
                       .padding = {padding, std::max<std::int64_t>(padding - 1, 0), padding, padding + 1},
                       .rate = rate}));
}

TEST_CASE("depthwise_conv2d: vector kernels agree with the plain loops for every window",
          "[kernels][depthwise_conv2d]") {
  for (const PerAxis window :
       {PerAxis(1), PerAxis(2), PerAxis(3, 1), PerAxis(5), PerAxis(4, 7), PerAxis(9, 2)})
    for (const PerAxis stride : {PerAxis(1), PerAxis(2), PerAxis(1, 3)})
      for (const PerAxis rate : {PerAxis(1), PerAxis(2, 3)})
        check(sized({.batch = 1,
                     .in_h = 11,
                     .in_w = 12,
                     .channels = 19,
                     .window_h = window.h,
                     .window_w = window.w,
                     .stride = stride,
                     .padding = {2, 3, 4, 1},
                     .rate = rate}));
}

TEST_CASE("depthwise_conv2d: vector kernels agree with the plain loops at every size",
          "[kernels][depthwise_conv2d]") {
  for (const std::int64_t size : {1, 2, 3, 4, 5, 6, 7, 8, 31, 32, 33})
    for (const std::int64_t window : {3, 5})
      for (const std::int64_t stride : {1, 2})
        for (const PerAxis rate : {PerAxis(1), PerAxis(2), PerAxis(1, 2)})
          check(sized({.batch = 1,
                       .in_h = size,
                       .in_w = 9,
                       .channels = 33,
                       .window_h = window,
                       .window_w = window,
                       .stride = stride,
                       .padding = {window / 2 * rate.h, window / 2 * rate.h, window / 2 * rate.w,
                                   window / 2 * rate.w},
                       .rate = rate}));
}

TEST_CASE("depthwise_conv2d: results larger than the cache are written past it, and right",
          "[kernels][depthwise_conv2d]") {
  for (const std::int64_t stride : {1, 2})
    check(sized({.batch = 1,
                 .in_h = 130,
                 .in_w = 120,
                 .channels = 256,
                 .window_h = 3,
                 .window_w = 3,
                 .stride = stride,
                 .padding = 1}));
  // Larger than the L2, where pixels fall into few sets.
  for (const std::int64_t channels : {256, 1024})
    check(sized({.batch = 2,
                 .in_h = 19,
                 .in_w = 35,
                 .channels = channels,
                 .window_h = 3,
                 .window_w = 3,
                 .padding = 2,
                 .rate = 2}));
  // Halves of lines are not: these are asked for ahead.
  check(sized({.batch = 1,
               .in_h = 70,
               .in_w = 66,
               .channels = 728,
               .window_h = 3,
               .window_w = 3,
               .padding = 2,
               .rate = 2}));
}

TEST_CASE("depthwise_conv2d: the same bits for every number of threads", "[kernels][depthwise_conv2d]") {
  const int before = threads();
  for (const auto& [window, stride] : {std::pair(3, 1), {3, 2}, {3, 3}, {5, 1}}) {
    const Problem<float> p(sized({.batch = 2,
                                  .in_h = 23,
                                  .in_w = 17,
                                  .channels = 48,
                                  .window_h = window,
                                  .window_w = window,
                                  .stride = stride,
                                  .padding = 2,
                                  .rate = 2}));
    set_threads(1);
    const auto one = p.run();
    for (const int n : {2, 3}) {
      set_threads(n);
      CHECK(p.run() == one);
    }
  }
  set_threads(before);
}

TEST_CASE("depthwise_conv2d: the activation comes last and lets NaN through", "[kernels][depthwise_conv2d]") {
  const DepthwiseConv2dDims d =
      sized({.batch = 1, .in_h = 5, .in_w = 5, .channels = 20, .window_h = 3, .window_w = 3, .padding = 1});
  Problem<float> p(d);
  for (float& v : p.weight) v *= 10;
  p.x[0] = NAN;
  const auto plain = p.run()[0];
  auto swished = plain;
  kernels::hard_swish_forward<float>({}, plain, swished);
  const auto with_swish = p.run(Activation::hard_swish)[0];
  for (std::size_t i = 0; i < plain.size(); ++i)
    CHECK((std::isnan(plain[i]) ? std::isnan(with_swish[i]) : with_swish[i] == swished[i]));
  for (const Activation activation : {Activation::relu, Activation::relu6}) {
    const auto y = p.run(activation)[0];
    const float ceiling = activation == Activation::relu6 ? 6.0f : INFINITY;
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (std::isnan(plain[i]))
        CHECK(std::isnan(y[i]));
      else
        CHECK(y[i] == std::clamp(plain[i], 0.0f, ceiling));
    }
  }
}

TEST_CASE("depthwise_conv2d: an infinity reaches the windows that read it and no others",
          "[kernels][depthwise_conv2d]") {
  // Tiles share loads between outputs; a value must not leak into a neighbour's sum.
  for (const std::int64_t rate : {1, 2}) {
    const DepthwiseConv2dDims d = sized({.batch = 1,
                                         .in_h = 9,
                                         .in_w = 11,
                                         .channels = 16,
                                         .window_h = 3,
                                         .window_w = 3,
                                         .padding = rate,
                                         .rate = rate});
    Problem<float> p(d);
    const std::int64_t h = 4, w = 5;
    for (std::int64_t c = 0; c < 16; ++c) p.x[std::size_t((h * d.in_w + w) * 16 + c)] = INFINITY;
    const auto y = p.run()[0];
    for (std::int64_t i = 0; i < d.out_h; ++i)
      for (std::int64_t j = 0; j < d.out_w; ++j) {
        const bool reads = (i == h || std::abs(i - h) == rate) && (j == w || std::abs(j - w) == rate);
        CHECK(std::isfinite(y[std::size_t((i * d.out_w + j) * 16)]) != reads);
      }
  }
}

}  // namespace atrous::tests
