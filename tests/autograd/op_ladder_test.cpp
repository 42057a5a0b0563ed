#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "atrous/autograd/gradcheck.h"
#include "atrous/autograd/graph.h"
#include "atrous/core/memory.h"
#include "atrous/core/parallel.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

// The ladder of trust, run for every row of every <family>_cases.cpp. Each rung is compared with the one
// above it.

namespace atrous::tests {
TEST_CASE("ladder: every operation and every input has a row", "[autograd]") {
  for (const Op op : all_ops()) {
    std::set<std::string> covered;
    for (const OpCase& row : OpCases::all())
      if (row.op == op)
        for (const OpInput& input : row.inputs) covered.insert(input.role);
    for (const std::string& role : op_inputs(op)) {
      INFO(op_name(op) << ", input " << role);
      CHECK(covered.count(role) == 1);
    }
  }
}

TEST_CASE("ladder: gradients agree with finite differences in double", "[autograd]") {
  for (const OpCase& row : OpCases::all()) {
    INFO(row.title());
    const auto inputs = draw_inputs(row, Dtype::f64, true);
    if (!row.call(inputs).requires_grad()) continue;
    const CheckResult result = gradcheck(row.call, inputs, {.tolerance = row.gradcheck_tolerance});
    INFO(result.message << " (worst " << result.worst << ")");
    CHECK(result.passed);
    // Each input by itself: what one gradient needs must not hide behind what another computes.
    for (std::size_t only = 0; only < inputs.size() && inputs.size() > 1; ++only) {
      if (!inputs[only].requires_grad()) continue;
      std::vector<Variable> alone;
      for (std::size_t k = 0; k < inputs.size(); ++k) alone.emplace_back(inputs[k].value(), k == only);
      const CheckResult one =
          gradcheck(row.call, alone, {.tolerance = row.gradcheck_tolerance, .max_entries = 40});
      INFO("input " << row.inputs[only].role << " alone: " << one.message);
      CHECK(one.passed);
    }
  }
}

TEST_CASE("ladder: linear operations and their gradients are adjoint", "[autograd]") {
  for (const OpCase& row : OpCases::all()) {
    if (!row.linear) continue;
    const auto inputs = draw_inputs(row, Dtype::f64, true);
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      if (!inputs[k].requires_grad() || row.inputs[k].role == "bias") continue;
      // With the other additive inputs at zero the function is linear, not affine.
      std::vector<Variable> at_zero;
      for (std::size_t j = 0; j < inputs.size(); ++j)
        at_zero.emplace_back(
            row.inputs[j].role == "bias" ? Tensor::zeros(inputs[j].shape(), Dtype::f64) : inputs[j].value(),
            inputs[j].requires_grad());
      const CheckResult result = adjoint_check(row.call, at_zero, int(k));
      INFO(row.title() << ", " << row.inputs[k].role << ": " << result.message);
      CHECK(result.passed);
    }
  }
}

TEST_CASE("ladder: double agrees with the independent reference", "[autograd]") {
  for (const OpCase& row : OpCases::all()) {
    INFO(row.title());
    std::vector<Reference> in;
    for (const Variable& v : draw_inputs(row, Dtype::f64, false)) in.emplace_back(v.value());
    const Reference y(row.call(draw_inputs(row, Dtype::f64, false)).value());
    const Reference truth = row.reference(in);
    INFO(y.shape << " against " << truth.shape);
    CHECK(gap(y, truth) <= 1e-11);
  }
}

TEST_CASE("ladder: float agrees with double, forward and backward", "[autograd]") {
  for (const OpCase& row : OpCases::all()) {
    const auto doubles = run_case(row, Dtype::f64), floats = run_case(row, Dtype::f32);
    REQUIRE(doubles.size() == floats.size());
    for (std::size_t i = 0; i < doubles.size(); ++i) {
      INFO(row.title() << (i ? ", gradient " : ", output ") << i);
      CHECK(gap(Reference(floats[i]), Reference(doubles[i])) <= row.tolerance);
    }
  }
}

TEST_CASE("ladder: one, two and three threads give the same bits", "[autograd]") {
  for (const OpCase& row : OpCases::all())
    for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
      const auto with = [&](int n) {
        const ThreadsScope scope(n);
        return run_case(row, dtype);
      };
      const auto one = with(1);
      for (const int n : {2, 3}) {
        const auto many = with(n);
        for (std::size_t i = 0; i < one.size(); ++i) {
          INFO(row.title() << ", result " << i << ", " << n << " threads, " << dtype);
          CHECK(identical(one[i], many[i]));
        }
      }
    }
}

TEST_CASE("ladder: nothing is written outside of a tensor, nothing inside is left unwritten", "[autograd]") {
  // Fresh tensors are full of NaN here, so an element that a kernel forgets differs from the first run.
  for (const OpCase& row : OpCases::all()) {
    INFO(row.title());
    for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
      const auto before = run_case(row, dtype);
      const std::int64_t damaged = damaged_blocks();
      set_memory_checks(true);
      const auto after = run_case(row, dtype);
      set_memory_checks(false);
      for (std::size_t i = 0; i < before.size(); ++i) CHECK(identical(before[i], after[i]));
      CHECK(damaged_blocks() == damaged);
    }
  }
}

TEST_CASE("ladder: an empty batch is legal and gives zero gradients to parameters", "[autograd]") {
  for (const OpCase& row : OpCases::all()) {
    if (!row.has_batch) continue;
    INFO(row.title());
    // Axis 0 of every input that shares input 0's batch is emptied; parameters keep their shape.
    std::vector<Variable> inputs;
    for (std::size_t k = 0; k < row.inputs.size(); ++k) {
      const Shape& shape = row.inputs[k].shape;
      const bool batched = k == 0 || (shape.rank() == row.inputs[0].shape.rank() &&
                                      shape[0] == row.inputs[0].shape[0] && row.inputs[k].role != "weight");
      inputs.emplace_back(
          batched ? Tensor::empty(shape.with(0, 0), Dtype::f32) : draw_input(row, int(k), Dtype::f32),
          row.inputs[k].differentiable);
    }
    const Variable y = row.call(inputs);
    CHECK((y.value().numel() == 0 || y.value().numel() == 1));
    if (!y.requires_grad()) continue;
    y.backward(Tensor::full(y.shape(), 1.0));
    for (const Variable& input : inputs)
      if (input.requires_grad() && input.grad().defined())
        for (const float g : input.grad().span<float>()) CHECK(g == 0.0f);
  }
}

TEST_CASE("ladder: a NaN in the input is not lost, and infinities stop nothing", "[autograd]") {
  for (const OpCase& row : OpCases::all())
    for (const float special :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::denorm_min(), -0.0f}) {
      INFO(row.title() << ", value " << special);
      auto inputs = draw_inputs(row, Dtype::f32, true);
      if (inputs[0].value().numel() == 0 || row.inputs[0].draw == Draw::fixed) continue;
      // The middle element: windows at the border may leave out the first.
      inputs[0].mutable_value().span<float>()[inputs[0].value().numel() / 2] = special;
      const Variable y = row.call(inputs);
      if (std::isnan(special) && row.nan_passes) {
        const auto values = y.value().span<float>();
        CHECK(std::any_of(values.begin(), values.end(), [](float v) { return std::isnan(v); }));
      }
      if (y.requires_grad()) y.backward(loss_weights(y.value()));
    }
}

TEST_CASE("ladder: one variable in several places gathers all its gradients", "[autograd]") {
  for (const OpCase& row : OpCases::all()) {
    if (row.inputs.size() < 2 || row.inputs[0].shape != row.inputs[1].shape || !row.inputs[1].differentiable)
      continue;
    const auto inputs = draw_inputs(row, Dtype::f64, true);
    const auto same = [&](const std::vector<Variable>& x) {
      auto all = inputs;
      all[0] = all[1] = x[0];
      return row.call(all);
    };
    const CheckResult result = gradcheck(same, {inputs[0]}, {.tolerance = row.gradcheck_tolerance});
    INFO(row.title() << ": " << result.message);
    CHECK(result.passed);
  }
}

}  // namespace atrous::tests
