#include "atrous/autograd/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/core/random.h"

namespace atrous {
namespace {

Tensor random_like(const Tensor& t, std::uint64_t seed) {
  Random random(seed, 0x67726164);
  Tensor v = Tensor::empty(t.shape(), t.dtype());
  visit_float(t.dtype(), [&]<class T>() {
    for (T& x : v.span<T>()) x = T(Accumulator<T>(random.uniform(-1, 1)));
  });
  return v.to(t.device());
}

// On the host, wherever the tensors are.
double dot(const Tensor& left, const Tensor& right) {
  const Tensor a = left.to(kCpu), b = right.to(kCpu);
  return visit_float(a.dtype(), [&]<class T>() {
    double sum = 0;
    for (std::int64_t i = 0; i < a.numel(); ++i)
      sum += double(Accumulator<T>(a.span<T>()[i])) * double(Accumulator<T>(b.span<T>()[i]));
    return sum;
  });
}

double norm(const Tensor& a) { return std::sqrt(dot(a, a)); }

// Fresh leaves with the same values, so that the caller's gradients stay as they are.
std::vector<Variable> leaves_like(const std::vector<Variable>& inputs) {
  std::vector<Variable> leaves;
  for (const Variable& v : inputs)
    leaves.push_back(v.defined() ? Variable(v.value().clone(), v.requires_grad()) : Variable());
  return leaves;
}

std::vector<Tensor> gradients(const DifferentiableFunction& f, const std::vector<Variable>& inputs,
                              const Tensor& weights) {
  const std::vector<Variable> leaves = leaves_like(inputs);
  f(leaves).backward(weights);
  std::vector<Tensor> result;
  for (const Variable& v : leaves) result.push_back(v.grad());
  return result;
}

}  // namespace

CheckResult gradcheck(const DifferentiableFunction& f, const std::vector<Variable>& inputs,
                      const GradcheckOptions& options) {
  std::vector<Variable> leaves = leaves_like(inputs);
  const Variable y = f(leaves);
  ATROUS_CHECK(DtypeError, y.dtype() == Dtype::f64, "gradcheck", "wants f64, the output is ", y.dtype());
  const Tensor weights = random_like(y.value(), options.seed), host_weights = weights.to(kCpu);
  const std::vector<Tensor> analytic = gradients(f, inputs, weights);
  const std::vector<Tensor> again = gradients(f, inputs, weights);

  CheckResult result;
  const auto report = [&](double error, auto&&... pieces) {
    result.worst = std::max(result.worst, error);
    if (error <= options.tolerance) return;  // a NaN falls through, too
    if (result.passed) {
      std::ostringstream text;
      (text << ... << pieces);
      result.message = text.str();
    }
    result.passed = false;
  };

  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!inputs[k].requires_grad()) continue;
    ATROUS_CHECK(DtypeError, inputs[k].dtype() == Dtype::f64, "gradcheck", "input ", k, " is ",
                 inputs[k].dtype(), "; it wants f64");
    const std::int64_t n = inputs[k].value().numel();
    if (n == 0) continue;
    if (!analytic[k].defined()) {
      report(INFINITY, "input ", k, ": backward() gave no gradient");
      continue;
    }
    if (!identical(analytic[k], again[k])) report(INFINITY, "input ", k, ": a second run gave other bits");
    const Tensor on_host = analytic[k].to(kCpu);
    const Span<const double> gradient = on_host.span<double>();

    const NoGrad no_grad;
    const std::int64_t count = std::min(n, options.max_entries);
    std::vector<double> numeric(static_cast<std::size_t>(count));
    double largest = 1e-3;
    for (const double g : gradient) largest = std::max(largest, std::abs(g));
    const auto place = [&](std::int64_t c) { return c * n / count; };
    Tensor values = leaves[k].value().to(kCpu);  // on the CPU it is the leaf's own
    const auto put = [&](std::int64_t entry, double x) {
      values.span<double>()[entry] = x;
      if (!values.shares_storage(leaves[k].value())) leaves[k].mutable_value().copy_from(values);
    };
    const auto loss = [&] { return dot(f(leaves).value(), host_weights); };
    for (std::int64_t c = 0; c < count; ++c) {
      const double before = std::as_const(values).span<double>()[place(c)];
      put(place(c), before + options.step);
      const double up = loss();
      put(place(c), before - options.step);
      const double down = loss();
      put(place(c), before);
      numeric[std::size_t(c)] = (up - down) / (2 * options.step);
    }
    for (std::int64_t c = 0; c < count; ++c) {
      const double a = gradient[place(c)], b = numeric[std::size_t(c)];
      report(std::abs(a - b) / largest, "input ", k, " ", inputs[k].shape(), ", entry ", place(c),
             ": backward() says ", a, ", finite differences say ", b);
    }
  }
  return result;
}

CheckResult adjoint_check(const DifferentiableFunction& f, const std::vector<Variable>& inputs, int which,
                          std::uint64_t seed) {
  const Tensor& x = inputs.at(std::size_t(which)).value();
  const Variable ax = f(leaves_like(inputs));
  const Tensor y = random_like(ax.value(), seed);
  const Tensor aty = gradients(f, inputs, y).at(std::size_t(which));
  ATROUS_CHECK(ValueError, aty.defined(), "adjoint_check", "input ", which, " got no gradient");
  const double left = dot(ax.value(), y), right = dot(x, aty);
  const double scale = std::max({norm(ax.value()) * norm(y), norm(x) * norm(aty), 1e-30});
  const double tolerance = x.dtype() == Dtype::f64 ? 1e-12 : 2e-5;
  CheckResult result;
  result.worst = std::abs(left - right) / scale;
  result.passed = result.worst <= tolerance;
  if (!result.passed) {
    std::ostringstream text;
    text << "<Ax, y> = " << left << ", <x, A'y> = " << right << ", relative gap " << result.worst;
    result.message = text.str();
  }
  return result;
}

}  // namespace atrous
