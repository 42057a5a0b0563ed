#include "tests/support/op_case.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace atrous::tests {
namespace {

std::vector<OpCase>& rows() {
  static std::vector<OpCase> all;
  return all;
}

std::vector<double> draw(const OpInput& input, Random random) {
  std::vector<double> v(std::size_t(input.shape.numel()));
  switch (input.draw) {
    case Draw::normal:
      for (double& x : v) x = random.normal();
      break;
    case Draw::positive:
      for (double& x : v) x = random.uniform(0.5, 2);
      break;
    case Draw::away_from_0:
      for (double& x : v) do
          x = random.normal();
        while (std::abs(x) <= 0.1);
      break;
    case Draw::distinct:
      for (std::size_t i = 0; i < v.size(); ++i) v[i] = 0.01 * (double(i) - 0.5 * double(v.size()) + 0.25);
      for (std::size_t i = v.size(); i > 1; --i)
        std::swap(v[i - 1], v[std::size_t(random.below(std::int64_t(i)))]);
      break;
    case Draw::fixed:
      v = input.values;
      break;
  }
  // Every row starts from numbers that a float holds, so that float and double compute the same thing.
  for (double& x : v) x = double(float(x));
  return v;
}

double largest(const std::vector<double>& v) {
  double m = 0;
  for (const double x : v) m = std::max(m, std::abs(x));
  return m;
}

}  // namespace

std::string OpCase::title() const { return std::string(op_name(op)) + ": " + name; }

Reference::Reference(const Tensor& t) : shape(t.shape()) {
  const Tensor doubles = t.to(kCpu).to(Dtype::f64);
  const Span<const double> s = doubles.span<double>();
  values.assign(s.begin(), s.end());
}

double& Reference::at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
  const std::int64_t index[] = {a, b, c, d};
  std::int64_t offset = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) offset = offset * shape[axis] + index[axis];
  return values.at(std::size_t(offset));
}
double Reference::at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
  return const_cast<Reference*>(this)->at(a, b, c, d);
}
double Reference::padded(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) const {
  if (h < 0 || h >= shape[1] || w < 0 || w >= shape[2]) return 0;
  return at(n, h, w, c);
}

double gap(const Reference& got, const Reference& truth) {
  if (got.shape != truth.shape) return INFINITY;
  const double scale = std::max(largest(truth.values), 1e-6);
  double worst = 0;
  for (std::size_t i = 0; i < truth.values.size(); ++i) {
    const double d = std::abs(got.values[i] - truth.values[i]);
    if (!(d <= worst * scale)) worst = std::isnan(d) ? INFINITY : d / scale;
  }
  return worst;
}

OpCases::OpCases(std::vector<OpCase> added) {
  for (auto& row : added) rows().push_back(std::move(row));
}
const std::vector<OpCase>& OpCases::all() { return rows(); }

Tensor draw_input(const OpCase& row, int k, Dtype dtype) {
  const OpInput& input = row.inputs.at(std::size_t(k));
  return Tensor::from(input.shape, draw(input, Random(20260 + std::uint64_t(k)))).to(dtype);
}

std::vector<Variable> draw_inputs(const OpCase& row, Dtype dtype, bool with_grad, Device device) {
  std::vector<Variable> inputs;
  for (std::size_t k = 0; k < row.inputs.size(); ++k)
    inputs.emplace_back(draw_input(row, int(k), dtype).to(device), with_grad && row.inputs[k].differentiable);
  return inputs;
}

Tensor loss_weights(const Tensor& y) {
  Random random(7);
  Tensor v = Tensor::empty(y.shape(), Dtype::f64);
  for (double& x : v.span<double>()) x = double(float(random.uniform(-1, 1)));
  return v.to(y.dtype()).to(y.device());
}

std::vector<Tensor> run_case(const OpCase& row, Dtype dtype, Device device) {
  const std::vector<Variable> inputs = draw_inputs(row, dtype, true, device);
  const Variable y = row.call(inputs);
  std::vector<Tensor> results = {y.value()};
  if (!y.requires_grad()) return results;
  y.backward(loss_weights(y.value()));
  for (const Variable& input : inputs)
    if (input.requires_grad()) results.push_back(input.grad());
  return results;
}

}  // namespace atrous::tests
