#include <vector>

#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/conv_transpose2d.h"
#include "atrous/autograd/graph.h"
#include "atrous/core/factor_rounding.h"
#include "atrous/core/random.h"
#include "atrous/core/stream.h"
#include "atrous/layers/conv_bn.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

// The process's permission to multiply in TF32: what it reaches, and that it is off until asked for. How far
// results may then be off is tf32_test.cpp's.

namespace atrous::tests {
namespace {

constexpr Device kCuda{DeviceType::cuda, 0};

Variable drawn(const Shape& shape, std::uint64_t seed, Device device) {
  Random random(seed);
  Tensor t = Tensor::empty(shape, Dtype::f32);
  for (float& v : t.span<float>()) v = float(random.uniform(-1, 1));
  return Variable(t.to(device), true);
}

// Results and gradients of a dense and of a transposed convolution whose calls say nothing about TF32.
std::vector<Tensor> convolve(Device device) {
  std::vector<Tensor> results;
  const auto keep = [&](const Variable& x, const Variable& w, const Variable& y) {
    y.backward(drawn(y.shape(), 3, device).value());
    for (const Tensor& t : {y.value(), x.grad(), w.grad()}) results.push_back(t.to(kCpu));
  };
  const Variable x = drawn({1, 9, 8, 24}, 1, device), w = drawn({3, 3, 24, 16}, 2, device);
  keep(x, w, conv2d(x, w, {}, {.padding = 2, .rate = 2}));
  const Variable small = drawn({1, 5, 4, 16}, 1, device), wide = drawn({4, 4, 8, 16}, 2, device);
  keep(small, wide, conv_transpose2d(small, wide, {}, {.stride = 2, .padding = 1}));
  return results;
}

}  // namespace

TEST_CASE("tf32 setting: off until it is asked for, and off again behind a scope", "[autograd][tf32]") {
  CHECK_FALSE(tf32_allowed());
  CHECK_FALSE(Conv2dOptions().allow_tf32);
  {
    const Tf32Scope scope(true);
    CHECK(tf32_allowed());
    CHECK(Conv2dOptions().allow_tf32);
    CHECK(ConvTranspose2dOptions().allow_tf32);
    CHECK_FALSE(Conv2dOptions{.allow_tf32 = false}.allow_tf32);  // a call may refuse
  }
  CHECK_FALSE(tf32_allowed());
}

TEST_CASE("tf32 setting: of no effect on the CPU", "[autograd][tf32]") {
  const auto exact = convolve(kCpu);
  const Tf32Scope scope(true);
  const auto allowed = convolve(kCpu);
  for (std::size_t i = 0; i < exact.size(); ++i) CHECK(identical(exact[i], allowed[i]));
}

TEST_CASE("tf32 setting: other bits on CUDA, close by, forward and backward", "[autograd][cuda][tf32]") {
  if (cuda_device_count() == 0) {
    WARN("no CUDA device: skipped");
    return;
  }
  const auto exact = convolve(kCuda);
  const Tf32Scope scope(true);
  const auto rounded = convolve(kCuda);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    CHECK_FALSE(identical(exact[i], rounded[i]));
    CHECK(gap(Reference(rounded[i]), Reference(exact[i])) < 4e-3);
  }
}

TEST_CASE("tf32 setting: reaches the folded convolution and batch norm of inference",
          "[autograd][cuda][tf32]") {
  if (cuda_device_count() == 0) {
    WARN("no CUDA device: skipped");
    return;
  }
  layers::ConvBn layer({.in_channels = 24, .out_channels = 16, .taps = 3}, layers::Activation::relu, {});
  layer.initialise(4);
  layer.to(kCuda);
  layer.eval();
  const NoGrad no_grad;
  const Variable x = drawn({1, 9, 8, 24}, 1, kCuda);
  const Tensor exact = layer.forward(x).value().to(kCpu);
  const Tf32Scope scope(true);
  const Tensor rounded = layer.forward(x).value().to(kCpu);
  CHECK_FALSE(identical(exact, rounded));
  CHECK(gap(Reference(rounded), Reference(exact)) < 4e-3);
}

}  // namespace atrous::tests
