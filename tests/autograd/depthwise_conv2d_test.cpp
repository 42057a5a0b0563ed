#include "atrous/autograd/depthwise_conv2d.h"

#include <string>

#include "atrous/autograd/conv_transpose2d.h"
#include "tests/support/catch.h"

// What depthwise_conv2d and conv_transpose2d refuse, and what they leave undone.

namespace atrous::tests {
namespace {

Variable ones(const Shape& shape, Dtype dtype = Dtype::f32) {
  return Variable(Tensor::full(shape, 1.0, dtype));
}

template <class Kind, class Call>
void expect(const char* op, const Call& call) {
  try {
    call();
    FAIL_CHECK("no exception");
  } catch (const Kind& e) {
    CHECK(std::string(e.what()).find("[" + std::string(op) + "] ") == 0);
  }
}

}  // namespace

TEST_CASE("depthwise_conv2d: sizes that do not fit are named", "[autograd][depthwise_conv2d]") {
  const char* op = "depthwise_conv2d";
  const Variable x = ones({1, 5, 6, 3}), weight = ones({3, 3, 3, 2});
  expect<ShapeError>(op, [&] { depthwise_conv2d(ones({1, 5, 6, 2}), weight, {}); });  // channels differ
  expect<ShapeError>(op, [&] { depthwise_conv2d(ones({5, 6, 3}), weight, {}); });     // no batch axis
  expect<ShapeError>(op, [&] { depthwise_conv2d(x, ones({3, 3, 3}), {}); });          // no multiplier
  expect<ShapeError>(op, [&] { depthwise_conv2d(x, ones({3, 0, 3, 1}), {}); });       // no taps
  expect<ShapeError>(op, [&] { depthwise_conv2d(x, weight, ones({3})); });            // 6 channels come out
  expect<ShapeError>(op, [&] { depthwise_conv2d(x, weight, {}, {.rate = 3}); });      // nothing is left
  expect<ValueError>(op, [&] { depthwise_conv2d(x, weight, {}, {.stride = {1, 0}}); });  //
  expect<ValueError>(op, [&] { depthwise_conv2d(x, weight, {}, {.rate = -1}); });        //
  expect<ValueError>(op, [&] { depthwise_conv2d(x, weight, {}, {.padding = {0, 0, -1, 0}}); });
  expect<DtypeError>(op, [&] { depthwise_conv2d(x, ones({3, 3, 3, 2}, Dtype::f64), {}); });
}

TEST_CASE("conv_transpose2d: sizes that do not fit are named", "[autograd][conv_transpose2d]") {
  const char* op = "conv_transpose2d";
  const Variable x = ones({1, 3, 4, 3}), weight = ones({4, 4, 2, 3});
  expect<ShapeError>(op, [&] { conv_transpose2d(ones({1, 3, 4, 2}), weight, {}); });  // channels differ
  expect<ShapeError>(op, [&] { conv_transpose2d(x, weight, ones({3})); });            // 2 channels come out
  expect<ShapeError>(op, [&] { conv_transpose2d(x, weight, {}, {.padding = 3}); });   // nothing is left
  expect<ShapeError>(op, [&] { conv_transpose2d(ones({1, 0, 4, 3}), weight, {}); });  // no rows
  expect<ValueError>(op, [&] { conv_transpose2d(x, weight, {}, {.output_padding = 1}); });
  expect<ValueError>(op, [&] { conv_transpose2d(x, weight, {}, {.stride = 2, .output_padding = {0, 2}}); });
  expect<ValueError>(op, [&] { conv_transpose2d(x, weight, {}, {.stride = 2, .output_padding = -1}); });
  expect<ValueError>(op, [&] { conv_transpose2d(x, weight, {}, {.stride = 0}); });
  expect<DtypeError>(op, [&] { conv_transpose2d(x, ones({4, 4, 2, 3}, Dtype::f64), {}); });
}

TEST_CASE("depthwise_conv2d: gradients are computed for those who ask only", "[autograd][depthwise_conv2d]") {
  const Variable x = ones({1, 5, 6, 16}), weight(Tensor::full({3, 3, 16, 1}, 0.5), true);
  const Variable y = depthwise_conv2d(x, weight, {}, {.padding = 1});
  y.backward(Tensor::full(y.shape(), 1.0));
  CHECK_FALSE(x.grad().defined());
  REQUIRE(weight.grad().shape() == weight.shape());
  CHECK(weight.grad().span<float>()[0] == 20.0f);  // 4 x 5 windows see a pixel through the corner tap
}

}  // namespace atrous::tests
