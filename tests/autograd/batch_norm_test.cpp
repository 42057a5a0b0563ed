#include "atrous/autograd/batch_norm.h"

#include <cmath>

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/resize.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"
#include "tests/support/op_case.h"

// What batch_norm and resize_bilinear do beside their arithmetic: buffers, modes and errors.

namespace atrous::tests {
namespace {

struct Layer {
  Variable gamma{Tensor::full({2}, 1.0), true}, beta{Tensor::zeros({2}), true};
  Tensor mean = Tensor::from<float>({2}, {1, -1}), var = Tensor::from<float>({2}, {4, 9});
  Variable operator()(const Variable& x, const BatchNormOptions& options) {
    return batch_norm(x, gamma, beta, mean, var, options);
  }
};

}  // namespace

TEST_CASE("batch_norm: one pixel is normalised by the running averages, which stay",
          "[autograd][batch_norm]") {
  Layer layer;
  const Variable x(Tensor::from<float>({1, 1, 1, 2}, {3, 2}), true);
  const Variable y = layer(x, {.mode = BatchNormMode::training, .epsilon = 0});
  CHECK(y.value().span<float>()[0] == 1.0f);  // (3 - 1) / 2
  CHECK(y.value().span<float>()[1] == 1.0f);  // (2 + 1) / 3
  CHECK((layer.mean.span<float>()[0] == 1.0f && layer.var.span<float>()[1] == 9.0f));
  y.backward(Tensor::full({1, 1, 1, 2}, 1.0));
  CHECK(x.grad().span<float>()[0] == 0.5f);  // constants: the gradient does not vanish
}

TEST_CASE("batch_norm: a batch that is not finite leaves the running averages", "[autograd][batch_norm]") {
  Layer layer;
  const Variable y = layer(Variable(Tensor::from<float>({1, 2, 1, 2}, {3, NAN, 4, 5})), {});
  CHECK(std::isnan(y.value().span<float>()[1]));
  CHECK(y.value().span<float>()[0] == Approx(-1).epsilon(1e-4));
  CHECK((layer.mean.span<float>()[0] == 1.0f && layer.var.span<float>()[1] == 9.0f));
}

TEST_CASE("batch_norm: frozen gradients use the averages of the forward pass", "[autograd][batch_norm]") {
  Layer layer;
  const Variable x(Tensor::from<float>({1, 1, 1, 2}, {3, 2}), true);
  const Variable y = layer(x, {.mode = BatchNormMode::frozen, .epsilon = 0});
  layer.mean.fill(100);
  layer.var.fill(100);
  y.backward(Tensor::full({1, 1, 1, 2}, 1.0));
  CHECK(x.grad().span<float>()[0] == 0.5f);
  CHECK(layer.gamma.grad().span<float>()[0] == 1.0f);
  CHECK(layer.beta.grad().span<float>()[1] == 1.0f);
}

TEST_CASE(
    "batch_norm: with an activation and a residual it is the operations one after the other, bit for bit",
    "[autograd][batch_norm]") {
  const auto mode = GENERATE(BatchNormMode::training, BatchNormMode::frozen);
  const auto activation = GENERATE(Activation::none, Activation::relu, Activation::relu6);
  const bool adds = GENERATE(false, true);
  const Shape shape{2, 9, 11, 37};
  const Tensor values = Tensor::from(shape, random_values<double>(shape.numel(), 1)).to(Dtype::f32);
  const Tensor behind = Tensor::from(shape, random_values<double>(shape.numel(), 2)).to(Dtype::f32);
  const Tensor dy = Tensor::from(shape, random_values<double>(shape.numel(), 3)).to(Dtype::f32);
  std::vector<Tensor> results[2];
  for (const bool fused : {false, true}) {
    const Variable x(values, true), r(behind, true), gamma(Tensor::full({37}, 5), true),
        beta(Tensor::full({37}, 1), true);
    Tensor mean = Tensor::full({37}, 0.25), var = Tensor::full({37}, 0.5);
    Variable y;
    if (fused) {
      y = batch_norm(x, gamma, beta, mean, var, {.mode = mode, .activation = activation},
                     adds ? r : Variable());
    } else {
      y = batch_norm(x, gamma, beta, mean, var, {.mode = mode});
      if (adds) y = add(y, r);
      if (activation == Activation::relu) y = relu(y);
      if (activation == Activation::relu6) y = relu6(y);
    }
    y.backward(dy);
    results[fused] = {y.value(), x.grad(), gamma.grad(), beta.grad(), mean, var};
    if (adds) results[fused].push_back(r.grad());
  }
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    INFO("result " << i);
    CHECK(identical(results[0][i], results[1][i]));
  }
}

TEST_CASE("batch_norm: frozen, each gradient is the same whichever others are wanted",
          "[autograd][batch_norm]") {
  const auto activation = GENERATE(Activation::none, Activation::relu);
  const Tensor values = Tensor::from<float>({1, 2, 2, 1}, {-1, 0.5, 2, 3}),
               dy = Tensor::from<float>({1, 2, 2, 1}, {1, 2, 3, 4});
  Tensor mean = Tensor::full({1}, 1), var = Tensor::full({1}, 3);
  for (int wanted = 1; wanted < 16; ++wanted) {
    const Variable x(values, (wanted & 1) != 0), gamma(Tensor::full({1}, 2), (wanted & 2) != 0),
        beta(Tensor::full({1}, 0.25), (wanted & 4) != 0), r(Tensor::zeros({1, 2, 2, 1}), (wanted & 8) != 0);
    const BatchNormOptions options{.mode = BatchNormMode::frozen, .epsilon = 1, .activation = activation};
    batch_norm(x, gamma, beta, mean, var, options, r).backward(dy);  // y = x - 0.75: the first two are cut
    const bool cut = activation == Activation::relu;
    if (wanted & 1)
      CHECK(identical(x.grad(), Tensor::from<float>({1, 2, 2, 1}, cut ? std::vector<float>{0, 0, 3, 4}
                                                                      : std::vector<float>{1, 2, 3, 4})));
    if (wanted & 2) CHECK(gamma.grad().span<float>()[0] == (cut ? 5.5f : 4.0f));  // sum g (x - 1) / 2
    if (wanted & 4) CHECK(beta.grad().span<float>()[0] == (cut ? 7.0f : 10.0f));
    if (wanted & 8) CHECK(r.grad().span<float>()[1] == (cut ? 0.0f : 2.0f));
  }
}

TEST_CASE("batch_norm: given statistics stand for the batch's own, gradient and running averages included",
          "[autograd][batch_norm]") {
  const Shape shape{2, 3, 5, 2};
  const Tensor values = Tensor::from(shape, random_values<double>(shape.numel(), 1)),
               dy = Tensor::from(shape, random_values<double>(shape.numel(), 2));
  ChannelStatistics given{Tensor::zeros({2}, Dtype::f64), Tensor::zeros({2}, Dtype::f64)};
  for (std::int64_t i = 0; i < shape.numel(); ++i)
    given.mean.span<double>()[i % 2] += values.span<double>()[i] / 30;
  for (std::int64_t i = 0; i < shape.numel(); ++i)
    given.var.span<double>()[i % 2] +=
        std::pow(values.span<double>()[i] - given.mean.span<double>()[i % 2], 2) / 30;
  std::vector<Tensor> results[2];
  for (const bool with : {false, true}) {
    const Variable x(values, true), gamma(Tensor::full({2}, 1.5, Dtype::f64), true),
        beta(Tensor::full({2}, 0.5, Dtype::f64), true);
    Tensor mean = Tensor::zeros({2}, Dtype::f64), var = Tensor::zeros({2}, Dtype::f64);
    const Variable y = batch_norm(x, gamma, beta, mean, var, {.activation = Activation::relu}, {},
                                  with ? given : ChannelStatistics());
    y.backward(dy);
    results[with] = {y.value(), x.grad(), gamma.grad(), beta.grad(), mean, var};
  }
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    INFO("result " << i);
    CHECK(gap(Reference(results[1][i]), Reference(results[0][i])) < 1e-13);
  }
  // Not merely near: other statistics are used as they are.
  Tensor mean = Tensor::zeros({2}, Dtype::f64), var = mean.clone();
  given.mean.fill(1);
  given.var.fill(4);
  const Variable y =
      batch_norm(Variable(values), Variable(Tensor::full({2}, 1, Dtype::f64)),
                 Variable(Tensor::zeros({2}, Dtype::f64)), mean, var, {.epsilon = 0}, {}, given);
  CHECK(y.value().span<double>()[7] == Approx((values.span<double>()[7] - 1) / 2).epsilon(1e-14));
  CHECK(mean.span<double>()[0] == Approx(0.1).epsilon(1e-14));
}

TEST_CASE("batch_norm: shapes, types and options are checked", "[autograd][batch_norm]") {
  Layer layer;
  CHECK_THROWS_AS(layer(Variable(Tensor::zeros({2, 2})), {}), ShapeError);
  CHECK_THROWS_AS(layer(Variable(Tensor::zeros({1, 2, 2, 3})), {}), ShapeError);
  CHECK_THROWS_AS(layer(Variable(Tensor::zeros({1, 2, 2, 2}, Dtype::f64)), {}), DtypeError);
  const Variable x(Tensor::zeros({1, 2, 2, 2}));
  CHECK_THROWS_AS(layer(x, {.epsilon = -1}), ValueError);
  CHECK_THROWS_AS(layer(x, {.decay = 1.5}), ValueError);
  const Variable gamma(Tensor::full({2}, 1.0)), small(Tensor::zeros({1, 2, 1, 2}));
  CHECK_THROWS_AS(batch_norm(x, gamma, gamma, layer.mean, layer.var, {}, small), ShapeError);
  const ChannelStatistics floats{Tensor::zeros({2}), Tensor::zeros({2})},
      half{Tensor::zeros({2}, Dtype::f64), {}};
  CHECK_THROWS_AS(batch_norm(x, gamma, gamma, layer.mean, layer.var, {}, {}, floats), DtypeError);
  CHECK_THROWS_AS(batch_norm(x, gamma, gamma, layer.mean, layer.var, {}, {}, half), ShapeError);
  layer.var = Tensor();
  CHECK_THROWS_WITH(layer(x, {}),
                    Catch::Matchers::Contains("batch_norm") && Catch::Matchers::Contains("running_var"));
}

TEST_CASE("resize_bilinear: sizes are checked", "[autograd][resize]") {
  const Variable x(Tensor::zeros({1, 2, 2, 3}));
  CHECK_THROWS_AS(resize_bilinear(x, {.out_h = 0, .out_w = 4}), ValueError);
  CHECK_THROWS_AS(resize_bilinear(x, {.out_h = 4, .out_w = -1}), ValueError);
  CHECK_THROWS_AS(resize_bilinear(Variable(Tensor::zeros({2, 2, 3})), {.out_h = 4, .out_w = 4}), ShapeError);
  CHECK_THROWS_AS(resize_bilinear(Variable(Tensor::zeros({1, 0, 2, 3})), {.out_h = 4, .out_w = 4}),
                  ShapeError);
  CHECK_THROWS_AS(upsample_argmax(Tensor::zeros({1, 2, 2, 0}), {.out_h = 4, .out_w = 4}), ShapeError);
  const Tensor labels =
      upsample_argmax(Tensor::from<float>({1, 1, 2, 2}, {1, 0, 0, 1}), {.out_h = 1, .out_w = 4});
  CHECK(labels.shape() == Shape({1, 1, 4}));
  CHECK((labels.span<std::uint8_t>()[0] == 0 && labels.span<std::uint8_t>()[3] == 1));
}

}  // namespace atrous::tests
