#include "examples/support/self_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "atrous/autograd/gradcheck.h"
#include "atrous/autograd/op.h"
#include "atrous/core/memory.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"

namespace atrous::examples {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// bf16 keeps 8 bits of each result: an error of half a unit in the last place is 1/512, and several steps add
// up.
constexpr double kBf16Tolerance = 1.0 / 64;
// The share of pixels whose class may differ because two logits are equal but for rounding.
constexpr double kLabelsTolerance = 1e-3, kBf16LabelsTolerance = 0.03;

Tensor draw(const SelfInput& input, std::uint64_t seed, std::uint64_t stream) {
  Random random(seed, stream);
  Tensor t = Tensor::empty(input.shape, Dtype::f64);
  const Span<double> v = t.span<double>();
  switch (input.values) {
    case Values::normal:
      for (double& x : v) x = random.normal();
      break;
    case Values::away_from_0:
      for (double& x : v) do
          x = random.normal();
        while (std::abs(x) <= 0.1);
      break;
    case Values::away_from_0_and_6:
      for (double& x : v) do
          x = 3 + 4 * random.normal();
        while (std::abs(x) <= 0.1 || std::abs(x - 6) <= 0.1);
      break;
    case Values::distinct:  // multiples of 1/128 that bf16 holds too, as long as there are few
      for (std::int64_t i = 0; i < v.size(); ++i) v[i] = double(i - v.size() / 2) / 128;
      for (std::int64_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[random.below(i)]);
      break;
  }
  return t;
}

// One case with its numbers, ready to run in any type on any device.
class Run {
 public:
  Run(const SelfCase& row, std::uint64_t seed, std::uint64_t stream) : row_(row) {
    for (const SelfInput& input : row.inputs)
      values_.push_back(draw(input, seed, stream * 8 + values_.size()));
  }

  // Leaves whose values `numbers` holds exactly: what a type rounds away is taken from both sides.
  std::vector<Variable> inputs(Dtype numbers, Dtype dtype, Device device) const {
    std::vector<Variable> leaves;
    for (std::size_t k = 0; k < values_.size(); ++k)
      leaves.emplace_back(values_[k].to(numbers).to(dtype).to(device), row_.inputs[k].differentiable);
    return leaves;
  }

  // The output and the gradients of all inputs.
  std::vector<Tensor> results(Dtype numbers, Dtype dtype, Device device) const {
    const std::vector<Variable> leaves = inputs(numbers, dtype, device);
    const Variable y = row_.call(leaves);
    std::vector<Tensor> all = {y.value()};
    if (!y.requires_grad()) return all;
    y.backward(draw({y.shape()}, 3, 1).to(Dtype::bf16).to(dtype).to(device));
    for (const Variable& leaf : leaves)
      if (leaf.requires_grad()) all.push_back(leaf.grad());
    return all;
  }

 private:
  const SelfCase& row_;
  std::vector<Tensor> values_;
};

// The largest difference over the largest element of `truth`; infinite where a number is none.
double gap(const Tensor& got, const Tensor& truth) {
  if (got.shape() != truth.shape()) return INFINITY;
  const Tensor a = got.to(kCpu).to(Dtype::f64), b = truth.to(Dtype::f64);
  double largest = 1e-6, worst = 0;
  for (const double v : b.span<double>()) largest = std::max(largest, std::abs(v));
  for (std::int64_t i = 0; i < b.numel(); ++i) {
    const double d = std::abs(std::as_const(a).span<double>()[i] - std::as_const(b).span<double>()[i]);
    if (!(d <= worst)) worst = std::isnan(d) ? INFINITY : d;
  }
  return worst / largest;
}

// The share of pixels that differ, in maps of labels (u8, i32) or in counts of pixels (i64).
double share_of_others(const Tensor& got, const Tensor& truth) {
  if (got.shape() != truth.shape()) return INFINITY;
  const bool counts = truth.dtype() == Dtype::i64;
  const Tensor a = got.to(kCpu).to(Dtype::f64), b = truth.to(Dtype::f64);
  double others = 0, all = counts ? 0 : double(b.numel());
  for (std::int64_t i = 0; i < b.numel(); ++i) {
    const double x = std::as_const(a).span<double>()[i], y = std::as_const(b).span<double>()[i];
    others += counts ? std::abs(x - y) / 2 : x != y;  // a pixel that moves is missing here and too many there
    if (counts) all += y;
  }
  return others / std::max(all, 1.0);
}

// While one lives, fresh memory is full of NaN and stands between guard words.
class MemoryChecks {
 public:
  explicit MemoryChecks(Device device) : device_(device) { set_memory_checks(true, device); }
  ~MemoryChecks() { set_memory_checks(false, device_); }

 private:
  Device device_;
};

class Checker {
 public:
  Checker(const SelfCheckOptions& options, const SelfCase& row, std::uint64_t number, SelfResult& result)
      : options_(options), row_(row), run_(row, options.seed, number), result_(result) {}

  void all() {
    attempt(options_.gradient, "gradient", [&] { gradient(); });
    attempt(options_.adjoint, "adjoint", [&] { adjoint(); });
    attempt(options_.oracle, "oracle, f32", [&] { oracle(Dtype::f32, row_.tolerance, result_.oracle_f32); });
    attempt(options_.repeats, "repetition, f32", [&] { repetition(Dtype::f32); });
    if (options_.device.is_cpu()) return;
    attempt(options_.oracle, "oracle, bf16",
            [&] { oracle(Dtype::bf16, kBf16Tolerance, result_.oracle_bf16); });
    attempt(options_.repeats, "repetition, bf16", [&] { repetition(Dtype::bf16); });
  }

 private:
  template <class Check>
  void attempt(bool wanted, const char* kind, const Check& check) {
    if (!wanted) return;
    try {
      check();
    } catch (const std::exception& error) {
      fail(kind, error.what());
    }
  }

  template <class... Pieces>
  void fail(const char* kind, const Pieces&... pieces) {
    std::ostringstream text;
    text << kind << ", inputs";
    for (const SelfInput& input : row_.inputs) text << ' ' << input.shape;
    text << ": ";
    (text << ... << pieces);
    result_.failures.push_back(text.str());
  }

  static void note(double& worst, double value) {
    if (!(value <= worst)) worst = value;
  }

  bool differentiable() const {
    return std::any_of(row_.inputs.begin(), row_.inputs.end(),
                       [](const SelfInput& i) { return i.differentiable; });
  }

  void gradient() {
    if (!row_.small || !differentiable()) return;
    const CheckResult r =
        gradcheck(row_.call, run_.inputs(Dtype::f32, Dtype::f64, options_.device), {.max_entries = 40});
    note(result_.gradient, r.worst);
    if (!r.passed) fail("gradient", r.message);
  }

  void adjoint() {
    if (!row_.linear) return;
    for (std::size_t k = 0; k < row_.inputs.size(); ++k) {
      const CheckResult r =
          adjoint_check(row_.call, run_.inputs(Dtype::f32, Dtype::f32, options_.device), int(k));
      note(result_.adjoint, r.worst);
      if (!r.passed) fail("adjoint", "input ", k, ": ", r.message);
    }
  }

  void oracle(Dtype dtype, double tolerance, double& worst) {
    const auto got = run_.results(dtype, dtype, options_.device),
               truth = run_.results(dtype, Dtype::f64, kCpu);
    if (row_.labels) tolerance = dtype == Dtype::bf16 ? kBf16LabelsTolerance : kLabelsTolerance;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const double d = row_.labels ? share_of_others(got[i], truth[i]) : gap(got[i], truth[i]);
      note(worst, d);
      if (d <= tolerance) continue;
      const std::string what = i == 0 ? "the result" : "gradient " + std::to_string(i - 1);
      fail("oracle", what, " in ", dtype, " departs from double by ", d, "; ", tolerance, " is allowed");
    }
  }

  void repetition(Dtype dtype) {
    const Device device = options_.device;
    const auto before = run_.results(dtype, dtype, device);
    std::vector<Tensor> after;
    const std::int64_t damaged = damaged_blocks(device);
    {
      const MemoryChecks checks(device);
      const ThreadsScope one(1);
      after = run_.results(dtype, dtype, device);
    }
    for (std::size_t i = 0; i < before.size(); ++i)
      if (!identical(before[i], after[i]))
        repeats_not(i == 0 ? "the result" : "gradient " + std::to_string(i - 1),
                    " has other bits the second time");
    after.clear();
    if (damaged_blocks(device) != damaged) repeats_not("memory outside of a tensor was written");
  }

  template <class... Pieces>
  void repeats_not(const Pieces&... pieces) {
    result_.repeats = false;
    fail("repetition", pieces...);
  }

  const SelfCheckOptions& options_;
  const SelfCase& row_;
  const Run run_;
  SelfResult& result_;
};

}  // namespace

std::vector<SelfResult> self_check(const SelfCheckOptions& options) {
  std::vector<SelfResult> results;
  const auto result_of = [&](const std::string& operation) -> SelfResult& {
    for (SelfResult& r : results)
      if (r.operation == operation) return r;
    return results.emplace_back(SelfResult{operation, 0, kNone, kNone, kNone, kNone, true, {}});
  };
  for (const Op op : all_ops()) result_of(op_name(op));
  std::uint64_t number = 0;
  for (const SelfCase& row : self_cases()) {
    ++number;
    if (options.quick && row.inputs[0].shape.numel() > 1000) continue;
    SelfResult& result = result_of(row.operation);
    ++result.cases;
    Checker(options, row, number, result).all();
  }
  for (SelfResult& r : results)
    if (r.cases == 0) r.failures.push_back("no case of selftest covers it");
  return results;
}

}  // namespace atrous::examples
