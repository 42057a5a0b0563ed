#include "atrous/models/dense_crf.h"

#include "atrous/core/dry_run.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "tests/models/crf_picture.h"
#include "tests/support/catch.h"

// How the dense CRF behaves; dense_crf_answers_test.cpp has what it has to find.

namespace atrous::tests {
namespace {

using models::Compatibility;
using models::DenseCrf;
using models::InferenceOptions;

Tensor random_unary(std::int64_t h, std::int64_t w, std::int64_t classes, Dtype dtype = Dtype::f32) {
  Random random(5);
  Tensor logits = Tensor::empty({1, h, w, classes});
  for (float& v : logits.span<float>()) v = float(random.uniform(-2, 2));
  return models::unary_from_logits(logits.to(dtype));
}
Tensor random_image(std::int64_t h, std::int64_t w) {
  Random random(6);
  Tensor image = Tensor::empty({1, h, w, 3}, Dtype::u8);
  for (std::int64_t i = 0; i < h * w; ++i)
    for (std::int64_t c = 0; c < 3; ++c)
      image.span<std::uint8_t>()[3 * i + c] =
          std::uint8_t((i % w > w / 2 ? 150 : 60) + 20 * c + std::int64_t(random.uniform(0, 30)));
  return image;
}

}  // namespace

TEST_CASE("dense_crf: the separable Gaussian is the exact one", "[models][dense_crf]") {
  const Golden golden;
  for (const double sigma : {0.3, 1.0, 3.0, 40.0})
    for (const Dtype dtype : {Dtype::f32, Dtype::f64})
      for (const Normalization normalization :
           {Normalization::none, Normalization::symmetric, Normalization::mean}) {
        INFO(sigma << ' ' << dtype << ' ' << normalization_name(normalization));
        const auto run = [&](FilterMethod method) {
          DenseCrf crf(models::unary_from_logits(golden.logits.to(dtype)));
          crf.add_gaussian({sigma, sigma + 0.5}, Compatibility::potts(0.2),
                           {.normalization = normalization, .method = method});
          return crf.inference({.iterations = 3}).clone();
        };
        const Comparison c = compare(run(FilterMethod::separable), run(FilterMethod::exact), 3);
        CHECK(c.quantile999 < 1e-5);
      }
}

TEST_CASE("dense_crf: steps, damping and early stop", "[models][dense_crf]") {
  const Golden golden;
  for (const FilterMethod method : {FilterMethod::lattice, FilterMethod::exact}) {
    INFO(filter_method_name(method));
    const auto make = [&] {
      return golden.crf(Dtype::f32, Normalization::symmetric, Compatibility::potts(3),
                        Compatibility::potts(4), method);
    };
    DenseCrf steps = make(), whole = make();
    steps.start();
    for (int t = 0; t < 5; ++t) steps.step();
    whole.inference({.iterations = 5});
    CHECK(compare(steps.q(), whole.q(), 3).quantile999 < 1e-6);
    CHECK(steps.iterations() == 5);

    // Half a step from the start is the mean of both ends.
    DenseCrf damped = make();
    damped.start();
    const Tensor before = damped.q().clone();
    const double change = damped.step(0.5);
    const Tensor after = whole.inference({.iterations = 1}).clone();
    double worst = 0, largest = 0;
    for (std::int64_t i = 0; i < before.numel(); ++i) {
      const double b = double(before.span<float>()[i]), a = double(after.span<float>()[i]);
      worst = std::max(worst, std::abs(double(damped.q().span<float>()[i]) - (a + b) / 2));
      largest = std::max(largest, std::abs(a - b) / 2);
    }
    CHECK(worst < 1e-6);
    CHECK(std::abs(change - largest) < 1e-6);

    DenseCrf patient = make();
    patient.inference({.iterations = 200, .tolerance = 1e-3});
    CHECK((patient.iterations() > 3 && patient.iterations() < 100));
    const Tensor there = patient.q().clone();
    CHECK(patient.step() < 2e-3);
    DenseCrf same = make();
    same.inference({.iterations = patient.iterations() - 1});
    CHECK(compare(same.q(), there, 3).quantile999 < 1e-6);
  }
}

TEST_CASE("dense_crf: the exact free energy never rises where theory says so", "[models][dense_crf]") {
  const Golden golden;
  for (const Normalization normalization :
       {Normalization::none, Normalization::mean, Normalization::symmetric})
    for (const double strength : {0.05, 1.0, 10.0}) {
      INFO(normalization_name(normalization) << ' ' << strength);
      const auto make = [&](const Compatibility& a, const Compatibility& b) {
        return golden.crf(Dtype::f64, normalization, a, b, FilterMethod::exact);
      };
      DenseCrf crf =
          make(Compatibility::potts(strength), Compatibility::diagonal({strength, 0.2, 2 * strength}));
      crf.start();
      double before = crf.free_energy();
      for (int t = 0; t < 12; ++t) {
        crf.step();
        const double now = crf.free_energy();
        CHECK(now <= before + 1e-9 * std::abs(before));
        before = now;
      }
    }
}

TEST_CASE("dense_crf: the free energy of a field of two pixels, by hand", "[models][dense_crf]") {
  // Features 0 and 1: k = e^-1/2 between them, 1 with themselves.
  const Tensor unary = Tensor::from({2, 2}, std::vector<double>{0.1, 0.9, 0.4, 0.2});
  DenseCrf crf(unary);
  crf.add_pairwise(Tensor::from({2, 1}, std::vector<double>{0, 1}), Compatibility::potts(2),
                   {.normalization = Normalization::none, .method = FilterMethod::exact});
  crf.start();
  const double k = std::exp(-0.5), a = 1 / (1 + std::exp(0.1 - 0.9)), b = 1 / (1 + std::exp(0.4 - 0.2));
  const auto entropy = [](double p) { return p * std::log(p) + (1 - p) * std::log(1 - p); };
  // Two different labels cost 2: among themselves a (1-a), both ways; across a (1-b) + b (1-a), both ways.
  const double wanted = entropy(a) + entropy(b) + a * 0.1 + (1 - a) * 0.9 + b * 0.4 + (1 - b) * 0.2 +
                        0.5 * 2 * (2 * a * (1 - a) + 2 * b * (1 - b) + 2 * k * (a * (1 - b) + b * (1 - a)));
  CHECK(std::abs(crf.free_energy() - wanted) < 1e-12);
  CHECK(crf.map().span<std::uint8_t>()[0] == 0);
  CHECK(crf.map().span<std::uint8_t>()[1] == 1);
}

TEST_CASE("dense_crf: every number of classes, whichever way it is computed", "[models][dense_crf]") {
  const std::int64_t classes = GENERATE(1, 2, 3, 8, 16, 21, 33, 64, 65, 150);
  INFO(classes << " classes");
  const std::int64_t h = 37, w = 71;
  const Tensor image = random_image(h, w);
  const auto run = [&](Dtype dtype, const InferenceOptions& options) {
    DenseCrf crf(random_unary(h, w, classes, dtype));
    crf.add_gaussian({2, 2}, Compatibility::potts(3));
    crf.add_bilateral(image, {20, 20}, {13}, Compatibility::potts(5));
    return crf.inference(options).clone();
  };
  const Tensor fused = run(Dtype::f32, {.iterations = 3}), plain = run(Dtype::f64, {.iterations = 3});
  const Comparison c = compare(fused, plain, classes);
  CHECK(c.quantile999 < 1e-5);
  CHECK(c.agreement > 0.9999);
  // A tolerance that is never met changes the way through memory and nothing else.
  CHECK(identical(fused, run(Dtype::f32, {.iterations = 3, .tolerance = 1e-30})));
}

TEST_CASE("dense_crf: the bits do not depend on threads or on the batch", "[models][dense_crf]") {
  const std::int64_t h = 90, w = 75;
  const Tensor image = random_image(h, w), unary = random_unary(h, w, 21);
  const auto run = [&](const Tensor& u, const Tensor& i) {
    return models::dense_crf(u, i, models::crf_preset("v2"));
  };
  const int before = threads();
  set_threads(1);
  const Tensor one = run(unary, image);
  set_threads(3);
  CHECK(identical(one, run(unary, image)));
  set_threads(before);
  Tensor images = Tensor::zeros({2, h, w, 3}, Dtype::u8), unaries = Tensor::zeros({2, h, w, 21});
  std::copy_n(image.span<std::uint8_t>().data(), image.numel(),
              images.span<std::uint8_t>().data() + image.numel());
  std::copy_n(unary.span<float>().data(), unary.numel(), unaries.span<float>().data() + unary.numel());
  const Tensor both = run(unaries, images);
  CHECK(std::equal(one.span<float>().begin(), one.span<float>().end(),
                   both.span<float>().data() + unary.numel()));
}

TEST_CASE("dense_crf: a volume is a grid of three axes", "[models][dense_crf]") {
  // Two slices that know, and one between them that does not.
  Tensor unary = Tensor::zeros({3 * 5 * 5, 2});
  for (std::int64_t i = 0; i < 75; ++i)
    if (i < 25 || i >= 50) unary.span<float>()[2 * i + (i % 5 < 3 ? 1 : 0)] = 2;
  DenseCrf crf(unary);
  crf.add_pairwise(models::grid_features({3, 5, 5}, {1.5, 0.7, 0.7}), Compatibility::potts(4));
  crf.inference({.iterations = 5});
  const Tensor labels = crf.map();
  for (std::int64_t i = 25; i < 50; ++i) CHECK(labels.span<std::uint8_t>()[i] == (i % 5 < 3 ? 0 : 1));
  const Tensor f = models::grid_features({2, 3}, {2, 0.5}, Tensor::full({6, 1}, 8), {4});
  CHECK(f.shape() == Shape{6, 3});
  CHECK(
      (f.span<float>()[5 * 3] == 0.5f && f.span<float>()[5 * 3 + 1] == 4 && f.span<float>()[5 * 3 + 2] == 2));
}

TEST_CASE("dense_crf: degenerate fields have an answer", "[models][dense_crf]") {
  const auto run = [](const Tensor& unary, const Tensor& image, double sigma_xy, double sigma_rgb) {
    DenseCrf crf(unary);
    crf.add_gaussian({sigma_xy, sigma_xy}, Compatibility::potts(3));
    crf.add_bilateral(image, {sigma_xy, sigma_xy}, {sigma_rgb}, Compatibility::potts(4));
    return crf.inference({.iterations = 4}).clone();
  };
  const auto sums_to_one = [](const Tensor& q) {
    const std::int64_t classes = q.dim(-1);
    for (std::int64_t i = 0; i < q.numel(); i += classes) {
      double sum = 0;
      for (std::int64_t c = 0; c < classes; ++c) sum += double(q.span<float>()[i + c]);
      if (!(std::abs(sum - 1) < 1e-5)) return false;
    }
    return true;
  };
  // One class, one pixel, one row, a constant image.
  CHECK(run(random_unary(4, 5, 1), random_image(4, 5), 3, 13).span<float>()[7] == 1);
  CHECK(sums_to_one(run(random_unary(1, 1, 3), random_image(1, 1), 3, 13)));
  CHECK(sums_to_one(run(random_unary(1, 300, 3), random_image(1, 300), 3, 13)));
  CHECK(sums_to_one(run(random_unary(30, 20, 3), Tensor::full({1, 30, 20, 3}, 128, Dtype::u8), 3, 13)));
  // So narrow that every pixel is alone: a pixel then hears itself, with weight 7 in all, exactly.
  const Tensor unary = random_unary(20, 30, 3), alone = run(unary, random_image(20, 30), 0.01, 0.01);
  for (const std::int64_t i : {0, 100, 599}) {
    double q[3] = {}, sum = 0;
    const float* u = unary.span<float>().data() + 3 * i;
    for (int c = 0; c < 3; ++c) sum += q[c] = std::exp(-double(u[c]));
    for (double& v : q) v /= sum;
    for (int t = 0; t < 4; ++t) {
      double z[3], norm = 0;
      for (int c = 0; c < 3; ++c) norm += z[c] = std::exp(-double(u[c]) + 7 * q[c]);
      for (int c = 0; c < 3; ++c) q[c] = z[c] / norm;
    }
    for (int c = 0; c < 3; ++c) CHECK(std::abs(double(alone.span<float>()[3 * i + c]) - q[c]) < 1e-5);
  }
  // So wide that all pixels are one: all hear the same mean.
  CHECK(sums_to_one(run(unary, random_image(20, 30), 1e6, 1e6)));
  // All labels alike stay alike.
  const Tensor even = run(Tensor::zeros({1, 9, 9, 4}), random_image(9, 9), 3, 13);
  for (const float v : even.span<float>()) CHECK(std::abs(v - 0.25f) < 1e-6f);
  // 16-bit images, as integers or floats.
  Tensor deep = Tensor::empty({1, 20, 30, 3}, Dtype::i32);
  const Tensor shallow = random_image(20, 30);
  for (std::int64_t i = 0; i < deep.numel(); ++i)
    deep.span<std::int32_t>()[i] = 257 * shallow.span<std::uint8_t>()[i];
  CHECK(compare(run(unary, deep, 3, 13 * 257), run(unary, shallow, 3, 13), 3).mean < 1e-5);
}

TEST_CASE("dense_crf: what makes no sense is refused in one sentence", "[models][dense_crf]") {
  const Tensor unary = random_unary(4, 5, 3), image = random_image(4, 5);
  DenseCrf crf(unary);
  const auto potts = Compatibility::potts(1);
  CHECK(refusal([&] { crf.add_gaussian({0, 3}, potts); }).find("must be positive") != std::string::npos);
  CHECK(refusal([&] { crf.add_gaussian({NAN, 3}, potts); }).find("must be positive") != std::string::npos);
  CHECK(refusal([&] { crf.add_gaussian({1e-9, 3}, potts); }).find("too small") != std::string::npos);
  CHECK(refusal([&] {
          crf.add_bilateral(random_image(5, 4), {3, 3}, {1}, potts);
        }).find("must be [1, 4, 5") != std::string::npos);
  CHECK(refusal([&] {
          crf.add_bilateral(image, {3, 3}, {1, 2}, potts);
        }).find("one, or one each") != std::string::npos);
  CHECK(refusal([&] {
          crf.add_gaussian({3, 3}, Compatibility::diagonal({1, 2}));
        }).find("3 classes need 3") != std::string::npos);
  CHECK(refusal([&] {
          crf.add_pairwise(Tensor::zeros({1, 5, 4, 2}), potts);
        }).find("do not belong") != std::string::npos);
  CHECK(refusal([&] {
          crf.add_bilateral(image, {3, 3}, {3}, potts, {.method = FilterMethod::separable});
        }).find("lattice or exact") != std::string::npos);
  CHECK(refusal([&] { crf.q(); }).find("before inference") != std::string::npos);
  CHECK(refusal([&] { crf.inference({.relax = 0}); }).find("relax") != std::string::npos);
  CHECK(refusal([&] { models::crf_preset("v3"); }).find("v1, v2, demo") != std::string::npos);
  Tensor broken = unary.clone();
  broken.span<float>()[7] = NAN;
  CHECK(refusal([&] { DenseCrf nan(broken); }).find("pixel 2, class 1") != std::string::npos);
  broken.span<float>()[7] = INFINITY;
  CHECK(refusal([&] { DenseCrf infinite(broken); }).find("not finite") != std::string::npos);
  CHECK(refusal([&] { DenseCrf empty(Tensor::zeros({0, 4, 5, 3})); }).find("not empty") != std::string::npos);
}

TEST_CASE("dense_crf: an image of 30000 x 30000 pixels is refused before its lattice is begun",
          "[models][dense_crf]") {
  const DryRun rehearsal;  // the tensors have no memory behind them
  DenseCrf crf(Tensor::empty({1, 30000, 30000, 2}));
  const auto potts = Compatibility::potts(1);
  const std::string sentence = "one lattice holds less than 2^31: cut it into tiles";
  CHECK(refusal([&] { crf.add_gaussian({3, 3}, potts); }).find(sentence) != std::string::npos);
  const Tensor image = Tensor::empty({1, 30000, 30000, 3}, Dtype::u8);
  CHECK(refusal([&] {
          crf.add_bilateral(image, {3, 3}, {13}, potts);
        }).find("30000 x 30000 pixels with 5 features") != std::string::npos);
}

}  // namespace atrous::tests
