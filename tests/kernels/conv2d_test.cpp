#include "atrous/kernels/conv2d/conv2d.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/conv2d/in_place.h"
#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/streaming_fence.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

using kernels::Activation;
using kernels::Conv2dDims;

constexpr double kGuard = 12345.0;

// Memory of a result: NaN, and guard words behind.
template <class T>
struct Result {
  std::vector<T> values;
  std::int64_t size;

  explicit Result(std::int64_t n) : values(std::size_t(n + 64), T(kGuard)), size(n) {
    std::fill_n(values.begin(), n, std::numeric_limits<T>::quiet_NaN());
  }
  Span<T> span() { return {values.data(), size}; }
  bool intact() const {
    for (std::size_t i = std::size_t(size); i < values.size(); ++i)
      if (float(values[i]) != float(T(kGuard))) return false;
    return true;
  }
};

template <class T>
std::vector<T> random_values(std::int64_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<T> v(std::size_t(n), T(0));
  for (T& x : v) x = T(float(random.uniform(-1, 1)));
  return v;
}

template <class T>
struct Problem {
  Conv2dDims d;
  std::vector<T> x, weight, bias, dy;

  explicit Problem(const Conv2dDims& sizes)
      : d(sizes),
        x(random_values<T>(d.in_pixels() * d.in_channels, 1)),
        weight(random_values<T>(d.taps() * d.in_channels * d.out_channels, 2)),
        bias(random_values<T>(d.out_channels, 3)),
        dy(random_values<T>(d.out_pixels() * d.out_channels, 4)) {}

  std::vector<T> forward(bool with_bias, Activation activation) const {
    Result<T> scratch(kernels::conv2d_forward_workspace_size<T>(d)), y(std::int64_t(dy.size()));
    kernels::conv2d_forward<T>({}, d, x, weight,
                               {with_bias ? Span<const T>(bias) : Span<const T>(), activation},
                               scratch.span(), y.span());
    CHECK((scratch.intact() && y.intact()));
    return {y.values.begin(), y.values.begin() + y.size};
  }
  std::vector<T> backward_input() const {
    Result<T> scratch(kernels::conv2d_backward_input_workspace_size<T>(d)), dx(std::int64_t(x.size()));
    kernels::conv2d_backward_input<T>({}, d, dy, weight, scratch.span(), dx.span());
    CHECK((scratch.intact() && dx.intact()));
    return {dx.values.begin(), dx.values.begin() + dx.size};
  }
  std::vector<T> backward_weight() const {
    Result<T> scratch(kernels::conv2d_backward_weight_workspace_size<T>(d)), dw(std::int64_t(weight.size()));
    kernels::conv2d_backward_weight<T>({}, d, x, dy, scratch.span(), dw.span());
    CHECK((scratch.intact() && dw.intact()));
    return {dw.values.begin(), dw.values.begin() + dw.size};
  }
  std::vector<T> backward_bias() const {
    Result<T> scratch(kernels::conv2d_backward_bias_workspace_size<T>(d)), db(d.out_channels);
    kernels::conv2d_backward_bias<T>({}, d, dy, scratch.span(), db.span());
    CHECK((scratch.intact() && db.intact()));
    return {db.values.begin(), db.values.begin() + db.size};
  }
};

// Calls visit(x index, weight index of k = 0, y index of k = 0) for every product of the formula.
template <class Visit>
void for_each_product(const Conv2dDims& d, const Visit& visit) {
  for (std::int64_t n = 0; n < d.batch; ++n)
    for (std::int64_t oh = 0; oh < d.out_h; ++oh)
      for (std::int64_t ow = 0; ow < d.out_w; ++ow)
        for (std::int64_t r = 0; r < d.window_h; ++r)
          for (std::int64_t s = 0; s < d.window_w; ++s) {
            const std::int64_t h = oh * d.stride.h + r * d.rate.h - d.padding.top;
            const std::int64_t w = ow * d.stride.w + s * d.rate.w - d.padding.left;
            if (h < 0 || h >= d.in_h || w < 0 || w >= d.in_w) continue;
            for (std::int64_t c = 0; c < d.in_channels; ++c)
              visit(std::size_t(((n * d.in_h + h) * d.in_w + w) * d.in_channels + c),
                    std::size_t(((r * d.window_w + s) * d.in_channels + c) * d.out_channels),
                    std::size_t(((n * d.out_h + oh) * d.out_w + ow) * d.out_channels));
          }
}

double gap(const std::vector<float>& got, const std::vector<double>& truth) {
  double worst = 0, scale = 1e-6;
  for (const double t : truth) scale = std::max(scale, std::abs(t));
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double difference = std::abs(double(got[i]) - truth[i]);
    if (!(difference <= worst)) worst = std::isnan(difference) ? INFINITY : difference;
  }
  return worst / scale;
}

// Every kernel in single precision against sums in double.
void check_all(const Conv2dDims& sizes) {
  const Conv2dDims d = kernels::with_output_size(sizes);
  INFO("x " << d.batch << 'x' << d.in_h << 'x' << d.in_w << 'x' << d.in_channels << ", window " << d.window_h
            << 'x' << d.window_w << 'x' << d.out_channels << ", stride " << d.stride << ", rate " << d.rate
            << ", padding " << d.padding);
  REQUIRE((d.out_h > 0 && d.out_w > 0));
  const Problem<float> p(d);
  const std::size_t k_count = std::size_t(d.out_channels);
  std::vector<double> y(p.dy.size()), dx(p.x.size()), dweight(p.weight.size()), dbias(k_count);
  for_each_product(d, [&](std::size_t ix, std::size_t iw, std::size_t iy) {
    double sum = 0;
    for (std::size_t k = 0; k < k_count; ++k) {
      y[iy + k] += double(p.x[ix]) * p.weight[iw + k];
      dweight[iw + k] += double(p.x[ix]) * p.dy[iy + k];
      sum += double(p.dy[iy + k]) * p.weight[iw + k];
    }
    dx[ix] += sum;
  });
  for (std::size_t i = 0; i < p.dy.size(); ++i) dbias[i % k_count] += p.dy[i];

  CHECK(gap(p.forward(false, Activation::none), y) < 2e-6);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = std::max(0.0, y[i] + p.bias[i % k_count]);
  CHECK(gap(p.forward(true, Activation::relu), y) < 2e-6);
  for (double& v : y) v = std::min(v, 6.0);
  CHECK(gap(p.forward(true, Activation::relu6), y) < 2e-5);  // the largest output is 6, the sums are not
  CHECK(gap(p.backward_input(), dx) < 2e-6);
  CHECK(gap(p.backward_weight(), dweight) < 4e-6);
  CHECK(gap(p.backward_bias(), dbias) < 4e-6);
}

}  // namespace

TEST_CASE("conv2d kernels: a case worked out by hand", "[kernels][conv2d]") {
  //        x           weight        padded by one, rate 2: the taps of output (0, 0) lie on
  //     1  2  3        1  10         (-1,-1) (-1, 1)
  //     4  5  6      100 1000        ( 1,-1) ( 1, 1)    so that only 5 * 1000 is inside
  const Conv2dDims d = kernels::with_output_size({.batch = 1,
                                                  .in_h = 2,
                                                  .in_w = 3,
                                                  .in_channels = 1,
                                                  .out_channels = 1,
                                                  .window_h = 2,
                                                  .window_w = 2,
                                                  .padding = 1,
                                                  .rate = 2});
  REQUIRE((d.out_h == 2 && d.out_w == 3));
  const std::vector<double> x = {1, 2, 3, 4, 5, 6}, weight = {1, 10, 100, 1000};
  Result<double> y(6);
  kernels::conv2d_forward<double>({}, d, x, weight, {}, {}, y.span());
  CHECK(std::vector<double>(y.values.begin(), y.values.begin() + 6) ==
        std::vector<double>{5000, 6400, 500, 20, 31, 2});
}

namespace {

// activation(y + residual) by the kernels of single steps.
template <class T>
std::vector<T> finished(std::vector<T> y, const std::vector<T>& residual, Activation activation) {
  const Span<const T> from = y;
  if (!residual.empty()) kernels::add_forward<T>({}, from, residual, y);
  if (activation == Activation::relu) kernels::relu_forward<T>({}, from, y);
  if (activation == Activation::relu6) kernels::relu6_forward<T>({}, from, y);
  if (activation == Activation::hard_swish) kernels::hard_swish_forward<T>({}, from, y);
  return y;
}

template <class T>
void check_endings(const Conv2dDims& sizes) {
  using A = Accumulator<T>;
  Problem<T> p(kernels::with_output_size(sizes));
  for (T& w : p.weight) w = T(float(w) * 4);  // outputs beyond 6 and below -3
  INFO(dtype_name(dtype_of<T>()) << ", x " << p.d.in_h << 'x' << p.d.in_w << 'x' << p.d.in_channels << " to "
                                 << p.d.out_channels << ", rate " << p.d.rate);
  const std::vector<T> y = p.forward(true, Activation::none);
  const std::vector<T> residual = random_values<T>(std::int64_t(y.size()), 9), none;
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::hard_swish})
    for (const std::vector<T>& added : {none, residual}) {
      // In bf16 the steps one after the other round between them.
      if (std::is_same_v<T, bf16> && added.empty() && activation == Activation::hard_swish) continue;
      Result<T> scratch(kernels::conv2d_forward_workspace_size<T>(p.d)), out(std::int64_t(y.size()));
      kernels::conv2d_forward<T>({}, p.d, p.x, p.weight, {p.bias, activation, added}, scratch.span(),
                                 out.span());
      CHECK((scratch.intact() && out.intact()));
      std::vector<T> wanted = finished(y, added, activation);
      if (std::is_same_v<T, bf16> && !added.empty()) {  // the sum with the residual is not rounded by itself
        for (std::size_t i = 0; i < wanted.size(); ++i)
          wanted[i] = T(kernels::activate(activation, A(y[i]) + A(added[i])));
      }
      CHECK(std::equal(wanted.begin(), wanted.end(), out.values.begin(),
                       [](T a, T b) { return A(a) == A(b); }));
    }
}

// Written as channels [5, 5 + out_channels) of a concatenation: the same bits, and nothing beside them.
template <class T>
void check_slice(const Conv2dDims& sizes) {
  const Problem<T> p(kernels::with_output_size(sizes));
  const std::vector<T> own = p.forward(true, Activation::relu);
  const std::int64_t channels = p.d.out_channels, all = channels + 11, begin = 5;
  Result<T> scratch(kernels::conv2d_forward_workspace_size<T>(p.d)), y(p.d.out_pixels() * all);
  std::fill(y.values.begin(), y.values.end(), T(kGuard));
  kernels::Conv2dEpilogue<T> end{p.bias, Activation::relu};
  end.y_channels = all;
  kernels::conv2d_forward<T>({}, p.d, p.x, p.weight, end, scratch.span(),
                             y.span().part(begin, y.size - begin));
  CHECK((scratch.intact() && y.intact()));
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < y.size; ++i) {
    const std::int64_t k = i % all - begin;
    const T wanted = k >= 0 && k < channels ? own[std::size_t(i / all * channels + k)] : T(kGuard);
    wrong += float(y.values[std::size_t(i)]) != float(wanted);
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("conv2d kernels: residual, activation and place at the end are the steps one after the other",
          "[kernels][conv2d]") {
  const Conv2dDims in_place{.batch = 2,
                            .in_h = 7,
                            .in_w = 9,
                            .in_channels = 19,
                            .out_channels = 37,
                            .window_h = 3,
                            .window_w = 2,
                            .stride = 2,
                            .padding = 1};
  Conv2dDims pointwise = in_place, direct = in_place;
  pointwise.window_h = pointwise.window_w = 1;
  pointwise.stride = 1;
  pointwise.padding = 0;
  pointwise.out_channels = 53;  // a last panel of one vector and a half
  direct.rate = 2;
  Conv2dDims windows = direct;  // of few channels
  windows.in_channels = 3;
  const Conv2dDims winograd{.batch = 1,
                            .in_h = 13,
                            .in_w = 15,
                            .in_channels = 64,
                            .out_channels = 67,
                            .window_h = 3,
                            .window_w = 3,
                            .padding = 2,
                            .rate = 2};
  for (const Conv2dDims& d : {in_place, pointwise, direct, windows, winograd}) {
    check_endings<float>(d);
    check_endings<double>(d);
    check_endings<bf16>(d);
    check_slice<float>(d);
    check_slice<double>(d);
    check_slice<bf16>(d);
  }
}

TEST_CASE("conv2d kernels: which sizes share packed weights", "[kernels][conv2d]") {
  const auto sized = [](std::int64_t h, std::int64_t w, std::int64_t rate) {
    return kernels::with_output_size({.batch = 1,
                                      .in_h = h,
                                      .in_w = w,
                                      .in_channels = 256,
                                      .out_channels = 256,
                                      .window_h = 3,
                                      .window_w = 3,
                                      .padding = rate,
                                      .rate = rate});
  };
  const auto same = [](const Conv2dDims& a, const Conv2dDims& b) {
    return kernels::conv2d_same_packing<float>(a, b);
  };
  CHECK(same(sized(33, 33, 1), sized(33, 33, 1)));
  CHECK(same(sized(65, 65, 2), sized(65, 65, 2)));
  CHECK(same(sized(64, 64, 1), sized(65, 65, 1)));
  CHECK_FALSE(same(sized(65, 65, 1), sized(65, 65, 36)));  // patches of 4 outputs; of 1 and 2
  Conv2dDims exact = sized(65, 65, 1);
  exact.exact = true;
  CHECK_FALSE(same(exact, sized(65, 65, 1)));
  Conv2dDims other = sized(9, 200, 1);
  other.exact = true;
  CHECK(same(exact, other));
  // Weights packed for one size give the bits of the other's own.
  const Conv2dDims a = sized(17, 33, 1), b = sized(33, 17, 1);
  REQUIRE(same(a, b));
  const Problem<float> p(b);
  Result<float> packed(kernels::conv2d_packed_weight_size<float>(a)), y(std::int64_t(p.dy.size())),
      scratch(kernels::conv2d_forward_packed_workspace_size<float>(b));
  kernels::conv2d_pack_weight<float>({}, a, p.weight, packed.span());
  kernels::conv2d_forward_packed<float>({}, b, p.x, packed.span(), {p.bias, Activation::relu}, scratch.span(),
                                        y.span());
  const std::vector<float> own = p.forward(true, Activation::relu);
  CHECK(std::equal(own.begin(), own.end(), y.values.begin()));
}

TEST_CASE("conv2d kernels: packed weights give the same bits", "[kernels][conv2d]") {
  for (const std::int64_t channels : {3, 40}) {
    const Problem<float> p(kernels::with_output_size({.batch = 2,
                                                      .in_h = 7,
                                                      .in_w = 9,
                                                      .in_channels = channels,
                                                      .out_channels = 35,
                                                      .window_h = 3,
                                                      .window_w = 3,
                                                      .padding = 2,
                                                      .rate = 2}));
    Result<float> packed(kernels::conv2d_packed_weight_size<float>(p.d)), y(std::int64_t(p.dy.size())),
        scratch(kernels::conv2d_forward_packed_workspace_size<float>(p.d));
    kernels::conv2d_pack_weight<float>({}, p.d, p.weight, packed.span());
    kernels::conv2d_forward_packed<float>({}, p.d, p.x, packed.span(), {p.bias, Activation::relu},
                                          scratch.span(), y.span());
    CHECK((packed.intact() && scratch.intact() && y.intact()));
    CHECK(std::vector<float>(y.values.begin(), y.values.begin() + y.size) ==
          p.forward(true, Activation::relu));
  }
}

TEST_CASE("conv2d kernels: sizes around the register tiles", "[kernels][conv2d]") {
  const std::int64_t channels = GENERATE(1, 3, 8, 15, 17, 32, 33, 49),
                     out_channels = GENERATE(1, 7, 16, 31, 48, 65);
  check_all({.batch = 2,
             .in_h = 5,
             .in_w = 9,
             .in_channels = channels,
             .out_channels = out_channels,
             .window_h = 1,
             .window_w = 1});
  check_all({.batch = 1,
             .in_h = 7,
             .in_w = 6,
             .in_channels = channels,
             .out_channels = out_channels,
             .window_h = 3,
             .window_w = 3,
             .padding = 1});
}

TEST_CASE("conv2d kernels: strides, rates and paddings", "[kernels][conv2d]") {
  const PerAxis stride = GENERATE(PerAxis(1), PerAxis(2), PerAxis(3, 1));
  const PerAxis rate = GENERATE(PerAxis(1), PerAxis(2), PerAxis(1, 4), PerAxis(12));
  const Padding padding = GENERATE(Padding(12), Padding(12, 11, 13, 9));
  check_all({.batch = 1,
             .in_h = 9,
             .in_w = 11,
             .in_channels = 5,
             .out_channels = 18,
             .window_h = 3,
             .window_w = 3,
             .stride = stride,
             .padding = padding,
             .rate = rate});
}

TEST_CASE("conv2d kernels: windows of other sizes", "[kernels][conv2d]") {
  const std::int64_t taps = GENERATE(2, 4, 5, 7);
  for (const std::int64_t stride : {1, 2, 4})
    check_all({.batch = 2,
               .in_h = 13,
               .in_w = 8,
               .in_channels = 3,
               .out_channels = 20,
               .window_h = taps,
               .window_w = taps,
               .stride = stride,
               .padding = taps / 2});
}

TEST_CASE("conv2d kernels: reductions longer than a block", "[kernels][conv2d]") {
  check_all({.batch = 1, .in_h = 5, .in_w = 5, .in_channels = 700, .out_channels = 40});
  check_all({.batch = 1,
             .in_h = 6,
             .in_w = 4,
             .in_channels = 330,
             .out_channels = 290,
             .window_h = 3,
             .window_w = 3,
             .padding = 1});
  check_all({.batch = 3, .in_h = 65, .in_w = 33, .in_channels = 9, .out_channels = 20});
  check_all({.batch = 1,
             .in_h = 257,
             .in_w = 31,
             .in_channels = 3,
             .out_channels = 16,
             .window_h = 3,
             .window_w = 3,
             .stride = 2,
             .padding = 1});
}

TEST_CASE("conv2d kernels: short sums are read in place, at every edge of their tiles", "[kernels][conv2d]") {
  using kernels::Gather;
  using kernels::reads_in_place;
  const auto sized = [](Conv2dDims d) { return kernels::with_output_size(d); };
  const Conv2dDims pointwise =
      sized({.batch = 1, .in_h = 33, .in_w = 33, .in_channels = 960, .out_channels = 160});
  CHECK((reads_in_place(Gather::forward, pointwise) && reads_in_place(Gather::backward_input, pointwise)));
  Conv2dDims stem = {.batch = 1, .in_h = 33, .in_w = 65, .in_channels = 3, .out_channels = 32};
  stem.window_h = stem.window_w = 3, stem.padding = 1, stem.stride = 2;
  CHECK(reads_in_place(Gather::forward, sized(stem)));
  CHECK(reads_in_place(Gather::backward_input, sized(stem)));
  stem.rate = 2;  // taps do not lie side by side
  CHECK_FALSE(reads_in_place(Gather::forward, sized(stem)));
  CHECK_FALSE(reads_in_place(Gather::backward_input, sized(stem)));
  CHECK_FALSE(reads_in_place(
      Gather::forward, sized({.batch = 1, .in_h = 9, .in_w = 9, .in_channels = 3000, .out_channels = 8})));

  // Tiles of every height; last panels of half a vector, of one and a half and of two.
  for (const std::int64_t width : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 28, 29})
    for (const std::int64_t columns : {33, 24, 25})
      check_all({.batch = 2,
                 .in_h = 3,
                 .in_w = width + 1,
                 .in_channels = 4,
                 .out_channels = columns,
                 .window_h = 3,
                 .window_w = 2,
                 .padding = {2, 0, 2, 0}});
  // Tiles that go together, in one panel of weights and in several.
  check_all({.batch = 1, .in_h = 1, .in_w = 700, .in_channels = 7, .out_channels = 20});
  check_all({.batch = 2, .in_h = 3, .in_w = 270, .in_channels = 20, .out_channels = 80, .stride = {1, 2}});
  // Pixels that fall into one set of the cache, weights beyond the L2 cache, strides.
  check_all({.batch = 1, .in_h = 1, .in_w = 31, .in_channels = 1024, .out_channels = 40});
  check_all({.batch = 1, .in_h = 5, .in_w = 29, .in_channels = 512, .out_channels = 20, .stride = 2});
  check_all({.batch = 1, .in_h = 7, .in_w = 11, .in_channels = 600, .out_channels = 470});
}

TEST_CASE("conv2d kernels: the gradient of a stride is read in place, phase by phase", "[kernels][conv2d]") {
  const std::int64_t window = GENERATE(1, 2, 3, 4, 5), out_channels = GENERATE(3, 21, 40);
  for (const PerAxis stride : {PerAxis(2), PerAxis(3, 2), PerAxis(5, 1)})
    for (const Padding& padding : {Padding(0), Padding(1), Padding(0, 2, 3, 1)}) {
      const Conv2dDims d{.batch = 2,
                         .in_h = 9,
                         .in_w = 37,
                         .in_channels = 18,
                         .out_channels = out_channels,
                         .window_h = window,
                         .window_w = window,
                         .stride = stride,
                         .padding = padding};
      CHECK(kernels::reads_in_place(kernels::Gather::backward_input, kernels::with_output_size(d)));
      check_all(d);
    }
}

TEST_CASE("conv2d kernels: results written past the cache have the bits of others", "[kernels][conv2d]") {
  // 15 MiB each, which begin on a line and, to compare, beside one.
  const Problem<float> pointwise(kernels::with_output_size(
      {.batch = 1, .in_h = 251, .in_w = 331, .in_channels = 3, .out_channels = 48}));
  const Problem<float> strided(kernels::with_output_size({.batch = 1,
                                                          .in_h = 601,
                                                          .in_w = 401,
                                                          .in_channels = 16,
                                                          .out_channels = 2,
                                                          .window_h = 3,
                                                          .window_w = 3,
                                                          .stride = 2,
                                                          .padding = 1}));
  const std::vector<float> residual = random_values<float>(std::int64_t(pointwise.dy.size()), 9);
  std::vector<float> memory(std::max(residual.size(), strided.x.size()) + 32);
  const auto at = [&](std::int64_t size, std::uintptr_t beside) {
    float* begin = memory.data();
    while (std::uintptr_t(begin) % 64 != beside) ++begin;
    return Span<float>(begin, size);
  };
  std::vector<std::vector<float>> y, dx;
  for (const std::uintptr_t beside : {0, 4}) {
    Span<float> to = at(std::int64_t(residual.size()), beside);
    REQUIRE(kernels::leaves_cache(to) == (beside == 0));
    Result<float> scratch(kernels::conv2d_forward_workspace_size<float>(pointwise.d)),
        scratch_dx(kernels::conv2d_backward_input_workspace_size<float>(strided.d));
    kernels::conv2d_forward<float>({}, pointwise.d, pointwise.x, pointwise.weight,
                                   {pointwise.bias, Activation::relu6, residual}, scratch.span(), to);
    y.emplace_back(to.begin(), to.end());
    to = at(std::int64_t(strided.x.size()), beside);
    REQUIRE(kernels::leaves_cache(to) == (beside == 0));
    kernels::conv2d_backward_input<float>({}, strided.d, strided.dy, strided.weight, scratch_dx.span(), to);
    dx.emplace_back(to.begin(), to.end());
  }
  CHECK(y[0] == y[1]);
  CHECK(dx[0] == dx[1]);
  CHECK(y[0] == finished(pointwise.forward(true, Activation::none), residual, Activation::relu6));
  CHECK(dx[0] == strided.backward_input());
}

TEST_CASE("conv2d kernels: short sums have the same bits for every number of threads", "[kernels][conv2d]") {
  for (const std::int64_t taps : {1, 3}) {
    const Problem<float> p(kernels::with_output_size({.batch = 3,
                                                      .in_h = 9,
                                                      .in_w = 19,
                                                      .in_channels = 5,
                                                      .out_channels = 35,
                                                      .window_h = taps,
                                                      .window_w = taps,
                                                      .padding = taps / 2}));
    REQUIRE(kernels::reads_in_place(kernels::Gather::forward, p.d));
    Conv2dDims strided = p.d;
    strided.stride = 2;
    const Problem<float> upwards(kernels::with_output_size(strided));
    REQUIRE(kernels::reads_in_place(kernels::Gather::backward_input, upwards.d));
    std::vector<std::vector<float>> y, dx;
    for (const int team : {1, 2, 3, 7}) {
      const ThreadsScope scope(team);
      y.push_back(p.forward(true, Activation::relu));
      dx.push_back(upwards.backward_input());
    }
    for (const auto& other : y) CHECK(other == y[0]);
    for (const auto& other : dx) CHECK(other == dx[0]);
  }
  // Enough to be handed out in pieces: of one line, of an odd number of segments.
  for (const std::int64_t taps : {1, 3}) {
    const Problem<float> p(kernels::with_output_size({.batch = 1,
                                                      .in_h = 9,
                                                      .in_w = 630 / (taps * taps),
                                                      .in_channels = 40,
                                                      .out_channels = 60,
                                                      .window_h = taps,
                                                      .window_w = taps,
                                                      .padding = taps / 2}));
    REQUIRE(kernels::reads_in_place(kernels::Gather::forward, p.d));
    std::vector<std::vector<float>> y;
    for (const int team : {1, 2, 3, 7}) {
      const ThreadsScope scope(team);
      y.push_back(p.forward(true, Activation::none));
      CHECK(y.back() == y[0]);
    }
  }
}

}  // namespace atrous::tests
