#include "atrous/autograd/conv2d_branches.h"

#include <string>

#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

Variable ones(const Shape& shape, Dtype dtype = Dtype::f32) {
  return Variable(Tensor::full(shape, 1.0, dtype));
}

template <class Kind, class Call>
void expect(const Call& call) {
  try {
    call();
    FAIL_CHECK("no exception");
  } catch (const Kind& e) {
    CHECK(std::string(e.what()).starts_with("[conv2d_branches] "));
  }
}

}  // namespace

TEST_CASE("conv2d_branches: what does not fit is named", "[autograd][conv2d]") {
  const Variable x = ones({1, 5, 6, 3}), point = ones({1, 1, 3, 4}), window = ones({3, 3, 3, 4});
  expect<ValueError>([&] { conv2d_branches(x, {}, {}); });
  expect<ValueError>([&] { conv2d_branches(x, {point, window}, {{}}); });
  expect<ValueError>([&] { conv2d_branches(x, {point}, {{.stride = 2}}); });
  expect<ValueError>([&] { conv2d_branches(x, {point, point}, {{}, {.allow_tf32 = true}}); });
  expect<ShapeError>([&] { conv2d_branches(x, {point, window}, {{}, {}}); });  // 5x6 and 3x4
  expect<ShapeError>([&] { conv2d_branches(x, {ones({1, 1, 2, 4})}, {{}}); });
  expect<DtypeError>([&] { conv2d_branches(x, {ones({1, 1, 3, 4}, Dtype::f64)}, {{}}); });
}

TEST_CASE("conv2d_branches: statistics are those of the channels side by side", "[autograd][conv2d]") {
  const Variable x = ones({1, 4, 4, 3}), point = ones({1, 1, 3, 1}), window = ones({3, 3, 3, 1});
  const auto [y, statistics] = conv2d_branches_with_statistics(x, {point, window}, {{}, {.padding = 1}});
  REQUIRE(y.shape() == Shape({1, 4, 4, 2}));
  const auto mean = statistics.mean.span<double>(), var = statistics.var.span<double>();
  // Three channels of ones; of 16 pixels 4 see 4 taps, 8 see 6, 4 see 9.
  CHECK(mean[0] == 3);
  CHECK(var[0] == 0);
  CHECK(mean[1] == Approx(3 * 100.0 / 16));
  CHECK(var[1] == Approx(9 * ((4 * 16 + 8 * 36 + 4 * 81) / 16.0 - 6.25 * 6.25)));
}

}  // namespace atrous::tests
