#include "atrous/autograd/upsample.h"

#include <limits>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/resize.h"
#include "atrous/core/error.h"
#include "atrous/core/memory.h"
#include "atrous/core/random.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

Tensor random_logits(const Shape& shape, double spread = 4) {
  Random random(5);
  Tensor x = Tensor::empty(shape, Dtype::f32);
  for (float& v : x.span<float>()) v = float(spread * random.normal());
  return x;
}

Tensor random_labels(const Shape& shape, std::int64_t classes) {
  Random random(6);
  Tensor labels = Tensor::empty(shape, Dtype::u8);
  for (std::uint8_t& v : labels.span<std::uint8_t>()) {
    const std::int64_t label = random.below(classes + 1);
    v = label == classes ? 255 : std::uint8_t(label);
  }
  return labels;
}

}  // namespace

TEST_CASE("upsample_cross_entropy: the loss and the gradient of resizing first", "[autograd][upsample]") {
  const bool aligned = GENERATE(true, false);
  const Shape coarse =
      GENERATE(Shape{2, 17, 17, 21}, Shape{1, 33, 9, 6}, Shape{1, 9, 9, 150}, Shape{1, 6, 40, 7});
  const std::int64_t out_h = 4 * coarse[1] - 3, out_w = GENERATE(65, 40, 300);
  const Tensor values = random_logits(coarse), labels = random_labels({coarse[0], out_h, out_w}, coarse[3]);
  const CrossEntropyOptions loss{.hard_fraction = GENERATE(1.0, 0.3)};

  const Variable one(values, true), two(values, true);
  const Variable fused = upsample_cross_entropy(one, labels, {.loss = loss, .align_corners = aligned});
  const Variable chain = softmax_cross_entropy(
      resize_bilinear(two, {.out_h = out_h, .out_w = out_w, .align_corners = aligned}), labels, loss);
  CHECK(fused.item() == Approx(chain.item()).epsilon(1e-6));
  fused.backward();
  chain.backward();
  CHECK(gap(Reference(one.grad()), Reference(two.grad())) <= 1e-5);
}

TEST_CASE("upsample_cross_entropy: logits whose exponentials overflow are as exact as others",
          "[autograd][upsample]") {
  const bool aligned = GENERATE(true, false);
  const std::int64_t classes = GENERATE(3, 21, 64), out_w = GENERATE(41, 129);
  Tensor values = random_logits({1, 9, 13, classes}, GENERATE(1, 60));
  // Of logits like these an exponential may come out as minus infinity.
  for (std::int64_t p = 0; p < 117; p += 13) values.span<float>()[p * classes] = 1e9f + 1e8f * float(p);
  const Tensor labels = random_labels({1, 40, out_w}, classes);
  const auto run = [&](Dtype dtype) {
    const Variable x(values.to(dtype), true);
    const Variable loss = upsample_cross_entropy(x, labels, {.align_corners = aligned});
    loss.backward();
    return std::pair{loss.item(), Reference(x.grad())};
  };
  const auto [loss, gradient] = run(Dtype::f32);
  const auto [true_loss, truth] = run(Dtype::f64);
  CHECK(loss == Approx(true_loss).epsilon(1e-6));
  CHECK(gap(gradient, truth) <= 2e-5);
}

TEST_CASE("upsample_cross_entropy: no pixel that counts gives loss 0 and gradient 0",
          "[autograd][upsample]") {
  Tensor values = random_logits({1, 3, 3, 4});
  values.span<float>()[7] = std::numeric_limits<float>::infinity();
  const Variable logits(values, true);
  const Variable loss = upsample_cross_entropy(logits, Tensor::full({1, 9, 9}, 255, Dtype::u8));
  CHECK(loss.item() == 0);
  loss.backward();
  for (const float g : logits.grad().span<float>()) CHECK(g == 0);
}

TEST_CASE("upsample_cross_entropy: the fine logits are never in memory", "[autograd][upsample]") {
  const Variable logits(random_logits({1, 33, 33, 21}), true);
  const Tensor labels = random_labels({1, 513, 513}, 21);
  const std::int64_t before = memory_stats().in_use;
  reset_memory_peak();
  upsample_cross_entropy(logits, labels).backward();
  CHECK(memory_stats().peak - before < 513 * 513 * 21);  // a quarter of their floats
}

TEST_CASE("upsample_cross_entropy: says what does not fit", "[autograd][upsample]") {
  const Variable logits(random_logits({2, 3, 3, 4}));
  CHECK_THROWS_AS(upsample_cross_entropy(logits, random_labels({1, 9, 9}, 4)), ShapeError);
  CHECK_THROWS_AS(upsample_cross_entropy(logits, Tensor()), ShapeError);
  CHECK_THROWS_AS(upsample_cross_entropy(logits, Tensor::full({2, 9, 9}, 4, Dtype::u8)), ValueError);
  CHECK_THROWS_AS(upsample_cross_entropy(logits, random_labels({2, 9, 9}, 4), {.loss = {.hard_fraction = 0}}),
                  ValueError);
  CHECK_THROWS_AS(upsample_confusion(logits.value(), random_labels({2, 0, 9}, 4)), ShapeError);
}

TEST_CASE("upsample_confusion: the counts of upsample_argmax against the labels", "[autograd][upsample]") {
  const bool aligned = GENERATE(true, false);
  const Dtype dtype = GENERATE(Dtype::f32, Dtype::f64);
  const Shape coarse =
      GENERATE(Shape{2, 5, 7, 3}, Shape{1, 9, 33, 21}, Shape{1, 9, 7, 1}, Shape{1, 20, 9, 5});
  const Tensor logits = random_logits(coarse).to(dtype);
  const Tensor labels = random_labels({coarse[0], 17, 65}, coarse[3]);
  const Tensor found = upsample_argmax(logits, {.out_h = 17, .out_w = 65, .align_corners = aligned});
  std::vector<std::int64_t> expected(std::size_t(coarse[3] * coarse[3]), 0);
  for (std::int64_t p = 0; p < labels.numel(); ++p) {
    const std::int64_t truth = labels.span<std::uint8_t>()[p];
    if (truth != 255) ++expected[std::size_t(truth * coarse[3] + found.span<std::uint8_t>()[p])];
  }
  const Tensor counts = upsample_confusion(logits, labels, {.align_corners = aligned});
  CHECK(counts.shape() == Shape({coarse[3], coarse[3]}));
  CHECK(std::equal(expected.begin(), expected.end(), counts.span<std::int64_t>().begin()));
}

}  // namespace atrous::tests
