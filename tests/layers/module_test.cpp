#include <cmath>

#include "atrous/autograd/elementwise.h"
#include "atrous/core/error.h"
#include "atrous/core/parallel.h"
#include "atrous/layers/conv_bn.h"
#include "atrous/layers/sequential.h"
#include "tests/support/catch.h"

namespace atrous::layers {
namespace {

constexpr BatchNormConstants kConstants{.epsilon = 1e-5};

struct Pair : Module {
  ConvBn first{{.in_channels = 3, .out_channels = 4, .taps = 3}, Activation::relu, kConstants};
  Conv2d second{{.in_channels = 4, .out_channels = 2}};
  Pair() {
    add_child("first", first);
    add_child("second", second);
  }
  void name_again(const std::string& name) { add_child(name, second); }
};

std::vector<std::string> parameter_names(const Module& m) {
  std::vector<std::string> names;
  for (const Parameter& p : m.named_parameters()) names.push_back(p.name);
  return names;
}

Tensor value_of(const Module& m, const std::string& name) {
  for (const Parameter& p : m.named_parameters())
    if (p.name == name) return p.variable.value();
  return {};
}

// Mean and deviation.
std::pair<double, double> moments(const Tensor& t) {
  double sum = 0, squares = 0;
  const Span<const float> v = t.span<float>();
  for (const float x : v) {
    sum += x;
    squares += double(x) * x;
  }
  const double mean = sum / double(v.size());
  return {mean, std::sqrt(squares / double(v.size()) - mean * mean)};
}

}  // namespace

TEST_CASE("module: parameters and buffers have dotted names", "[layers][module]") {
  Pair pair;
  CHECK(parameter_names(pair) == std::vector<std::string>{"first.weight", "first.bn.gamma", "first.bn.beta",
                                                          "second.weight", "second.bias"});
  const auto buffers = pair.named_buffers();
  REQUIRE(buffers.size() == 2);
  CHECK(buffers[0].name == "first.bn.running_mean");
  CHECK(buffers[1].name == "first.bn.running_var");
  CHECK(pair.parameter_count() == 3 * 3 * 3 * 4 + 8 + 4 * 2 + 2);
}

TEST_CASE("module: parameters know what they are for", "[layers][module]") {
  SeparableConvBn layer({.in_channels = 3, .out_channels = 5, .taps = 3}, Activation::relu, kConstants);
  std::vector<ParameterKind> kinds;
  for (const Parameter& p : layer.named_parameters()) kinds.push_back(p.kind);
  using K = ParameterKind;
  CHECK(kinds == std::vector<K>{K::depthwise_weight, K::batch_norm, K::batch_norm, K::conv_weight,
                                K::batch_norm, K::batch_norm});
}

TEST_CASE("module: a name that is taken, empty or dotted is refused", "[layers][module]") {
  Pair pair;
  CHECK_THROWS_AS(pair.name_again("first"), ValueError);
  CHECK_THROWS_AS(pair.name_again(""), ValueError);
  CHECK_THROWS_AS(pair.name_again("a.b"), ValueError);
  CHECK_NOTHROW(pair.name_again("third"));
}

TEST_CASE("module: the mode reaches the whole tree", "[layers][module]") {
  Pair pair;
  CHECK(pair.first.bn().training());
  pair.eval();
  CHECK_FALSE(pair.first.bn().training());
  CHECK_FALSE(pair.second.training());
  pair.train();
  CHECK(pair.first.bn().training());
  CHECK_FALSE(pair.first.bn().frozen());
  pair.freeze_batch_norm();
  CHECK(pair.first.bn().frozen());
  pair.freeze_batch_norm(false);
  CHECK_FALSE(pair.first.bn().frozen());
}

TEST_CASE("module: zero_grad forgets every gradient", "[layers][module]") {
  Pair pair;
  for (Parameter& p : pair.named_parameters()) p.variable.set_grad(Tensor::zeros(p.variable.shape()));
  pair.zero_grad();
  for (const Parameter& p : pair.named_parameters()) CHECK_FALSE(p.variable.grad().defined());
}

TEST_CASE("module: to() converts parameters and statistics", "[layers][module]") {
  Pair pair;
  pair.initialise(3);
  const Tensor before = value_of(pair, "first.weight").clone();
  pair.to(Dtype::f64);
  for (const Parameter& p : pair.named_parameters()) {
    CHECK(p.variable.dtype() == Dtype::f64);
    CHECK(p.variable.requires_grad());
  }
  for (const Buffer& b : pair.named_buffers()) CHECK(b.tensor->dtype() == Dtype::f64);
  CHECK(identical(value_of(pair, "first.weight").to(Dtype::f32), before));
}

TEST_CASE("initialise: numbers depend on seed and name alone", "[layers][init]") {
  Pair a, b;
  a.initialise(7);
  set_threads(1);
  b.initialise(7);
  set_threads(2);
  CHECK(identical(value_of(a, "first.weight"), value_of(b, "first.weight")));
  b.initialise(8);
  CHECK_FALSE(identical(value_of(a, "first.weight"), value_of(b, "first.weight")));
  Tensor x = Tensor::empty({3, 3, 8, 8}), y = Tensor::empty({3, 3, 8, 8});
  initialise(x, Initialiser::he_fan_in(), 7, "one");
  initialise(y, Initialiser::he_fan_in(), 7, "two");
  CHECK_FALSE(identical(x, y));
}

TEST_CASE("initialise: batch norm starts as the identity, biases at 0", "[layers][init]") {
  Pair pair;
  pair.initialise(1);
  CHECK(identical(value_of(pair, "first.bn.gamma"), Tensor::full({4}, 1)));
  CHECK(identical(value_of(pair, "first.bn.beta"), Tensor::zeros({4})));
  CHECK(identical(value_of(pair, "second.bias"), Tensor::zeros({2})));
}

TEST_CASE("initialise: deviations are those of the papers", "[layers][init]") {
  Tensor t = Tensor::empty({3, 3, 64, 128});
  const double fan_in = 9 * 64, fan_out = 9 * 128;
  const auto check = [&](const Initialiser& init, double deviation) {
    initialise(t, init, 11, "weight");
    const auto [mean, sigma] = moments(t);
    CHECK(std::abs(mean) < 0.015 * deviation);
    CHECK(sigma == Approx(deviation).epsilon(0.01));
  };
  check(Initialiser::he_fan_in(), std::sqrt(2 / fan_in));
  check(Initialiser::he_fan_out(), std::sqrt(2 / fan_out));
  check(Initialiser::fan_in_uniform(), std::sqrt(1 / fan_in) / std::sqrt(3.0));
  check(Initialiser::xavier_uniform(), std::sqrt(6 / (fan_in + fan_out)) / std::sqrt(3.0));
  // A normal cut at 2 deviations has 0.8796 of its deviation left.
  check(Initialiser::truncated_normal(0.09), 0.09 * 0.87963);
  float largest = 0;
  for (const float v : t.span<float>()) largest = std::max(largest, std::abs(v));
  CHECK(largest <= 0.18f);
  CHECK(largest > 0.17f);
}

TEST_CASE("initialise: kinds with fans want a convolution's weight", "[layers][init]") {
  Tensor t = Tensor::empty({5});
  CHECK_THROWS_AS(initialise(t, Initialiser::he_fan_in(), 1, "x"), ShapeError);
  CHECK_NOTHROW(initialise(t, Initialiser::truncated_normal(1), 1, "x"));
}

TEST_CASE("sequential: runs its layers in order and names them", "[layers][sequential]") {
  Sequential net;
  net.add<ConvBn>(Conv2dSettings{.in_channels = 3, .out_channels = 4, .taps = 3, .stride = 2},
                  Activation::relu, kConstants);
  net.add_named<Conv2d>("logits", Conv2dSettings{.in_channels = 4, .out_channels = 2});
  net.initialise(1);
  CHECK(parameter_names(net).front() == "0.weight");
  CHECK(parameter_names(net).back() == "logits.bias");
  const Variable y = net.forward(Variable(Tensor::full({2, 7, 9, 3}, 0.5)));
  CHECK(y.shape() == Shape{2, 4, 5, 2});
  const Summary summary = summarise(net, {2, 7, 9, 3});
  REQUIRE(summary.rows.size() == 2);
  CHECK(summary.rows[1].output == y.shape());
  CHECK(summary.rows[0].name == "0");
  CHECK(summary.parameters() == net.parameter_count());
  CHECK(summary.macs() == 2 * 4 * 5 * (27 * 4 + 4 * 2));
  CHECK(summary.table().find("logits") != std::string::npos);
}

}  // namespace atrous::layers
