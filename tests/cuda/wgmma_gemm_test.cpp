#include "atrous/kernels/conv2d/wgmma_gemm.h"

#include <cmath>
#include <memory>
#include <vector>

#include "tests/cuda/conv_support.h"

// The convolution on wgmma, called past the choice between kernels: on the emulator, or on a device of
// compute capability 9.0. Sums of eighths are exact, so results equal the formula's.

namespace atrous::tests {
namespace {

using kernels::Gather;
using kernels::GatherProblem;

bool can_run() {
#ifdef ATROUS_CUDA_EMULATED
  return true;
#else
  cudaDeviceProp properties;
  return cudaGetDeviceProperties(&properties, 0) == cudaSuccess && properties.major == 9 &&
         properties.minor == 0;
#endif
}

struct Tensors {
  explicit Tensors(const ConvProblem<bf16>& p)
      : x(p.x),
        weight(p.weight),
        bias(p.bias),
        input_bias(p.input_bias),
        dy(p.dy),
        y(dy.size()),
        dx(x.size()) {}
  OnDevice<bf16> x, weight, bias, input_bias, dy, y, dx;
};

GatherProblem<bf16> forward(const ConvProblem<bf16>& p, Tensors& on, Activation activation) {
  return {Gather::forward, p.d, on.x.span(), on.weight.span(), {on.bias.span(), activation}, on.y.span()};
}
GatherProblem<bf16> backward(const ConvProblem<bf16>& p, Tensors& on, bool with_bias) {
  return {Gather::backward_input,
          p.d,
          on.dy.span(),
          on.weight.span(),
          {with_bias ? on.input_bias.span() : Span<const bf16>()},
          on.dx.span()};
}

void run(const std::vector<GatherProblem<bf16>>& problems) {
  std::vector<Gather> directions;
  std::vector<Conv2dDims> dims;
  for (const auto& problem : problems) {
    REQUIRE(kernels::can_take_wgmma(problem.direction, problem.dims));
    directions.push_back(problem.direction);
    dims.push_back(problem.dims);
  }
  OnDevice<float> partial(kernels::wgmma_partial_sums(directions, dims));
  kernels::cuda::wgmma_gemm(kCudaStream, problems, partial.span());
  CHECK(partial.intact());
}

void check(const Conv2dDims& sizes) {
  if (!can_run()) return;
  const ConvProblem<bf16> p(sizes);
  INFO("x " << p.d.batch << 'x' << p.d.in_h << 'x' << p.d.in_w << 'x' << p.d.in_channels << ", window "
            << p.d.window_h << 'x' << p.d.window_w << 'x' << p.d.out_channels << ", stride " << p.d.stride
            << ", rate " << p.d.rate << ", padding " << p.d.padding);
  Tensors on(p);
  run({forward(p, on, Activation::relu6)});
  CHECK(differing(on.y.values(), p.forward_truth(true, Activation::relu6)) == 0);
  CHECK(on.y.intact());
  run({backward(p, on, false)});
  CHECK(differing(on.dx.values(), p.dx) == 0);
  CHECK(on.dx.intact());
  // A transposed convolution: the same gather with a bias.
  run({backward(p, on, true)});
  std::vector<double> truth = p.dx;
  for (std::size_t i = 0; i < truth.size(); ++i) truth[i] += number(p.input_bias[i % p.input_bias.size()]);
  CHECK(differing(on.dx.values(), truth) == 0);
}

}  // namespace

TEST_CASE("conv2d on wgmma: taps, padding, tails and strides give the formula's sums", "[cuda][wgmma]") {
  SECTION("a 3x3 window at rate 2, tails of channels and outputs") {
    check({.batch = 2,
           .in_h = 9,
           .in_w = 7,
           .in_channels = 72,
           .out_channels = 136,
           .window_h = 3,
           .window_w = 3,
           .padding = 2,
           .rate = 2});
  }
  SECTION("256 outputs a tile both ways") {
    check({.batch = 1,
           .in_h = 12,
           .in_w = 13,
           .in_channels = 256,
           .out_channels = 208,
           .window_h = 3,
           .window_w = 2,
           .padding = 1});
  }
  SECTION("more outputs than a tile is wide") {
    check({.batch = 1,
           .in_h = 5,
           .in_w = 6,
           .in_channels = 384,
           .out_channels = 264,
           .window_h = 1,
           .window_w = 1});
  }
  SECTION("strides, rates and paddings that differ by axis and side") {
    check({.batch = 1,
           .in_h = 9,
           .in_w = 11,
           .in_channels = 64,
           .out_channels = 128,
           .window_h = 3,
           .window_w = 2,
           .stride = PerAxis(2, 3),
           .padding = {1, 2, 0, 3},
           .rate = PerAxis(2, 1)});
  }
  SECTION("fewer channels than a chunk of the sum, fewer outputs than half a tile") {
    check({.batch = 3,
           .in_h = 7,
           .in_w = 9,
           .in_channels = 8,
           .out_channels = 16,
           .window_h = 2,
           .window_w = 3});
  }
  SECTION("outputs that see padding only, and a stride that leaves inputs unread") {
    check({.batch = 60,
           .in_h = 7,
           .in_w = 7,
           .in_channels = 64,
           .out_channels = 104,
           .window_h = 1,
           .window_w = 1,
           .stride = 3,
           .padding = 4});
  }
  SECTION("a window larger than the map") {
    check({.batch = 1,
           .in_h = 3,
           .in_w = 2,
           .in_channels = 64,
           .out_channels = 72,
           .window_h = 7,
           .window_w = 7,
           .padding = 3});
  }
}

TEST_CASE(
    "conv2d on wgmma: sums cut into slices, blocks with several tiles, in the same bits whatever the "
    "schedule",
    "[cuda][wgmma]") {
  if (!can_run()) return;
  const ConvProblem<bf16> p({.batch = 4,
                             .in_h = 15,
                             .in_w = 12,
                             .in_channels = 128,
                             .out_channels = 128,
                             .window_h = 3,
                             .window_w = 3,
                             .padding = 4,
                             .rate = 4});
  REQUIRE(kernels::wgmma_partial_sums({Gather::forward}, {p.d}) > 0);
  Tensors on(p);
  const std::vector<double> truth = p.forward_truth(true, Activation::relu);
  on_every_schedule([&] {
#ifdef ATROUS_CUDA_EMULATED
    emu::config().multiprocessors = 3;  // each block computes several tiles and slices
#endif
    run({forward(p, on, Activation::relu)});
    CHECK(differing(on.y.values(), truth) == 0);
    run({backward(p, on, false)});
    CHECK(differing(on.dx.values(), p.dx) == 0);
  });
}

TEST_CASE("conv2d on wgmma: several convolutions of one input in one launch", "[cuda][wgmma]") {
  if (!can_run()) return;
  std::vector<ConvProblem<bf16>> branches;
  std::vector<std::unique_ptr<Tensors>> tensors;
  std::vector<GatherProblem<bf16>> problems;
  for (const std::int64_t rate : {2, 4, 7})
    branches.emplace_back(Conv2dDims{.batch = 2,
                                     .in_h = 9,
                                     .in_w = 9,
                                     .in_channels = 64,
                                     .out_channels = 136,
                                     .window_h = 3,
                                     .window_w = 3,
                                     .padding = rate,
                                     .rate = rate});
  for (const auto& branch : branches) {
    tensors.push_back(std::make_unique<Tensors>(branch));
    problems.push_back(forward(branch, *tensors.back(), Activation::none));
  }
  run(problems);
  for (std::size_t i = 0; i < branches.size(); ++i)
    CHECK(differing(tensors[i]->y.values(), branches[i].forward_truth(true, Activation::none)) == 0);
}

TEST_CASE("conv2d on wgmma: tensors that have other channels too", "[cuda][wgmma]") {
  if (!can_run()) return;
  const ConvProblem<bf16> p({.batch = 2,
                             .in_h = 9,
                             .in_w = 8,
                             .in_channels = 72,
                             .out_channels = 136,
                             .window_h = 3,
                             .window_w = 3,
                             .padding = 3,
                             .rate = 3});
  // 16 channels before x's own, 24 behind y's.
  const std::int64_t x_pitch = p.d.in_channels + 16, y_pitch = p.d.out_channels + 24;
  std::vector<bf16> x(std::size_t(p.d.in_pixels() * x_pitch), bf16(NAN));
  for (std::int64_t i = 0; i < std::int64_t(p.x.size()); ++i)
    x[std::size_t(i / p.d.in_channels * x_pitch + 16 + i % p.d.in_channels)] = p.x[std::size_t(i)];
  const OnDevice<bf16> device_x(x), weight(p.weight);
  const std::vector<bf16> before(std::size_t(p.d.out_pixels() * y_pitch), bf16(7.0f));
  OnDevice<bf16> y(before);
  const Span<const bf16> own_x = device_x.span().part(16, device_x.size() - 16);
  run({{.direction = Gather::forward,
        .dims = p.d,
        .source = own_x,
        .weight = weight.span(),
        .epilogue = {},
        .destination = y.span(),
        .source_pitch = x_pitch,
        .destination_pitch = y_pitch}});
  const std::vector<bf16> got = y.values();
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < std::int64_t(got.size()); ++i) {
    const std::int64_t channel = i % y_pitch;
    const double truth =
        channel < p.d.out_channels ? p.y[std::size_t(i / y_pitch * p.d.out_channels + channel)] : 7.0;
    wrong += !same(got[std::size_t(i)], bf16(float(truth)));
  }
  CHECK(wrong == 0);
  CHECK(y.intact());
}

}  // namespace atrous::tests
