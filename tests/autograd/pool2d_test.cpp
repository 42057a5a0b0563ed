#include "atrous/autograd/pool2d.h"

#include <cmath>
#include <string>

#include "atrous/core/random.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

std::vector<float> values(const Tensor& t) { return {t.span<float>().begin(), t.span<float>().end()}; }

Variable image(const Shape& shape, const std::vector<float>& v) {
  return Variable(Tensor::from(shape, v), true);
}

}  // namespace

TEST_CASE("max_pool2d: the first of equal values wins", "[autograd][pool2d]") {
  // 1 5 | 2
  // 5 5 | 2      windows of 2x2, one step apart
  const Variable x = image({1, 2, 3, 1}, {1, 5, 2, 5, 5, 2});
  const Variable y = max_pool2d(x, {.window = 2, .stride = 1});
  CHECK(values(y.value()) == std::vector<float>{5, 5});
  y.backward(Tensor::from({1, 1, 2, 1}, std::vector<float>{1, 10}));
  CHECK(values(x.grad()) == std::vector<float>{0, 11, 0, 0, 0, 0});
}

TEST_CASE("max_pool2d: a NaN wins, and has the gradient", "[autograd][pool2d]") {
  const Variable x = image({1, 2, 2, 1}, {INFINITY, NAN, 7, 1});
  const Variable y = max_pool2d(x);
  CHECK(std::isnan(y.value().span<float>()[0]));
  y.backward(Tensor::full({1, 1, 1, 1}, 3));
  CHECK(values(x.grad()) == std::vector<float>{0, 3, 0, 0});
}

TEST_CASE("max_pool2d: minus infinity keeps its gradient, a window of padding alone has none",
          "[autograd][pool2d]") {
  const Variable x = image({1, 1, 2, 1}, {-INFINITY, -INFINITY});
  // Four windows of one row and two columns, the first in the padding altogether.
  const Variable y = max_pool2d(x, {.window = {1, 2}, .stride = 1, .padding = {0, 0, 2, 1}});
  CHECK(values(y.value()) == std::vector<float>(4, -INFINITY));
  y.backward(Tensor::from({1, 1, 4, 1}, std::vector<float>{1, 10, 100, 1000}));
  CHECK(values(x.grad()) == std::vector<float>{110, 1000});
}

TEST_CASE("max_pool2d: vectors of channels take the same elements as single ones", "[autograd][pool2d]") {
  // Small integers, so that most windows have ties, with some NaN and infinities; sums of gradients are
  // exact.
  Random random(3);
  Tensor x = Tensor::empty({2, 7, 9, 37}, Dtype::f64);
  for (double& v : x.span<double>()) v = double(random.below(4));
  for (int i = 0; i < 200; ++i) {
    const double special[] = {NAN, INFINITY, -INFINITY};
    x.span<double>()[random.below(x.numel())] = special[i % 3];
  }
  for (const MaxPool2dOptions& o :
       {MaxPool2dOptions{.window = 3, .stride = 2, .padding = 1},
        MaxPool2dOptions{.window = {2, 4}, .stride = 1},
        MaxPool2dOptions{.window = 2, .stride = {3, 1}, .padding = {2, 0, 3, 1}, .ceil_mode = true}}) {
    // Plain loops in double, vector kernels in float.
    const Variable a(x, true), b(x.to(Dtype::f32), true);
    const Variable ya = max_pool2d(a, o), yb = max_pool2d(b, o);
    CHECK(identical(ya.value().to(Dtype::f32), yb.value()));
    Tensor dy = Tensor::empty(ya.shape(), Dtype::f64);
    for (double& v : dy.span<double>()) v = double(random.below(100));
    ya.backward(dy);
    yb.backward(dy.to(Dtype::f32));
    CHECK(identical(a.grad().to(Dtype::f32), b.grad()));
  }
}

TEST_CASE("pooling: windows that do not fit are refused by name", "[autograd][pool2d]") {
  const Variable x = image({1, 2, 2, 1}, {1, 2, 3, 4});
  CHECK_THROWS_AS(max_pool2d(x, {.window = 7, .stride = 1}), ShapeError);
  try {
    max_pool2d(x, {.window = 7, .stride = 1});
  } catch (const Error& e) {
    CHECK(std::string(e.what()).find("max_pool2d") != std::string::npos);
  }
  CHECK_THROWS_AS(max_pool2d(x, {.window = 0}), ValueError);
  CHECK_THROWS_AS(avg_pool2d(x, {.stride = 0}), ValueError);
  CHECK_THROWS_AS(avg_pool2d(x, {.padding = -1}), ValueError);
  CHECK_THROWS_AS(global_avg_pool2d(image({2, 2}, {1, 2, 3, 4})), ShapeError);
}

}  // namespace atrous::tests
