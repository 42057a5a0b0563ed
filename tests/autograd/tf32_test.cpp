#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "atrous/autograd/conv2d_branches.h"
#include "atrous/autograd/conv_transpose2d.h"
#include "atrous/autograd/separable_conv2d.h"
#include "atrous/core/memory.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

// Operations that may round f32 factors to TF32 (allow_tf32), forward and backward on the first CUDA device,
// against the bound of conv2d_options.h. Under the emulator there is such a device; elsewhere this is
// skipped, visibly.

namespace atrous::tests {
namespace {

constexpr Device kCuda{DeviceType::cuda, 0};

struct Row {
  std::string name;
  std::vector<Shape> inputs;
  std::function<Variable(const std::vector<Variable>&, bool tf32)> call;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all{
      {"conv2d 3x3, rate 2, on the tensor cores",
       {{2, 9, 8, 40}, {3, 3, 40, 24}, {24}},
       [](const auto& in, bool tf32) {
         return conv2d(in[0], in[1], in[2], {.padding = 2, .rate = 2, .allow_tf32 = tf32});
       }},
      {"conv2d 3x3, stride 2, channels that fill no vector",
       {{1, 9, 7, 19}, {3, 3, 19, 5}},
       [](const auto& in, bool tf32) {
         return conv2d(in[0], in[1], {}, {.stride = 2, .padding = 1, .allow_tf32 = tf32});
       }},
      {"conv2d 1x1, by the matrix product",
       {{2, 5, 7, 24}, {1, 1, 24, 12}, {12}},
       [](const auto& in, bool tf32) { return conv2d(in[0], in[1], in[2], {.allow_tf32 = tf32}); }},
      {"conv2d_branches",
       {{1, 8, 9, 32}, {1, 1, 32, 8}, {3, 3, 32, 8}},
       [](const auto& in, bool tf32) {
         return conv2d_branches(in[0], {in[1], in[2]},
                                {{.allow_tf32 = tf32}, {.padding = 3, .rate = 3, .allow_tf32 = tf32}});
       }},
      {"conv_transpose2d 4x4, stride 2",
       {{1, 5, 6, 20}, {4, 4, 12, 20}},
       [](const auto& in, bool tf32) {
         return conv_transpose2d(in[0], in[1], {}, {.stride = 2, .padding = 1, .allow_tf32 = tf32});
       }},
      {"separable_conv2d 3x3",
       {{1, 7, 8, 16}, {3, 3, 16, 1}, {1, 1, 16, 24}},
       [](const auto& in, bool tf32) {
         return separable_conv2d(in[0], in[1], in[2], {}, {.padding = 1, .allow_tf32 = tf32});
       }},
  };
  return all;
}

// Output and gradients in `dtype`, from the row's numbers or their absolute values: all of these operations
// and their gradients are sums of products of their inputs, so the latter are sums of the products' sizes.
std::vector<Reference> run(const Row& row, Dtype dtype, Device device, bool tf32, bool sizes) {
  const auto input = [&](const Tensor& drawn) {
    Reference values(drawn);
    if (sizes)
      for (double& v : values.values) v = std::abs(v);
    Tensor t = Tensor::empty(drawn.shape(), Dtype::f64);
    std::copy(values.values.begin(), values.values.end(), t.span<double>().begin());
    return t.to(dtype).to(device);
  };
  OpCase drawn{.op = Op::conv2d, .name = row.name, .inputs = {}, .call = {}, .reference = {}};
  for (const Shape& shape : row.inputs) drawn.inputs.push_back({"x", shape});
  std::vector<Variable> inputs;
  for (std::size_t k = 0; k < row.inputs.size(); ++k)
    inputs.emplace_back(input(draw_input(drawn, int(k), Dtype::f32)), true);
  const Variable y = row.call(inputs, tf32);
  y.backward(input(loss_weights(Tensor::empty(y.shape(), Dtype::f32))));
  std::vector<Reference> results{Reference(y.value())};
  for (const Variable& v : inputs) results.emplace_back(v.grad());
  return results;
}

// The largest error of an element, as a share of the sum of its products' sizes.
double worst(const Reference& got, const Reference& truth, const Reference& sizes) {
  REQUIRE(got.shape == truth.shape);
  double share = 0;
  for (std::size_t i = 0; i < truth.values.size(); ++i) {
    const double d = std::abs(got.values[i] - truth.values[i]);
    if (sizes.values[i] > 0) share = std::max(share, d / sizes.values[i]);
    if (sizes.values[i] == 0) CHECK(d == 0);
  }
  return share;
}

}  // namespace

TEST_CASE("tf32: an element errs by at most 2^-10 of its products' sizes, forward and backward",
          "[autograd][cuda]") {
  if (cuda_device_count() == 0) {
    WARN("no CUDA device: skipped");
    return;
  }
  for (const Row& row : rows()) {
    const auto truth = run(row, Dtype::f64, kCpu, false, false),
               sizes = run(row, Dtype::f64, kCpu, false, true);
    const auto exact = run(row, Dtype::f32, kCuda, false, false),
               tf32 = run(row, Dtype::f32, kCuda, true, false);
    REQUIRE(tf32.size() == truth.size());
    for (std::size_t i = 0; i < truth.size(); ++i) {
      INFO(row.name << (i ? ", gradient " : ", output ") << i);
      // Two factors rounded to 11 bits, and sums in f32.
      CHECK(worst(tf32[i], truth[i], sizes[i]) <= std::ldexp(1.0, -10) + 1e-6);
      CHECK(worst(exact[i], truth[i], sizes[i]) <= 1e-6);
#ifdef ATROUS_CUDA_EMULATED
      // It is used where it was allowed (a device may decide otherwise for small products). A bias's gradient
      // has no products, and the depthwise part of a separable convolution reads no rounded factor but dy's.
      const bool products = row.inputs[i > 0 ? i - 1 : 0].rank() == 4;
      if (products) CHECK(worst(tf32[i], truth[i], sizes[i]) > 1e-6);
#endif
    }
  }
}

}  // namespace atrous::tests
