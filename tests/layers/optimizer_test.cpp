#include <cmath>
#include <limits>

#include "atrous/core/error.h"
#include "atrous/layers/adamw.h"
#include "atrous/layers/conv_bn.h"
#include "atrous/layers/poly_lr.h"
#include "atrous/layers/sgd.h"
#include "atrous/layers/step_lr.h"
#include "tests/support/catch.h"

namespace atrous::layers {
namespace {

Parameter parameter(const std::string& name, ParameterKind kind, std::vector<double> values) {
  const auto n = std::int64_t(values.size());
  return {name, Variable(Tensor::from({n}, values), true), kind};
}

void set_grad(Parameter& p, std::vector<double> values) {
  p.variable.set_grad(Tensor::from({std::int64_t(values.size())}, values));
}

double element(const Parameter& p, std::int64_t i) { return p.variable.value().span<double>()[i]; }

}  // namespace

TEST_CASE("sgd: two steps by hand", "[layers][optimizer]") {
  auto w = parameter("w", ParameterKind::conv_weight, {1.0, -2.0});
  Sgd sgd({w}, {.lr = 0.1, .momentum = 0.5, .weight_decay = 0.01});
  set_grad(w, {0.2, 0.4});
  CHECK(sgd.step());
  // g = 0.2 + 0.01 * 1 = 0.21, v = 0.21, w = 1 - 0.021
  CHECK(element(w, 0) == Approx(0.979).epsilon(1e-12));
  CHECK(element(w, 1) == Approx(-2.0 - 0.1 * 0.38).epsilon(1e-12));
  sgd.set_lr(0.2);
  CHECK(sgd.step());
  // g = 0.2 + 0.00979, v = 0.105 + 0.20979 = 0.31479, w = 0.979 - 0.2 * 0.31479
  CHECK(element(w, 0) == Approx(0.979 - 0.062958).epsilon(1e-12));
}

TEST_CASE("sgd: nesterov by hand", "[layers][optimizer]") {
  auto w = parameter("w", ParameterKind::bias, {1.0});
  Sgd sgd({w}, {.lr = 0.1, .momentum = 0.9, .nesterov = true});
  set_grad(w, {1.0});
  sgd.step();
  CHECK(element(w, 0) == Approx(1 - 0.1 * 1.9).epsilon(1e-12));
  sgd.step();
  CHECK(element(w, 0) == Approx(1 - 0.19 - 0.1 * (1 + 0.9 * 1.9)).epsilon(1e-12));
}

TEST_CASE("adamw: two steps by hand", "[layers][optimizer]") {
  auto w = parameter("w", ParameterKind::conv_weight, {1.0});
  AdamW adamw({w}, {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .weight_decay = 0.1});
  double value = 1, m = 0, v = 0;
  for (int t = 1; t <= 2; ++t) {
    const double g = t == 1 ? 0.5 : -0.25;
    set_grad(w, {g});
    CHECK(adamw.step());
    m = 0.9 * m + 0.1 * g;
    v = 0.99 * v + 0.01 * g * g;
    const double mt = m / (1 - std::pow(0.9, t)), vt = v / (1 - std::pow(0.99, t));
    value -= 0.1 * (0.1 * value + mt / (std::sqrt(vt) + 1e-8));
    CHECK(element(w, 0) == Approx(value).epsilon(1e-12));
  }
}

TEST_CASE("optimizer: only dense convolutions' weights decay", "[layers][optimizer]") {
  const auto rule = decay_conv_weights(0.5);
  CHECK(rule(parameter("w", ParameterKind::conv_weight, {1})).weight_decay == 0.5);
  CHECK(rule(parameter("w", ParameterKind::depthwise_weight, {1})).weight_decay == 0);
  CHECK(rule(parameter("w", ParameterKind::batch_norm, {1})).weight_decay == 0);
  CHECK(rule(parameter("w", ParameterKind::bias, {1})).weight_decay == 0);
}

TEST_CASE("optimizer: a rule gives parameters their own rates", "[layers][optimizer]") {
  auto a = parameter("head.w", ParameterKind::bias, {0.0}),
       b = parameter("body.w", ParameterKind::bias, {0.0});
  Sgd sgd({a, b}, {.lr = 0.1, .momentum = 0}, [](const Parameter& p) {
    return ParameterSettings{.lr_multiplier = p.name.starts_with("head.") ? 10.0 : 1.0};
  });
  set_grad(a, {1.0});
  set_grad(b, {1.0});
  sgd.step();
  CHECK(element(a, 0) == Approx(-1.0));
  CHECK(element(b, 0) == Approx(-0.1));
}

TEST_CASE("optimizer: a gradient that is not finite stops the whole step", "[layers][optimizer]") {
  const double bad =
      GENERATE(std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
               std::numeric_limits<double>::quiet_NaN());
  auto a = parameter("a", ParameterKind::bias, {1.0, 2.0}),
       b = parameter("b", ParameterKind::bias, {3.0, 4.0});
  Sgd sgd({a, b}, {.lr = 0.1});
  AdamW adamw({a, b}, {.lr = 0.1});
  set_grad(a, {1.0, 1.0});
  set_grad(b, {1.0, bad});
  for (Optimizer* optimizer : std::vector<Optimizer*>{&sgd, &adamw}) {
    NamedState before = optimizer->state();
    for (auto& [name, tensor] : before) tensor = tensor.clone();
    const StepReport report = optimizer->step();
    CHECK_FALSE(report);
    CHECK(report.non_finite == "b");
    CHECK(element(a, 0) == 1.0);
    CHECK(element(b, 0) == 3.0);
    const NamedState after = optimizer->state();
    for (std::size_t i = 0; i < after.size(); ++i) CHECK(identical(after[i].second, before[i].second));
  }
}

TEST_CASE("optimizer: parameters without gradient, or that want none, stay", "[layers][optimizer]") {
  auto a = parameter("a", ParameterKind::bias, {1.0}), b = parameter("b", ParameterKind::bias, {2.0});
  Sgd sgd({a, b}, {.lr = 0.1});
  set_grad(b, {1.0});
  b.variable.set_requires_grad(false);
  CHECK(sgd.step());
  CHECK(element(a, 0) == 1.0);
  CHECK(element(b, 0) == 2.0);
}

TEST_CASE("optimizer: state that is loaded carries on bit for bit", "[layers][optimizer]") {
  const auto run = [](bool resume) {
    auto w = parameter("w", ParameterKind::conv_weight, {1.0, 2.0});
    auto first = std::make_unique<AdamW>(std::vector<Parameter>{w}, AdamWOptions{});
    for (int i = 0; i < 6; ++i) {
      if (i == 3 && resume) {
        auto second = std::make_unique<AdamW>(std::vector<Parameter>{w}, AdamWOptions{});
        second->load_state(first->state());
        first = std::move(second);
      }
      set_grad(w, {0.1 * i, 0.3});
      first->step();
    }
    return w.variable.value().clone();
  };
  CHECK(identical(run(false), run(true)));
}

TEST_CASE("optimizer: in bf16 small steps are not lost, nor over a saved state", "[layers][optimizer]") {
  const bool adam = GENERATE(false, true);
  const auto made = [&](const Parameter& w) -> std::unique_ptr<Optimizer> {
    const std::vector<Parameter> all{w};
    if (adam) return std::make_unique<AdamW>(all, AdamWOptions{.lr = 1e-4});
    return std::make_unique<Sgd>(all, SgdOptions{.lr = 1e-4, .momentum = 0});
  };
  const auto run = [&](Dtype dtype, bool resume) {
    Parameter w{"w", Variable(Tensor::full({2}, 1, dtype), true), ParameterKind::bias};
    auto optimizer = made(w);
    for (int i = 0; i < 100; ++i) {
      if (i == 37 && resume) {
        NamedState saved = optimizer->state();
        for (auto& [name, tensor] : saved) tensor = tensor.clone();
        optimizer = made(w);
        optimizer->load_state(saved);
      }
      w.variable.set_grad(Tensor::full({2}, 1, dtype));
      optimizer->step();
    }
    return w.variable.value().clone();
  };
  // 100 steps of 1e-4 down from 1, each a 40th of what bf16 tells apart there.
  const Tensor bf16_weight = run(Dtype::bf16, false);
  CHECK(bf16_weight.to(Dtype::f32).span<float>()[1] == Approx(0.99).epsilon(1.0 / 512));
  CHECK(identical(bf16_weight, run(Dtype::f32, false).to(Dtype::bf16)));
  CHECK(identical(bf16_weight, run(Dtype::bf16, true)));
}

TEST_CASE("optimizer: the state names masters of bf16 weights alone", "[layers][optimizer]") {
  const auto names = [](Dtype dtype) {
    const Parameter w{"w", Variable(Tensor::full({3}, 1, dtype), true), ParameterKind::bias};
    std::vector<std::string> all;
    for (const auto& [name, tensor] : Sgd({w}, {}).state()) {
      all.push_back(name);
      CHECK(tensor.dtype() == accumulator_dtype(dtype));
    }
    return all;
  };
  CHECK(names(Dtype::f32) == std::vector<std::string>{"momentum.w"});
  CHECK(names(Dtype::f64) == std::vector<std::string>{"momentum.w"});
  CHECK(names(Dtype::bf16) == std::vector<std::string>{"momentum.w", "master.w"});
}

TEST_CASE("optimizer: state of other parameters is refused", "[layers][optimizer]") {
  auto a = parameter("a", ParameterKind::bias, {1.0}), b = parameter("b", ParameterKind::bias, {2.0});
  auto wide = parameter("a", ParameterKind::bias, {1.0, 2.0});
  Sgd sgd({a}, {});
  CHECK_THROWS_AS(sgd.load_state(Sgd({b}, {}).state()), ValueError);
  CHECK_THROWS_AS(sgd.load_state(Sgd({a, b}, {}).state()), ValueError);
  CHECK_THROWS_AS(sgd.load_state(Sgd({wide}, {}).state()), ShapeError);
  CHECK_NOTHROW(sgd.load_state(Sgd({a}, {}).state()));
}

TEST_CASE("poly_lr: from the base to 0", "[layers][optimizer]") {
  CHECK(poly_lr(0.007, 0, 30000) == 0.007);
  CHECK(poly_lr(0.007, 15000, 30000) == Approx(0.007 * std::pow(0.5, 0.9)));
  CHECK(poly_lr(0.007, 30000, 30000) == 0);
  CHECK(poly_lr(1, 3, 4, 1) == Approx(0.25));
  CHECK_THROWS_AS(poly_lr(1, -1, 4), ValueError);
}

TEST_CASE("step_lr: falls by its factor at every so many steps", "[layers][optimizer]") {
  CHECK(step_lr(0.001, 1999, 2000) == 0.001);
  CHECK(step_lr(0.001, 2000, 2000) == Approx(0.0001));
  CHECK(step_lr(0.001, 5999, 2000, 0.5) == Approx(0.00025));
  CHECK_THROWS_AS(step_lr(1, -1, 4), ValueError);
  CHECK_THROWS_AS(step_lr(1, 1, 0), ValueError);
}

}  // namespace atrous::layers
