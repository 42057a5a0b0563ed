#include "atrous/autograd/batch_norm.h"

#include <cmath>

#include "atrous/autograd/resize.h"
#include "tests/support/catch.h"

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

TEST_CASE("batch_norm: shapes, types and options are checked", "[autograd][batch_norm]") {
  Layer layer;
  CHECK_THROWS_AS(layer(Variable(Tensor::zeros({2, 2})), {}), ShapeError);
  CHECK_THROWS_AS(layer(Variable(Tensor::zeros({1, 2, 2, 3})), {}), ShapeError);
  CHECK_THROWS_AS(layer(Variable(Tensor::zeros({1, 2, 2, 2}, Dtype::f64)), {}), DtypeError);
  const Variable x(Tensor::zeros({1, 2, 2, 2}));
  CHECK_THROWS_AS(layer(x, {.epsilon = -1}), ValueError);
  CHECK_THROWS_AS(layer(x, {.decay = 1.5}), ValueError);
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
