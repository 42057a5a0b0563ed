#include "atrous/kernels/conv2d/conv2d.h"

#include <cmath>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "tests/cuda/conv_support.h"
#include "tests/support/against_double.h"

namespace atrous::tests {
namespace {

const Device kCuda = kCudaStream.device;

// The kernels on one problem, its inputs on the device.
template <class T>
class Run {
 public:
  explicit Run(const ConvProblem<T>& p) : d_(p.d), x_(p.x), weight_(p.weight), bias_(p.bias), dy_(p.dy) {}

  std::vector<T> forward(bool with_bias, Activation activation, const std::vector<T>& residual = {}) const {
    const OnDevice<T> added(residual);
    return run_on_device<T>(
        kernels::conv2d_forward_workspace_size<T>(d_, kCuda), dy_.size(), [&](auto scratch, auto y) {
          kernels::cuda::conv2d_forward<T>(
              kCudaStream, d_, x_.span(), weight_.span(),
              {with_bias ? bias_.span() : Span<const T>(), activation, added.span()}, scratch, y);
        });
  }
  // y, mean and variance.
  std::tuple<std::vector<T>, std::vector<double>, std::vector<double>> forward_statistics(
      bool with_bias, Activation activation) const {
    OnDevice<double> sums(kernels::conv2d_forward_statistics_sums_size<T>(d_, kCuda)), mean(d_.out_channels),
        var(d_.out_channels);
    std::vector<T> y = run_on_device<T>(kernels::conv2d_forward_statistics_workspace_size<T>(d_, kCuda),
                                        dy_.size(), [&](auto scratch, auto result) {
                                          kernels::cuda::conv2d_forward_statistics<T>(
                                              kCudaStream, d_, x_.span(), weight_.span(),
                                              {with_bias ? bias_.span() : Span<const T>(), activation},
                                              scratch, sums.span(), result, mean.span(), var.span());
                                        });
    CHECK((sums.intact() && mean.intact() && var.intact()));
    return {std::move(y), mean.values(), var.values()};
  }
  std::vector<T> forward_packed() const {
    OnDevice<T> packed(kernels::conv2d_packed_weight_size<T>(d_, kCuda));
    kernels::cuda::conv2d_pack_weight<T>(kCudaStream, d_, weight_.span(), packed.span());
    return run_on_device<T>(
        kernels::conv2d_forward_packed_workspace_size<T>(d_, kCuda), dy_.size(), [&](auto scratch, auto y) {
          kernels::cuda::conv2d_forward_packed<T>(kCudaStream, d_, x_.span(), packed.span(), {}, scratch, y);
        });
  }
  std::vector<T> backward_input() const {
    return run_on_device<T>(
        kernels::conv2d_backward_input_workspace_size<T>(d_, kCuda), x_.size(), [&](auto scratch, auto dx) {
          kernels::cuda::conv2d_backward_input<T>(kCudaStream, d_, dy_.span(), weight_.span(), scratch, dx);
        });
  }
  std::vector<T> backward_weight() const {
    return run_on_device<T>(kernels::conv2d_backward_weight_workspace_size<T>(d_, kCuda), weight_.size(),
                            [&](auto scratch, auto dw) {
                              kernels::cuda::conv2d_backward_weight<T>(kCudaStream, d_, x_.span(), dy_.span(),
                                                                       scratch, dw);
                            });
  }
  std::vector<T> backward_bias() const {
    return run_on_device<T>(kernels::conv2d_backward_bias_workspace_size<T>(d_, kCuda), d_.out_channels,
                            [&](auto scratch, auto db) {
                              kernels::cuda::conv2d_backward_bias<T>(kCudaStream, d_, dy_.span(), scratch,
                                                                     db);
                            });
  }

 private:
  Conv2dDims d_;
  OnDevice<T> x_, weight_, bias_, dy_;
};

// Statistics against two passes in double over the outputs at hand.
template <class T>
void check_statistics(const std::vector<T>& y, const std::vector<double>& mean,
                      const std::vector<double>& var) {
  const std::size_t channels = mean.size(), pixels = y.size() / channels;
  for (std::size_t k = 0; k < channels; ++k) {
    double sum = 0, squares = 0, largest = 0;
    for (std::size_t i = k; i < y.size(); i += channels) sum += number(y[i]);
    const double truth = sum / double(pixels);
    for (std::size_t i = k; i < y.size(); i += channels) {
      const double d = number(y[i]) - truth;
      squares += d * d;
      largest = std::max(largest, std::abs(d));
    }
    INFO("channel " << k);
    // Deviations are summed up in single precision, at most 16 at a time.
    CHECK(std::abs(mean[k] - truth) <= 1e-6 * largest);
    CHECK(std::abs(var[k] - squares / double(pixels)) <= 1e-6 * largest * largest);
  }
}

template <class T>
void check_forward_statistics(const Run<T>& run, const ConvProblem<T>& p, bool with_bias,
                              Activation activation) {
  const auto [y, mean, var] = run.forward_statistics(with_bias, activation);
  CHECK(differing(y, p.forward_truth(with_bias, activation)) == 0);
  check_statistics(y, mean, var);
}

template <class T>
void check(const Conv2dDims& sizes) {
  const ConvProblem<T> p(sizes);
  const Conv2dDims& d = p.d;
  INFO(dtype_name(dtype_of<T>()) << (d.allow_tf32 ? " as tf32" : "") << ", x " << d.batch << 'x' << d.in_h
                                 << 'x' << d.in_w << 'x' << d.in_channels << ", window " << d.window_h << 'x'
                                 << d.window_w << 'x' << d.out_channels << ", stride " << d.stride
                                 << ", rate " << d.rate << ", padding " << d.padding);
  REQUIRE((d.out_h > 0 && d.out_w > 0));
  const Run<T> run(p);
  CHECK(differing(run.forward(false, Activation::none), p.y) == 0);
  CHECK(differing(run.forward(true, Activation::relu), p.forward_truth(true, Activation::relu)) == 0);
  CHECK(differing(run.forward(true, Activation::relu6), p.forward_truth(true, Activation::relu6)) == 0);
  CHECK(differing(run.forward_packed(), p.y) == 0);
  check_forward_statistics(run, p, false, Activation::none);
  check_forward_statistics(run, p, true, Activation::relu6);
  CHECK(differing(run.backward_input(), p.dx) == 0);
  CHECK(differing(run.backward_weight(), p.dweight) == 0);
  CHECK(differing(run.backward_bias(), p.dbias) == 0);
}

void check_all_types(Conv2dDims sizes) {
  check<bf16>(sizes);
  check<float>(sizes);
  check<double>(sizes);
  sizes.allow_tf32 = true;
  check<float>(sizes);
}

}  // namespace

TEST_CASE("conv2d on CUDA: every option gives the formula's sums", "[cuda][conv2d]") {
  SECTION("a 3x3 window at rate 2") {
    check_all_types({.batch = 2,
                     .in_h = 9,
                     .in_w = 7,
                     .in_channels = 64,
                     .out_channels = 72,
                     .window_h = 3,
                     .window_w = 3,
                     .padding = 2,
                     .rate = 2});
  }
  SECTION("strides, rates and paddings that differ by axis and side") {
    check_all_types({.batch = 1,
                     .in_h = 9,
                     .in_w = 11,
                     .in_channels = 16,
                     .out_channels = 24,
                     .window_h = 3,
                     .window_w = 2,
                     .stride = PerAxis(2, 3),
                     .padding = {1, 2, 0, 3},
                     .rate = PerAxis(2, 1)});
  }
  SECTION("a stem: 3 channels, 7x7, stride 2") {
    check_all_types({.batch = 2,
                     .in_h = 13,
                     .in_w = 11,
                     .in_channels = 3,
                     .out_channels = 16,
                     .window_h = 7,
                     .window_w = 7,
                     .stride = 2,
                     .padding = 3});
  }
  SECTION("a classifier: 21 classes, 1x1") {
    check_all_types({.batch = 3, .in_h = 7, .in_w = 9, .in_channels = 40, .out_channels = 21});
  }
  SECTION("more outputs than a tile is wide, more pixels than it is high") {
    check_all_types({.batch = 1,
                     .in_h = 12,
                     .in_w = 13,
                     .in_channels = 8,
                     .out_channels = 136,
                     .window_h = 3,
                     .window_w = 3,
                     .padding = 1});
  }
  SECTION("channels that end within a chunk") {
    check_all_types({.batch = 1,
                     .in_h = 5,
                     .in_w = 6,
                     .in_channels = 70,
                     .out_channels = 67,
                     .window_h = 3,
                     .window_w = 1,
                     .padding = {1, 1, 0, 0}});
  }
  SECTION("a rate beyond the map: the centre tap alone") {
    check_all_types({.batch = 2,
                     .in_h = 5,
                     .in_w = 4,
                     .in_channels = 8,
                     .out_channels = 8,
                     .window_h = 3,
                     .window_w = 3,
                     .padding = 9,
                     .rate = 9});
  }
  SECTION("a window larger than the map") {
    check_all_types({.batch = 1,
                     .in_h = 3,
                     .in_w = 2,
                     .in_channels = 5,
                     .out_channels = 9,
                     .window_h = 9,
                     .window_w = 9,
                     .padding = 4});
  }
  SECTION("outputs that see padding only, and a stride that leaves inputs unread") {
    check_all_types({.batch = 1,
                     .in_h = 7,
                     .in_w = 7,
                     .in_channels = 8,
                     .out_channels = 8,
                     .window_h = 1,
                     .window_w = 1,
                     .stride = 3,
                     .padding = 4});
  }
  SECTION("a rate beyond what the tiled kernels count with: the plain bodies") {
    constexpr std::int64_t kFar = std::int64_t(1) << 30;
    check_all_types({.batch = 2,
                     .in_h = 3,
                     .in_w = 4,
                     .in_channels = 5,
                     .out_channels = 9,
                     .window_h = 2,
                     .window_w = 3,
                     .padding = {kFar, 0, 1, 1},
                     .rate = PerAxis(kFar, 1)});
  }
  SECTION("one pixel, one channel") {
    check_all_types({.batch = 1,
                     .in_h = 1,
                     .in_w = 1,
                     .in_channels = 1,
                     .out_channels = 1,
                     .window_h = 1,
                     .window_w = 1});
  }
}

TEST_CASE("conv2d on CUDA: odd sizes, strides and rates", "[cuda][conv2d]") {
  for (const std::int64_t size : {1, 8, 17})
    for (const std::int64_t stride : {1, 2})
      for (const std::int64_t rate : {1, 3}) {
        const Conv2dDims d{.batch = 1,
                           .in_h = size,
                           .in_w = size + 1,
                           .in_channels = 8,
                           .out_channels = 11,
                           .window_h = 3,
                           .window_w = 3,
                           .stride = stride,
                           .padding = rate,
                           .rate = rate};
        check<bf16>(d);
        check<float>(d);
      }
}

TEST_CASE("conv2d on CUDA: sums long enough to be cut, in the same bits whatever the schedule",
          "[cuda][conv2d]") {
  const auto repeat = [](auto type, bool tf32) {
    using T = decltype(type);
    // 3 rectangles each way; 9 taps of 72 channels, and 720 pixels, are several slices.
    const ConvProblem<T> p({.batch = 4,
                            .in_h = 15,
                            .in_w = 12,
                            .in_channels = 72,
                            .out_channels = 72,
                            .window_h = 3,
                            .window_w = 3,
                            .padding = 4,
                            .rate = 4,
                            .allow_tf32 = tf32});
    REQUIRE(kernels::conv2d_forward_workspace_size<T>(p.d, kCuda) > 0);
    REQUIRE(kernels::conv2d_backward_input_workspace_size<T>(p.d, kCuda) > 0);
    std::vector<double> truth = p.forward_truth(true, Activation::relu);
    const auto [first, first_mean, first_var] = Run<T>(p).forward_statistics(false, Activation::none);
    on_every_schedule([&] {
      const Run<T> run(p);
      CHECK(differing(run.forward(true, Activation::relu), truth) == 0);
      check_forward_statistics(run, p, true, Activation::relu);
      const auto [again, mean, var] = run.forward_statistics(false, Activation::none);
      CHECK((mean == first_mean && var == first_var));
      CHECK(differing(run.backward_input(), p.dx) == 0);
      CHECK(differing(run.backward_weight(), p.dweight) == 0);
      CHECK(differing(run.backward_bias(), p.dbias) == 0);
    });
  };
  repeat(bf16(), false);
  repeat(float(), false);
  repeat(float(), true);
}

TEST_CASE("conv2d on CUDA: several convolutions of one input in one launch", "[cuda][conv2d]") {
  // The branches of a small ASPP: other rates, other numbers of taps inside of the map.
  std::vector<ConvProblem<bf16>> branches;
  for (const std::int64_t rate : {2, 4, 7})
    branches.emplace_back(Conv2dDims{.batch = 2,
                                     .in_h = 9,
                                     .in_w = 9,
                                     .in_channels = 72,
                                     .out_channels = 80,
                                     .window_h = 3,
                                     .window_w = 3,
                                     .padding = rate,
                                     .rate = rate});
  const OnDevice<bf16> x(branches[0].x);
  std::vector<std::unique_ptr<OnDevice<bf16>>> weights, ys;
  std::vector<kernels::GatherProblem<bf16>> problems;
  std::vector<Conv2dDims> dims;
  for (const ConvProblem<bf16>& b : branches) {
    weights.push_back(std::make_unique<OnDevice<bf16>>(b.weight));
    ys.push_back(std::make_unique<OnDevice<bf16>>(std::int64_t(b.y.size())));
    dims.push_back(b.d);
    problems.push_back({kernels::Gather::forward,
                        b.d,
                        x.span(),
                        std::as_const(*weights.back()).span(),
                        {},
                        ys.back()->span()});
  }
  const std::vector<kernels::Gather> directions(3, kernels::Gather::forward);
  const auto schedules = kernels::make_tile_schedules(directions, dims, 2);
  REQUIRE(schedules.size() == 1);
  OnDevice<float> partial(kernels::implicit_gemm_partial_sums(schedules));
  kernels::cuda::implicit_gemm(kCudaStream, problems, partial.span());
  for (std::size_t i = 0; i < branches.size(); ++i) {
    CHECK(differing(ys[i]->values(), branches[i].y) == 0);
    CHECK(ys[i]->intact());
  }
  CHECK(partial.intact());
}

TEST_CASE("conv2d on CUDA: statistics keep a deviation far below the mean", "[cuda][conv2d]") {
  const auto far = [](auto type) {
    using T = decltype(type);
    // Sums are eighths around 0; the bias lifts them to where T has steps of 1/8 (or of 2^-2 for bf16's 64).
    ConvProblem<T> p({.batch = 3,
                      .in_h = 11,
                      .in_w = 13,
                      .in_channels = 8,
                      .out_channels = 24,
                      .window_h = 3,
                      .window_w = 3,
                      .padding = 1});
    for (T& b : p.bias) b = T(sizeof(T) == 2 ? 64.0f : 1048576.0f);
    const auto [y, mean, var] = Run<T>(p).forward_statistics(true, Activation::none);
    check_statistics(y, mean, var);
  };
  far(bf16());
  far(float());
}

TEST_CASE("conv2d on CUDA: a pointwise convolution of many channels keeps cuBLAS, and has statistics",
          "[cuda][conv2d]") {
  check_all_types({.batch = 1, .in_h = 5, .in_w = 6, .in_channels = 264, .out_channels = 9});
}

TEST_CASE("conv2d in bf16 on the CPU, the twin of the CUDA kernels, gives the formula's sums",
          "[cuda][conv2d]") {
  const ConvProblem<bf16> p({.batch = 2,
                             .in_h = 6,
                             .in_w = 5,
                             .in_channels = 9,
                             .out_channels = 35,
                             .window_h = 3,
                             .window_w = 2,
                             .stride = PerAxis(1, 2),
                             .padding = {1, 1, 0, 1},
                             .rate = PerAxis(2, 1)});
  std::vector<bf16> y(p.y.size()), dx(p.x.size()), dweight(p.weight.size()), dbias(p.bias.size());
  kernels::conv2d_forward<bf16>({}, p.d, p.x, p.weight, {p.bias, Activation::relu}, {}, y);
  CHECK(differing(y, p.forward_truth(true, Activation::relu)) == 0);
  kernels::conv2d_backward_input<bf16>({}, p.d, p.dy, p.weight, {}, dx);
  CHECK(differing(dx, p.dx) == 0);
  kernels::conv2d_backward_weight<bf16>({}, p.d, p.x, p.dy, {}, dweight);
  CHECK(differing(dweight, p.dweight) == 0);
  std::vector<bf16> scratch(std::size_t(kernels::conv2d_backward_bias_workspace_size<bf16>(p.d)));
  kernels::conv2d_backward_bias<bf16>({}, p.d, p.dy, scratch, dbias);
  CHECK(differing(dbias, p.dbias) == 0);
}

TEMPLATE_TEST_CASE("conv2d on CUDA: a residual and a hard swish at the end", "[cuda][conv2d]", float, bf16,
                   double) {
  using T = TestType;
  using A = Accumulator<T>;
  const Conv2dDims tiled{.batch = 2,
                         .in_h = 5,
                         .in_w = 6,
                         .in_channels = 16,
                         .out_channels = 24,
                         .window_h = 3,
                         .window_w = 3,
                         .padding = 1};
  Conv2dDims pointwise = tiled;
  pointwise.window_h = pointwise.window_w = 1;
  pointwise.padding = 0;
  for (const Conv2dDims& sizes : {tiled, pointwise}) {
    const ConvProblem<T> p(sizes);
    const std::vector<T> residual = eighths<T>(std::int64_t(p.y.size()), 8);
    const std::vector<double> sums = p.forward_truth(true, Activation::none);
    for (const Activation activation : {Activation::none, Activation::relu6, Activation::hard_swish}) {
      std::vector<T> plain, added;
      for (std::size_t i = 0; i < sums.size(); ++i) {
        plain.push_back(T(kernels::activate(activation, A(sums[i]))));
        added.push_back(T(kernels::activate(activation, A(T(A(sums[i]))) + A(residual[i]))));
      }
      on_every_schedule([&] {
        const Run<T> run(p);
        CHECK(same_bits(run.forward(true, activation), plain));
        CHECK(same_bits(run.forward(true, activation, residual), added));
      });
    }
  }
}

TEMPLATE_TEST_CASE("conv2d on CUDA: exact sums do not depend on the size of the map", "[cuda][conv2d]", float,
                   bf16) {
  using T = TestType;
  // A row of 257 pixels at rate 128: the one in the middle sees three taps, the others two. Of the first 129
  // none sees three, so that sums would be cut into fewer slices; what the first pixel sees is the same.
  Conv2dDims whole = kernels::with_output_size({.batch = 1,
                                                .in_h = 1,
                                                .in_w = 257,
                                                .in_channels = 256,
                                                .out_channels = 8,
                                                .window_w = 3,
                                                .padding = {0, 0, 128, 128},
                                                .rate = 128});
  ConvProblem<T> p(whole);
  Random random(7);
  for (T& v : p.x) v = T(float(random.uniform(-1, 1)));
  for (T& v : p.weight) v = T(float(random.uniform(-1, 1)));
  ConvProblem<T> part = p;
  part.d.in_w = 129;
  part.d = kernels::with_output_size(part.d);
  part.x.resize(std::size_t(129 * 256));
  part.dy.resize(std::size_t(129 * 8));
  const auto first_pixel = [](ConvProblem<T> problem, bool exact) {
    problem.d.exact = exact;
    std::vector<T> y = Run<T>(problem).forward(true, Activation::none);
    y.resize(8);
    return y;
  };
  CHECK(same_bits(first_pixel(p, true), first_pixel(part, true)));
  if (std::is_same_v<T, float>) CHECK_FALSE(same_bits(first_pixel(p, false), first_pixel(part, false)));
}

TEST_CASE("conv2d on CUDA: f32 is exact unless TF32 is allowed", "[cuda][conv2d]") {
  Conv2dDims d = kernels::with_output_size({.batch = 1,
                                            .in_h = 6,
                                            .in_w = 6,
                                            .in_channels = 32,
                                            .out_channels = 16,
                                            .window_h = 3,
                                            .window_w = 3,
                                            .padding = 1});
  const std::vector<float> x = [&] {
    std::vector<float> v(std::size_t(d.in_pixels() * d.in_channels));
    Random random(7);
    for (float& e : v) e = float(random.uniform(-1, 1));
    return v;
  }();
  ConvProblem<float> p(d);
  double scale = 0, exact = 0, rounded = 0;
  std::vector<double> truth(p.y.size());
  for (std::int64_t i = 0; i < d.out_h; ++i)
    for (std::int64_t j = 0; j < d.out_w; ++j)
      for (std::int64_t r = 0; r < 3; ++r)
        for (std::int64_t s = 0; s < 3; ++s) {
          const std::int64_t h = i + r - 1, w = j + s - 1;
          if (h < 0 || h >= d.in_h || w < 0 || w >= d.in_w) continue;
          for (std::int64_t c = 0; c < d.in_channels; ++c)
            for (std::int64_t k = 0; k < d.out_channels; ++k)
              truth[std::size_t((i * d.out_w + j) * d.out_channels + k)] +=
                  double(x[std::size_t((h * d.in_w + w) * d.in_channels + c)]) *
                  double(p.weight[std::size_t(((r * 3 + s) * d.in_channels + c) * d.out_channels + k)]);
        }
  p.x = x;
  const auto y = Run<float>(p).forward(false, Activation::none);
  p.d.allow_tf32 = true;
  const auto y_tf32 = Run<float>(p).forward(false, Activation::none);
  for (std::size_t i = 0; i < truth.size(); ++i) {
    scale = std::max(scale, std::abs(truth[i]));
    exact = std::max(exact, std::abs(double(y[i]) - truth[i]));
    rounded = std::max(rounded, std::abs(double(y_tf32[i]) - truth[i]));
  }
  CHECK(exact < 1e-6 * scale);
  CHECK(rounded < 1e-3 * scale);
  CHECK(rounded > 1e-5 * scale);
}

TEST_CASE("conv2d on CUDA: an empty batch launches nothing", "[cuda][conv2d]") {
  const auto empty = [](auto type) {
    using T = decltype(type);
    const ConvProblem<T> p({.batch = 0,
                            .in_h = 5,
                            .in_w = 5,
                            .in_channels = 8,
                            .out_channels = 8,
                            .window_h = 3,
                            .window_w = 3,
                            .padding = 1});
    const Run<T> run(p);
    CHECK(run.forward(true, Activation::relu).empty());
    CHECK(run.backward_input().empty());
    CHECK(differing(run.backward_weight(), std::vector<double>(p.weight.size())) == 0);
    CHECK(differing(run.backward_bias(), std::vector<double>(8)) == 0);
  };
  empty(bf16());
  empty(float());
  empty(double());
}

}  // namespace atrous::tests
