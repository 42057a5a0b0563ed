#include "atrous/autograd/graph.h"
#include "atrous/core/memory.h"
#include "atrous/layers/conv_bn.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

// A separable convolution in inference on the first CUDA device: one kernel where that pays, and the numbers
// of the two layers either way.

namespace atrous::tests {
namespace {

using layers::Activation;
using layers::ConvBn;

constexpr Device kCuda{DeviceType::cuda, 0};
constexpr layers::BatchNormConstants kConstants{.epsilon = 1e-3};

Tensor drawn(const Shape& shape, std::uint64_t seed) {
  Random random(seed);
  Tensor t = Tensor::empty(shape, Dtype::f32);
  for (float& v : t.span<float>()) v = float(random.normal());
  return t;
}

// Depthwise 3x3 and 1x1 with batch norms that have seen something.
struct Block {
  ConvBn depthwise, pointwise;
  Block(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t rate)
      : depthwise({.in_channels = in,
                   .out_channels = in,
                   .taps = 3,
                   .stride = stride,
                   .rate = rate,
                   .depthwise = true},
                  Activation::relu6, kConstants),
        pointwise({.in_channels = in, .out_channels = out}, Activation::none, kConstants) {
    int seed = 0;
    for (ConvBn* layer : {&depthwise, &pointwise}) {
      layer->initialise(std::uint64_t(++seed));
      for (auto& b : layer->named_buffers()) {
        Tensor& t = *b.tensor;
        for (float& v : t.span<float>())
          v = b.name == "bn.running_var" ? 0.5f + 0.01f * float(++seed % 7) : 0.02f * float(++seed % 5);
      }
      layer->to(Dtype::bf16);
      layer->eval();
    }
  }
  void to(Device device) { depthwise.to(device), pointwise.to(device); }
};

}  // namespace

TEST_CASE("cuda: a separable convolution in inference is one kernel, with the numbers of two",
          "[layers][cuda]") {
  if (cuda_device_count() == 0) {
    WARN("no CUDA device: skipped");
    return;
  }
  struct Row {
    std::int64_t in, out, stride, rate;
    bool residual;
  };
  for (const Row row :
       {Row{24, 24, 1, 1, true}, {16, 40, 2, 1, false}, {32, 136, 1, 2, false}, {12, 16, 1, 1, false}}) {
    INFO(row.in << " to " << row.out << " channels, stride " << row.stride << ", rate " << row.rate);
    Block block(row.in, row.out, row.stride, row.rate);
    const Tensor x = drawn({2, 9, 7, row.in}, 3).to(Dtype::bf16);
    std::int64_t allocations = 0;
    const auto run = [&](Device device) {
      const Variable on(x.to(device)), residual = row.residual ? on : Variable();
      block.to(device);
      const std::int64_t before = memory_stats(device).requests;
      const Variable y = layers::forward_separable(block.depthwise, block.pointwise, on, residual);
      allocations = memory_stats(device).requests - before;
      return y.value().to(kCpu);
    };
    const Tensor recorded = run(kCpu);  // unfolded, layer after layer
    const NoGrad no_grad;
    const Tensor folded = run(kCpu), fused = run(kCuda);
    CHECK(gap(Reference(folded), Reference(recorded)) <= 1.0 / 32);
    CHECK(gap(Reference(fused), Reference(folded)) <= 1.0 / 64);
    // Four folded tensors, y, and y with the residual: nothing lies between the halves, where that pays.
    if (row.in % 8 == 0)
      CHECK(allocations == (row.residual ? 6 : 5));
    else
      CHECK(allocations > 5);
  }
}

}  // namespace atrous::tests
