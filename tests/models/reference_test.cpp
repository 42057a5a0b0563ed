#include <algorithm>
#include <cmath>

#include "atrous/autograd/graph.h"
#include "atrous/models/registry.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

// Whole models against the same models written again for PyTorch (tests/reference/models.py): the logits, and
// for each parameter the gradient's product with a fixed vector and its length; and against torchvision's
// own. Each tensor's values follow from its name, so names and shapes are compared as well.

namespace atrous::models {
namespace {

constexpr std::uint32_t kOutputSeed = 99, kProbeSeed = 7;

std::uint32_t seed_of(const std::string& name) {
  std::uint32_t h = 0x811C9DC5u;
  for (const char c : name) h = (h ^ std::uint8_t(c)) * 0x01000193u;
  return h & 0xFFFFu;
}

void set(Tensor& t, const std::string& name, double scale, double offset) {
  const auto values = tests::formula_input(t.shape(), seed_of(name), scale, offset);
  visit_float(t.dtype(), [&]<class T>() {
    const Span<T> to = t.span<T>();
    for (std::int64_t i = 0; i < to.size(); ++i) to[i] = T(float(values[std::size_t(i)]));
  });
}

void set_values(Model& model) {
  for (layers::Parameter& p : model.named_parameters()) {
    Tensor& t = p.variable.mutable_value();
    using layers::ParameterKind;
    if (p.kind == ParameterKind::bias)
      set(t, p.name, 0.1, 0);
    else if (p.kind == ParameterKind::batch_norm)
      p.name.ends_with("gamma") ? set(t, p.name, 0.3, 1) : set(t, p.name, 0.2, 0);
    else
      set(t, p.name,
          std::sqrt(6.0 /
                    double(t.dim(0) * t.dim(1) * (p.kind == ParameterKind::depthwise_weight ? 1 : t.dim(2)))),
          0);
  }
  for (const layers::Buffer& b : model.named_buffers()) {
    if (b.kind != layers::BufferKind::statistic) continue;
    b.name.ends_with("mean") ? set(*b.tensor, b.name, 0.1, 0) : set(*b.tensor, b.name, 0.5, 1);
  }
}

// The largest difference over the largest wanted value.
double gap(const Tensor& got, const std::vector<double>& wanted) {
  const Tensor values = got.to(Dtype::f64);
  REQUIRE(values.numel() == std::int64_t(wanted.size()));
  double worst = 0, scale = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    worst = std::max(worst, std::abs(values.span<double>()[std::int64_t(i)] - wanted[i]));
    scale = std::max(scale, std::abs(wanted[i]));
  }
  return worst / scale;
}

}  // namespace

TEST_CASE("models: torchvision's own models have the same logits", "[models][reference]") {
  for (const tests::ReferenceCase& c : tests::read_reference("models")) {
    if (!c.name.ends_with(":torchvision")) continue;
    INFO(c.name);
    const bool auxiliary = c.further.count("auxiliary") == 1;
    const auto model = make(c.name, {.classes = c.integer("classes"), .auxiliary = auxiliary});
    CHECK(model->config().output_stride == c.integer("output_stride"));
    set_values(*model);
    model->eval();
    const Variable x(tests::ReferenceInputs(c, Dtype::f64).tensor("x").to(Dtype::f32));
    const NoGrad no_grad;
    const auto logits = model->training_logits(x);
    REQUIRE(logits.front().logits.shape() == c.output.shape);
    CHECK(gap(logits.front().logits.value(), c.output.values) < 1e-4);
    if (auxiliary) CHECK(gap(logits.back().logits.value(), c.further.at("auxiliary").values) < 1e-4);
  }
}

TEST_CASE("models: logits and gradients are those of PyTorch", "[models][reference]") {
  for (const tests::ReferenceCase& c : tests::read_reference("models")) {
    if (c.name.ends_with(":torchvision")) continue;
    INFO(c.name << " at output stride " << c.integer("output_stride"));
    const auto model = make(c.name, {.classes = c.integer("classes"),
                                     .output_stride = c.integer("output_stride"),
                                     .width = c.number("width")});
    model->to(Dtype::f64);
    set_values(*model);
    model->eval();
    const tests::ReferenceInputs inputs(c, Dtype::f64);
    const bool with_gradients = !c.further.empty();
    if (with_gradients) {
      const Variable y = model->forward(inputs["x"]);
      REQUIRE(y.shape() == c.output.shape);
      CHECK(gap(y.value(), c.output.values) < 1e-9);
      y.backward(Tensor::from(y.shape(), tests::formula_input(y.shape(), kOutputSeed)));
      const auto parameters = model->named_parameters();
      CHECK(parameters.size() == c.further.size());
      for (const layers::Parameter& p : parameters) {
        INFO(p.name);
        const auto& wanted = c.further.at(p.name).values;
        const auto probe = tests::formula_input(p.variable.shape(), kProbeSeed);
        double product = 0, squares = 0;
        const Span<const double> g = p.variable.grad().span<double>();
        for (std::int64_t i = 0; i < g.size(); ++i) {
          product += g[i] * probe[std::size_t(i)];
          squares += g[i] * g[i];
        }
        CHECK(std::abs(product - wanted[0]) <= 1e-8 * wanted[1]);
        CHECK(std::abs(std::sqrt(squares) - wanted[1]) <= 1e-8 * wanted[1]);
      }
    }
    // In single precision, with the batch norms folded.
    model->to(Dtype::f32);
    const NoGrad no_grad;
    CHECK(gap(model->forward(Variable(inputs.tensor("x").to(Dtype::f32))).value(), c.output.values) < 1e-5);
  }
}

}  // namespace atrous::models
