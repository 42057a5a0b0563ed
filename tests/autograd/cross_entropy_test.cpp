#include <algorithm>
#include <cmath>

#include "atrous/autograd/softmax.h"
#include "atrous/core/cpu_isa.h"
#include "atrous/core/random.h"
#include "atrous/kernels/softmax/cross_entropy.h"
#include "atrous/kernels/softmax/softmax_simd.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using Catch::Matchers::Contains;

struct Result {
  double loss;
  std::vector<float> gradient;
};

Result loss_of(const Shape& shape, const std::vector<float>& logits, const std::vector<std::int32_t>& labels,
               const CrossEntropyOptions& options = {}, Dtype label_dtype = Dtype::i32) {
  const Variable x(Tensor::from(shape, logits), true);
  const Tensor y = Tensor::from({shape[0], shape[1], shape[2]}, labels).to(label_dtype);
  const Variable loss = softmax_cross_entropy(x, y, options);
  loss.backward();
  const Tensor grad = x.grad();
  return {loss.item(), {grad.span<float>().begin(), grad.span<float>().end()}};
}

bool all_zero(const std::vector<float>& v) {
  return std::all_of(v.begin(), v.end(), [](float x) { return x == 0; });
}

}  // namespace

TEST_CASE("softmax_cross_entropy: two pixels of two classes, by hand", "[autograd][softmax]") {
  // Pixel 0: logits equal, loss ln 2, gradient (1/2, -1/2) / 2. Pixel 1: ignored.
  const Result one = loss_of({1, 1, 2, 2}, {3, 3, 5, -5}, {1, 255});
  CHECK(one.loss == Approx(std::log(2.0)));
  CHECK(one.gradient[0] == Approx(0.5));
  CHECK(one.gradient[1] == Approx(-0.5));
  CHECK((one.gradient[2] == 0 && one.gradient[3] == 0));
}

TEST_CASE("softmax_cross_entropy: nothing valid gives 0 and zero gradients", "[autograd][softmax]") {
  const float nan = NAN;
  for (const double hard : {1.0, 0.5}) {
    const Result none = loss_of({1, 1, 2, 2}, {nan, 1, 2, INFINITY}, {255, 255}, {.hard_fraction = hard});
    CHECK(none.loss == 0);
    CHECK(all_zero(none.gradient));
    const Result weightless =
        loss_of({1, 1, 2, 2}, {nan, 1, 2, 3}, {1, 1},
                {.class_weights = Tensor::from<float>({2}, {1, 0}), .hard_fraction = hard});
    CHECK(weightless.loss == 0);
    CHECK(all_zero(weightless.gradient));
    const Result empty = loss_of({0, 3, 2, 2}, {}, {}, {.hard_fraction = hard});
    CHECK(empty.loss == 0);
  }
}

TEST_CASE("softmax_cross_entropy: large logits are exact, infinite and NaN ones show",
          "[autograd][softmax]") {
  const Result large = loss_of({1, 1, 2, 3}, {1e4f, -1e4f, 0, 1e4f, -1e4f, 0}, {0, 1});
  CHECK(large.loss == Approx(1e4));
  CHECK(large.gradient == std::vector<float>{0, 0, 0, 0.5f, -0.5f, 0});
  for (const float bad : {float(NAN), float(INFINITY)}) {
    CHECK(std::isnan(loss_of({1, 1, 2, 3}, {1, bad, 0, 1, 2, 3}, {0, 1}).loss));
    CHECK(std::isnan(loss_of({1, 1, 2, 3}, {1, bad, 0, 1, 2, 3}, {0, 1}, {.hard_fraction = 0.5}).loss));
  }
  // Minus infinity is a class ruled out: no loss unless it is the label.
  CHECK(loss_of({1, 1, 1, 3}, {0, -INFINITY, 0}, {0}).loss == Approx(std::log(2.0)));
}

TEST_CASE("softmax_cross_entropy: the hardest pixels, ties by position", "[autograd][softmax]") {
  // Losses of the five pixels: equal, equal, small, ignored, equal. Half of 4 valid ones: the first two.
  const Result r =
      loss_of({1, 1, 5, 2}, {0, 0, 0, 0, 9, 0, 0, 0, 0, 0}, {0, 1, 0, 255, 1}, {.hard_fraction = 0.5});
  CHECK(r.loss == Approx(std::log(2.0)));
  CHECK(r.gradient == std::vector<float>{-0.25f, 0.25f, 0.25f, -0.25f, 0, 0, 0, 0, 0, 0});
  // ceil: a tenth of 30 pixels is three, and the smallest share keeps one.
  std::vector<float> logits(60, 0.0f);
  for (std::size_t p = 0; p < 30; ++p) logits[2 * p] = float(p);
  const auto counted = [&](double fraction) {
    const Result some =
        loss_of({1, 5, 6, 2}, logits, std::vector<std::int32_t>(30, 1), {.hard_fraction = fraction});
    int n = 0;
    for (std::size_t p = 0; p < 30; ++p) n += some.gradient[2 * p] != 0;
    return n;
  };
  CHECK(counted(0.1) == 3);
  CHECK(counted(0.11) == 4);
  CHECK(counted(1e-9) == 1);
}

TEST_CASE("softmax_cross_entropy: u8 and i32 labels are the same", "[autograd][softmax]") {
  const std::vector<float> logits = {1, 2, 3, 0, -1, 1};
  CHECK(loss_of({1, 1, 2, 3}, logits, {2, 255}, {}, Dtype::u8).loss ==
        loss_of({1, 1, 2, 3}, logits, {2, 255}).loss);
  CHECK(loss_of({1, 1, 2, 3}, logits, {2, 0}, {}, Dtype::u8).loss ==
        loss_of({1, 1, 2, 3}, logits, {2, 0}).loss);
}

TEST_CASE("softmax_cross_entropy: a label out of range names pixel, label and classes",
          "[autograd][softmax]") {
  const std::vector<float> logits(2 * 2 * 3 * 2, 0.0f);
  std::vector<std::int32_t> labels(12, 0);
  labels[6 + 3 + 2] = 30;  // image 1, row 1, column 2
  REQUIRE_THROWS_AS(loss_of({2, 2, 3, 2}, logits, labels), ValueError);
  CHECK_THROWS_WITH(loss_of({2, 2, 3, 2}, logits, labels), Contains("softmax_cross_entropy") &&
                                                               Contains("(1, 1, 2)") && Contains("30") &&
                                                               Contains("2 classes"));
  labels[4] = -7;
  CHECK_THROWS_WITH(loss_of({2, 2, 3, 2}, logits, labels), Contains("(0, 1, 1)") && Contains("-7"));
  // 255 is a label like any other if nothing is ignored.
  labels.assign(12, 0);
  labels[0] = 255;
  CHECK_NOTHROW(loss_of({2, 2, 3, 2}, logits, labels));
  CHECK_THROWS_AS(loss_of({2, 2, 3, 2}, logits, labels, {.ignore_label = std::nullopt}), ValueError);
}

TEST_CASE("softmax_cross_entropy: options and shapes are checked", "[autograd][softmax]") {
  const std::vector<float> logits(6, 0.0f);
  const auto with = [&](const CrossEntropyOptions& options) {
    loss_of({1, 1, 2, 3}, logits, {0, 1}, options);
  };
  CHECK_THROWS_AS(with({.hard_fraction = 0}), ValueError);
  CHECK_THROWS_AS(with({.hard_fraction = 1.5}), ValueError);
  CHECK_THROWS_AS(with({.hard_fraction = NAN}), ValueError);
  CHECK_THROWS_AS(with({.class_weights = Tensor::from<float>({2}, {1, 1})}), ShapeError);
  CHECK_THROWS_AS(with({.class_weights = Tensor::from<float>({3}, {1, -1, 1})}), ValueError);
  const Variable x(Tensor::zeros({1, 2, 2, 3}));
  CHECK_THROWS_AS(softmax_cross_entropy(x, Tensor::zeros({1, 2, 3}, Dtype::u8)), ShapeError);
  CHECK_THROWS_AS(softmax_cross_entropy(x, Tensor::zeros({1, 2, 2}, Dtype::f32)), DtypeError);
  CHECK_THROWS_AS(softmax_cross_entropy(x, Tensor()), ShapeError);
  CHECK_THROWS_AS(softmax(Variable(Tensor::zeros({2, 0}))), ShapeError);
}

TEST_CASE("softmax_cross_entropy: gradients larger than the cache are written past it, and right",
          "[autograd][softmax]") {
  const kernels::SoftmaxDims d{200003, 21};  // not a whole number of vectors, nor of chunks
  std::vector<std::int32_t> targets(std::size_t(d.pixels), 0);
  for (std::int64_t p = 0; p < d.pixels; ++p)
    targets[std::size_t(p)] = p % 97 == 0 ? -1 : std::int32_t(p % 21);
  const auto run = [&]<class T>(T) {
    std::vector<T> logits = random_values<T>(d.pixels * d.classes, 1);
    for (std::int64_t c = 0; c < d.classes; ++c)
      logits[std::size_t(97 * d.classes + c)] = T(NAN);  // does not count
    Guarded<T> scales(d.pixels), dlogits(d.pixels * d.classes), loss(1);
    std::vector<double> sums(std::size_t(kernels::cross_entropy_sums_size(d)), 0);
    kernels::cross_entropy_scales<T>({}, d, targets, {}, 1, {}, {}, sums, scales.span());
    kernels::cross_entropy<T>({}, d, logits, targets, {&scales.span()[0], d.pixels}, sums, loss.span(),
                              dlogits.span());
    CHECK((scales.intact() && dlogits.intact() && loss.intact()));
    return std::pair{double(loss[0]), dlogits.values()};
  };
  const auto [loss, gradient] = run(0.0f);
  const auto [true_loss, truth] = run(0.0);
  CHECK(loss == Approx(true_loss).epsilon(1e-6));
  double worst = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double gap = std::abs(double(gradient[i]) - truth[i]) * double(d.pixels);  // of probabilities
    worst = gap <= worst ? worst : gap;
  }
  CHECK(worst < 2e-6);
}

TEST_CASE("cross_entropy: whatever the logits' size, a pixel's numbers are right and its own",
          "[autograd][softmax]") {
  // Exponentials of plain logits overflow in some pixels, vanish in others, and some have a target that does.
  const long classes = GENERATE(2, 7, 8, 9, 15, 16, 17, 21, 32, 33, 48, 50, 64, 65), pixels = 150;
  constexpr float kOffsets[] = {0, 35, -35, 50, -50, 75, -200, 1e4f};
  Random random(7);
  std::vector<float> logits(std::size_t(pixels * classes)), scales(std::size_t(pixels), 0.5f);
  std::vector<std::int32_t> targets(std::size_t(pixels), 0);
  for (long p = 0; p < pixels; ++p) {
    float* const x = logits.data() + p * classes;
    const float offset = kOffsets[p * 5 % 8 * (p % 3 == 1)];
    for (long c = 0; c < classes; ++c) x[c] = offset + float(3 * random.normal());
    targets[std::size_t(p)] = std::int32_t(p * 7 % classes);
    if (p % 3 == 2) x[targets[std::size_t(p)]] -= float(p);
    // One other class alone is out of all proportion: there an exponential may come out as minus infinity.
    if (p % 10 == 6) x[(p * 7 + 1) % classes] = (p % 20 == 6 ? 1e9f : 3e37f) + 1e8f * float(p);
    if (p % 10 == 3) targets[std::size_t(p)] = -1, scales[std::size_t(p)] = 0, x[p % classes] = NAN;
  }
  for (const CpuIsa isa : {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512}) {
    if (isa > cpu_isa()) continue;
    INFO(cpu_isa_name(isa) << ", " << classes << " classes");
    auto* const kernel = kernels::simd::cross_entropy.on(isa);
    const auto run = [&](long first, long count) {
      Guarded<float> losses(count), dlogits(count * classes);
      kernel(count, classes, logits.data() + first * classes, targets.data() + first, scales.data() + first,
             &losses.span()[0], false, &dlogits.span()[0]);
      CHECK((losses.intact() && dlogits.intact()));
      return std::pair{losses.values(), dlogits.values()};
    };
    const auto [losses, dlogits] = run(0, pixels);
    double worst_loss = 0, worst_gradient = 0;
    for (long p = 0; p < pixels; ++p) {
      const float* const x = logits.data() + p * classes;
      const std::int32_t target = targets[std::size_t(p)];
      const double largest = target < 0 ? 0 : double(*std::max_element(x, x + classes));
      double sum = 0;
      for (long c = 0; c < classes; ++c) sum += std::exp(double(x[c]) - largest);
      const double loss = target < 0 ? 0 : std::log(sum) + largest - double(x[target]);
      const double gap = std::abs(double(losses[std::size_t(p)]) - loss) / std::max(1.0, loss);
      worst_loss = gap <= worst_loss ? worst_loss : gap;
      for (long c = 0; c < classes; ++c) {
        const double share = std::exp(double(x[c]) - largest) / sum - (c == target);
        const double true_gradient = target < 0 ? 0 : 0.5 * share;
        const double off = std::abs(double(dlogits[std::size_t(p * classes + c)]) - true_gradient);
        worst_gradient = off <= worst_gradient ? worst_gradient : off;
      }
    }
    CHECK(worst_loss < 1e-6);
    CHECK(worst_gradient < 5e-7);
    bool same = true;
    for (long p = 0; p < pixels; ++p) {
      const auto [loss, gradient] = run(p, 1);
      same &= loss[0] == losses[std::size_t(p)];
      same &= std::equal(gradient.begin(), gradient.end(), dlogits.begin() + p * classes);
    }
    CHECK(same);
  }
}

TEST_CASE("softmax_cross_entropy: the gradient follows the chain rule, twice if asked",
          "[autograd][softmax]") {
  const Variable x(Tensor::from<float>({1, 1, 1, 2}, {0, 0}), true);
  const Variable loss = softmax_cross_entropy(x, Tensor::zeros({1, 1, 1}, Dtype::u8));
  loss.backward({}, true);
  loss.backward(Tensor::full(Shape(), 3.0));
  CHECK(x.grad().span<float>()[0] == -2.0f);
  CHECK(x.grad().span<float>()[1] == 2.0f);
}

TEST_CASE("argmax_channels: the first of equals, u8 up to 255 classes", "[autograd][softmax]") {
  const Tensor labels = argmax_channels(Tensor::from<float>({1, 1, 3, 3}, {1, 5, 5, 2, 2, 2, -3, -2, -1}));
  CHECK(labels.shape() == Shape({1, 1, 3}));
  REQUIRE(labels.dtype() == Dtype::u8);
  CHECK((labels.span<std::uint8_t>()[0] == 1 && labels.span<std::uint8_t>()[1] == 0 &&
         labels.span<std::uint8_t>()[2] == 2));
  Tensor many = Tensor::zeros({1, 2, 2, 300}, Dtype::f64);
  many.span<double>()[3 * 300 + 299] = 1;
  const Tensor wide = argmax_channels(many);
  REQUIRE(wide.dtype() == Dtype::i32);
  CHECK(wide.span<std::int32_t>()[3] == 299);
  CHECK_THROWS_AS(argmax_channels(Tensor::zeros({1, 2, 2, 0})), ShapeError);
}

}  // namespace atrous::tests
