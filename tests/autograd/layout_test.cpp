#include "atrous/autograd/layout.h"

#include <cmath>
#include <limits>

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/reduce.h"
#include "atrous/core/error.h"
#include "tests/support/catch.h"

// What the ladder does not ask of elementwise, layout and reduce: errors and edges.

namespace atrous::tests {
namespace {

Variable zeros(const Shape& shape, Dtype dtype = Dtype::f32) { return Variable(Tensor::zeros(shape, dtype)); }

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

}  // namespace

TEST_CASE("concat_channels: parts must agree in all but the last axis", "[autograd][layout]") {
  CHECK_THROWS_AS(concat_channels({}), ValueError);
  CHECK_THROWS_AS(concat_channels({Variable()}), ValueError);
  CHECK_THROWS_AS(concat_channels({zeros({})}), ShapeError);
  CHECK_THROWS_AS(concat_channels({zeros({1, 2, 3, 4}), zeros({1, 2, 5, 4})}), ShapeError);
  CHECK_THROWS_AS(concat_channels({zeros({2, 4}), zeros({1, 2, 4})}), ShapeError);
  CHECK_THROWS_AS(concat_channels({zeros({2, 4}), zeros({2, 4}, Dtype::f64)}), DtypeError);
  CHECK_THROWS_AS(concat_channels({zeros({2, 4}, Dtype::u8)}), DtypeError);
  CHECK(concat_channels({zeros({3}), zeros({0}), zeros({2})}).shape() == Shape{5});
  try {
    concat_channels({zeros({1, 2, 3, 4}), zeros({1, 2, 5, 4})});
  } catch (const ShapeError& e) {
    const std::string text = e.what();
    CHECK(text.find("[concat_channels]") == 0);
    CHECK(text.find("[1, 2, 5, 4]") != std::string::npos);
  }
}

TEST_CASE("slice_channels: only channels that are there", "[autograd][layout]") {
  const Variable x = zeros({2, 3, 3, 8});
  CHECK(slice_channels(x, 3, 5).shape() == Shape{2, 3, 3, 5});
  for (const auto& [begin, count] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {-1, 2}, {0, 9}, {8, 1}, {3, 6}, {2, 0}, {2, -1}, {kHuge, 1}, {1, kHuge}})
    CHECK_THROWS_AS(slice_channels(x, begin, count), ShapeError);
  CHECK_THROWS_AS(slice_channels(zeros({}), 0, 1), ShapeError);
}

TEST_CASE("pad: something must be left, and nothing overflows", "[autograd][layout]") {
  const Variable x = zeros({1, 4, 5, 2});
  CHECK(pad(x, {-3, 0, 0, -4}).shape() == Shape{1, 1, 1, 2});
  for (const Padding& p :
       {Padding{-4, 0, 0, 0}, Padding{0, 0, -3, -2}, Padding{kHuge, 0, 0, 0}, Padding{0, kHuge, 0, 0},
        Padding{0, 0, -kHuge - 1, kHuge}, Padding{1ll << 40, 0, 1ll << 40, 0}})
    CHECK_THROWS_AS(pad(x, p), ShapeError);
  CHECK_THROWS_AS(pad(zeros({4, 5, 2}), 1), ShapeError);
}

TEST_CASE("dropout: probabilities lie in [0, 1]; channelwise wants a batch and channels",
          "[autograd][elementwise]") {
  const Variable x = zeros({4, 3});
  for (const double p : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(dropout(x, {.probability = p}), ValueError);
  CHECK_THROWS_AS(dropout(zeros({4}), {.channelwise = true}), ShapeError);
  CHECK(dropout(zeros({0, 3}), {.channelwise = true}).shape() == Shape{0, 3});
}

TEST_CASE("dropout: channelwise drops the same channels at every pixel of a sample",
          "[autograd][elementwise]") {
  const Variable x(Tensor::full({3, 4, 5, 16}, 1.0));
  const Variable y = dropout(x, {.probability = 0.5, .seed = 7, .call = 2, .channelwise = true});
  const auto v = y.value().span<float>();
  bool samples_differ = false;
  for (std::int64_t n = 0; n < 3; ++n)
    for (std::int64_t c = 0; c < 16; ++c) {
      const float first = v[n * 320 + c];
      CHECK((first == 0 || first == 2));
      for (std::int64_t p = 1; p < 20; ++p)
        if (v[n * 320 + p * 16 + c] != first) FAIL_CHECK("sample " << n << ", channel " << c);
      if (first != v[c]) samples_differ = true;
    }
  CHECK(samples_differ);
}

TEST_CASE("add, mul: shapes and dtypes must agree", "[autograd][elementwise]") {
  CHECK_THROWS_AS(add(zeros({2, 3}), zeros({3, 2})), ShapeError);
  CHECK_THROWS_AS(mul(zeros({2, 3}), zeros({2, 3, 1})), ShapeError);
  CHECK_THROWS_AS(mul(zeros({2}), zeros({2}, Dtype::f64)), DtypeError);
  CHECK_THROWS_AS(relu(zeros({2}, Dtype::i32)), DtypeError);
  CHECK_THROWS_AS(add(zeros({2}), Variable()), ValueError);
}

TEST_CASE("sum, mean: no elements; all_finite, max_abs and sum_of_squares of tensors", "[autograd][reduce]") {
  CHECK(sum(zeros({0, 3})).item() == 0);
  CHECK(std::isnan(mean(zeros({0, 3})).item()));
  CHECK(sum(zeros({2, 3})).shape() == Shape{});
  Tensor t = Tensor::from({3}, std::vector<float>{3, -4, 0});
  CHECK(sum_of_squares(t) == 25);
  CHECK(max_abs(t) == 4);
  CHECK(all_finite(t));
  t.span<float>()[1] = std::numeric_limits<float>::infinity();
  CHECK(!all_finite(t));
  CHECK(all_finite(Tensor::zeros({0})));
  CHECK_THROWS_AS(all_finite(Tensor::zeros({2}, Dtype::i32)), DtypeError);
}

}  // namespace atrous::tests
