#include "atrous/autograd/conv2d.h"

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
    CHECK(std::string(e.what()).starts_with("[conv2d] "));
  }
}

}  // namespace

TEST_CASE("conv2d: sizes that do not fit are named", "[autograd][conv2d]") {
  const Variable x = ones({1, 5, 6, 3}), weight = ones({3, 3, 3, 4});
  expect<ShapeError>([&] { conv2d(ones({1, 5, 6, 2}), weight, {}); });         // channels differ
  expect<ShapeError>([&] { conv2d(ones({5, 6, 3}), weight, {}); });            // no batch axis
  expect<ShapeError>([&] { conv2d(x, ones({3, 3, 4}), {}); });                 // no rows
  expect<ShapeError>([&] { conv2d(x, ones({0, 3, 3, 4}), {}); });              // no taps
  expect<ShapeError>([&] { conv2d(x, weight, ones({3})); });                   // bias of other length
  expect<ShapeError>([&] { conv2d(x, weight, ones({1, 4})); });                // bias of other rank
  expect<ShapeError>([&] { conv2d(x, weight, {}, {.rate = 3}); });             // no output row left
  expect<ShapeError>([&] { conv2d(x, weight, {}, {.rate = {1, 3}}); });        // no output column left
  expect<ValueError>([&] { conv2d(x, weight, {}, {.stride = 0}); });           //
  expect<ValueError>([&] { conv2d(x, weight, {}, {.stride = {1, -1}}); });     //
  expect<ValueError>([&] { conv2d(x, weight, {}, {.rate = 0}); });             //
  expect<ValueError>([&] { conv2d(x, weight, {}, {.padding = -1}); });         //
  expect<DtypeError>([&] { conv2d(x, ones({3, 3, 3, 4}, Dtype::f64), {}); });  //
  expect<DtypeError>([&] { conv2d(x, weight, ones({4}, Dtype::f64)); });       //
}

TEST_CASE("conv2d: gradients are computed for those who ask only", "[autograd][conv2d]") {
  const Variable x = ones({1, 5, 6, 3}), weight(Tensor::full({3, 3, 3, 4}, 0.5), true);
  const Variable y = conv2d(x, weight, {}, {.padding = 1});
  y.backward(Tensor::full(y.shape(), 1.0));
  CHECK_FALSE(x.grad().defined());
  REQUIRE(weight.grad().shape() == weight.shape());
  CHECK(weight.grad().span<float>()[0] == 20.0f);  // 4 x 5 windows see a pixel through the corner tap
}

}  // namespace atrous::tests
