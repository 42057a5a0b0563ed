#include "atrous/autograd/separable_conv2d.h"

#include "atrous/autograd/gradcheck.h"
#include "atrous/core/random.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

Variable random_leaf(const Shape& shape, std::uint64_t seed) {
  Random random(seed);
  Tensor t = Tensor::empty(shape, Dtype::f64);
  for (double& v : t.span<double>()) v = random.normal();
  return Variable(t, true);
}

}  // namespace

TEST_CASE("separable_conv2d: the formula and finite differences", "[autograd][separable_conv2d]") {
  const Conv2dOptions o{.stride = {1, 2}, .padding = {2, 1, 0, 2}, .rate = {2, 1}};
  const std::vector<Variable> in = {random_leaf({2, 5, 6, 3}, 1), random_leaf({3, 3, 3, 2}, 2),
                                    random_leaf({1, 1, 6, 4}, 3), random_leaf({4}, 4)};
  const auto call = [&](const std::vector<Variable>& v) {
    return separable_conv2d(v[0], v[1], v[2], v[3], o);
  };
  const Reference x(in[0].value()), d(in[1].value()), p(in[2].value()), b(in[3].value()), y(call(in).value());
  REQUIRE(y.shape == Shape({2, 4, 3, 4}));
  for (std::int64_t n = 0; n < 2; ++n)
    for (std::int64_t i = 0; i < 4; ++i)
      for (std::int64_t j = 0; j < 3; ++j)
        for (std::int64_t k = 0; k < 4; ++k) {
          double sum = b.at(k);
          for (std::int64_t r = 0; r < 3; ++r)
            for (std::int64_t s = 0; s < 3; ++s)
              for (std::int64_t c = 0; c < 6; ++c)
                sum += x.padded(n, i + 2 * r - 2, 2 * j + s, c / 2) * d.at(r, s, c / 2, c % 2) *
                       p.at(0, 0, c, k);
          CHECK(std::abs(y.at(n, i, j, k) - sum) < 1e-12);
        }
  const CheckResult result = gradcheck(call, in);
  INFO(result.message);
  CHECK(result.passed);
}

TEST_CASE("separable_conv2d: weights that do not fit are refused", "[autograd][separable_conv2d]") {
  const auto ones = [](const Shape& s) { return Variable(Tensor::full(s, 1)); };
  const Variable x = ones({1, 5, 5, 3}), d = ones({3, 3, 3, 2});
  CHECK_THROWS_AS(separable_conv2d(x, d, ones({3, 3, 6, 4}), {}), ShapeError);
  CHECK_THROWS_AS(separable_conv2d(x, d, ones({1, 1, 3, 4}), {}), ShapeError);
  CHECK_THROWS_AS(separable_conv2d(x, ones({3, 3, 4, 2}), ones({1, 1, 6, 4}), {}), ShapeError);
}

}  // namespace atrous::tests
