#include "atrous/models/dense_crf.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "atrous/core/dry_run.h"
#include "atrous/core/error.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "atrous/io/npy.h"
#include "tests/support/catch.h"
#include "tests/support/test_files.h"

namespace atrous::tests {
namespace {

using models::Compatibility;
using models::DenseCrf;
using models::InferenceOptions;

// A picture of 16x12 pixels and logits by formula, whose answers by the public densecrf core (in floats) are
// known.
struct Golden {
  static constexpr std::int64_t kWidth = 16, kHeight = 12, kClasses = 3;
  Tensor image = Tensor::empty({1, kHeight, kWidth, 3}, Dtype::u8),
         logits = Tensor::empty({1, kHeight, kWidth, 3}, Dtype::f64);

  Golden() {
    for (std::int64_t i = 0; i < kHeight * kWidth; ++i) {
      const std::int64_t x = i % kWidth, y = i / kWidth;
      const std::array<std::int64_t, 3> rgb = {16 * x, 20 * y, x < 8 ? 40 : 200};
      for (std::int64_t c = 0; c < 3; ++c) {
        image.span<std::uint8_t>()[3 * i + c] = std::uint8_t(rgb[std::size_t(c)]);
        logits.span<double>()[3 * i + c] =
            std::sin(0.7 * double(x) + 1.3 * double(c)) + std::cos(0.5 * double(y) - 0.9 * double(c));
      }
    }
  }
  DenseCrf crf(Dtype dtype, Normalization normalization, const Compatibility& gaussian,
               const Compatibility& bilateral, FilterMethod method = FilterMethod::lattice) const {
    DenseCrf crf(models::unary_from_logits(logits.to(dtype)));
    crf.add_gaussian({3, 3}, gaussian, {.normalization = normalization, .method = method});
    crf.add_bilateral(image, {8, 8}, {30}, bilateral, {.normalization = normalization, .method = method});
    return crf;
  }
};

using Rows = std::array<std::array<double, 3>, 3>;  // Q at (0,0), (7,5), (15,11)

double gap_to(const Tensor& q, const Rows& rows) {
  const Tensor values = q.to(Dtype::f64);
  double worst = 0;
  const std::int64_t pixels[3] = {0, 5 * 16 + 7, 11 * 16 + 15};
  for (std::size_t r = 0; r < 3; ++r)
    for (std::size_t c = 0; c < 3; ++c)
      worst = std::max(worst, std::abs(values.span<double>()[pixels[r] * 3 + std::int64_t(c)] - rows[r][c]));
  return worst;
}

struct GoldenRow {
  const char* name;
  Normalization normalization;
  double gaussian, bilateral;
  std::int64_t iterations;
  Rows q;
  double kl;
};
const GoldenRow kRows[] = {
    {"symmetric, 1",
     Normalization::symmetric,
     3,
     4,
     1,
     {{{.28053, .68601, .03347}, {.00195, .01262, .98543}, {.80073, .05465, .14462}}},
     -623.2620},
    {"symmetric, 5",
     Normalization::symmetric,
     3,
     4,
     5,
     {{{.22689, .75646, .01664}, {.00048, .00091, .99860}, {.98601, .00407, .00992}}},
     -759.7192},
    {"after, 1",
     Normalization::after,
     3,
     4,
     1,
     {{{.29206, .68136, .02659}, {.00165, .01086, .98749}, {.87950, .03016, .09034}}},
     -631.8599},
    {"after, 5",
     Normalization::after,
     3,
     4,
     5,
     {{{.60083, .37896, .02021}, {.00032, .00067, .99901}, {.99656, .00090, .00254}}},
     -773.3302},
    {"before, 1",
     Normalization::before,
     3,
     4,
     1,
     {{{.27330, .68654, .04015}, {.00228, .01441, .98330}, {.72527, .08045, .19427}}},
     -627.5307},
    {"before, 5",
     Normalization::before,
     3,
     4,
     5,
     {{{.10212, .88437, .01351}, {.00074, .00124, .99802}, {.96239, .01173, .02588}}},
     -766.4876},
    {"none, 1",
     Normalization::none,
     .05,
     .2,
     1,
     {{{.30949, .58226, .10824}, {.00954, .05529, .93517}, {.52827, .16862, .30311}}},
     -229.9843},
    {"none, 5",
     Normalization::none,
     .05,
     .2,
     5,
     {{{.32043, .57197, .10761}, {.00610, .02389, .97002}, {.59934, .13615, .26451}}},
     -244.5060},
};

std::vector<double> potts_matrix(double w) {
  std::vector<double> mu(9, w);
  for (std::size_t i = 0; i < 3; ++i) mu[4 * i] = 0;
  return mu;
}

// Argmax agreement, and quantiles of |a - b|.
struct Comparison {
  double agreement, mean, quantile999;
};
Comparison compare(const Tensor& a, const Tensor& b, std::int64_t classes) {
  const Tensor left = a.to(Dtype::f32), right = b.to(Dtype::f32);
  const Span<const float> p = left.span<float>(), q = right.span<float>();
  std::vector<double> gaps;
  std::int64_t same = 0;
  for (std::int64_t i = 0; i < p.size(); i += classes) {
    same += std::max_element(p.data() + i, p.data() + i + classes) - (p.data() + i) ==
            std::max_element(q.data() + i, q.data() + i + classes) - (q.data() + i);
    for (std::int64_t c = i; c < i + classes; ++c) gaps.push_back(std::abs(double(p[c]) - double(q[c])));
  }
  std::sort(gaps.begin(), gaps.end());
  return {double(same) * double(classes) / double(p.size()),
          std::accumulate(gaps.begin(), gaps.end(), 0.0) / double(gaps.size()),
          gaps[std::size_t(0.999 * double(gaps.size()))]};
}

// [C, H, W] to [1, H, W, C].
Tensor channels_last(const Tensor& t) {
  const std::int64_t classes = t.dim(0), pixels = t.dim(1) * t.dim(2);
  Tensor result = Tensor::empty({1, t.dim(1), t.dim(2), classes});
  for (std::int64_t i = 0; i < pixels; ++i)
    for (std::int64_t c = 0; c < classes; ++c)
      result.span<float>()[i * classes + c] = t.span<float>()[c * pixels + i];
  return result;
}

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

std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("dense_crf: marginals and pydensecrf's divergence on a picture by formula", "[models][dense_crf]") {
  const Golden golden;
  for (const Dtype dtype : {Dtype::f32, Dtype::f64})
    for (const GoldenRow& row : kRows) {
      INFO(row.name << ' ' << dtype);
      DenseCrf crf = golden.crf(dtype, row.normalization, Compatibility::potts(row.gaussian),
                                Compatibility::potts(row.bilateral));
      CHECK((crf.vertices(0) == 38 && crf.vertices(1) == 346));
      CHECK(gap_to(crf.inference({.iterations = row.iterations}), row.q) < 2e-5);
      CHECK(std::abs(crf.kl_divergence_pydensecrf() - row.kl) < 2e-3);
    }
  DenseCrf start =
      golden.crf(Dtype::f32, Normalization::symmetric, Compatibility::potts(3), Compatibility::potts(4));
  CHECK(gap_to(start.inference({.iterations = 0}),
               {{{.30431, .54633, .14936}, {.02565, .13643, .83792}, {.42103, .22320, .35577}}}) < 2e-5);
}

TEST_CASE("dense_crf: a matrix of penalties", "[models][dense_crf]") {
  const Golden golden;
  auto mu3 = potts_matrix(3), mu4 = potts_matrix(4);
  const auto run = [&](Dtype dtype, bool symmetrize) {
    return golden.crf(dtype, Normalization::symmetric, Compatibility::matrix(mu3, symmetrize),
                      Compatibility::matrix(mu4, symmetrize));
  };
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    DenseCrf potts = run(dtype, false);
    CHECK(gap_to(potts.inference({.iterations = 5}), kRows[1].q) < 2e-5);
    CHECK(std::abs(potts.kl_divergence_pydensecrf() - 570.2759) < 2e-3);
  }
  mu3[1] = mu3[3] = mu4[1] = mu4[3] = 1;
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    DenseCrf cheap = run(dtype, false);
    CHECK(gap_to(cheap.inference({.iterations = 5}),
                 {{{.31187, .68696, .00117}, {.12447, .82959, .04593}, {.84944, .14614, .00442}}}) < 2e-5);
    CHECK(std::abs(cheap.kl_divergence_pydensecrf() - 265.1802) < 2e-3);
  }
  mu3[1] = 2, mu3[3] = 0, mu4[1] = 0, mu4[3] = 2;  // the same mean with the transpose
  DenseCrf skewed = run(Dtype::f64, false), symmetrized = run(Dtype::f64, true), mean = [&] {
    mu3[1] = mu3[3] = mu4[1] = mu4[3] = 1;
    return run(Dtype::f64, false);
  }();
  const Tensor q = symmetrized.inference({.iterations = 3}).clone();
  CHECK(identical(q, mean.inference({.iterations = 3})));
  CHECK(compare(q, skewed.inference({.iterations = 3}), 3).mean > 1e-3);
}

TEST_CASE("dense_crf: a diagonal attracts like Potts, label by label", "[models][dense_crf]") {
  const Golden golden;
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    DenseCrf crf = golden.crf(dtype, Normalization::symmetric, Compatibility::diagonal({3, 3, 3}),
                              Compatibility::diagonal({4, 4, 4}));
    CHECK(gap_to(crf.inference({.iterations = 5}), kRows[1].q) < 2e-5);
    DenseCrf favoured = golden.crf(dtype, Normalization::symmetric, Compatibility::diagonal({3, 3, 9}),
                                   Compatibility::diagonal({4, 4, 8}));
    const Tensor q = favoured.inference({.iterations = 5});
    CHECK(q.to(Dtype::f64).span<double>()[2] > 0.5);  // was 0.017
  }
}

TEST_CASE("dense_crf: the exact filter", "[models][dense_crf]") {
  const Golden golden;
  const std::pair<Normalization, Rows> rows[] = {
      {Normalization::symmetric,
       {{{.44869, .52835, .02296}, {.00048, .00094, .99858}, {.98701, .00355, .00943}}}},
      {Normalization::after,
       {{{.78659, .19815, .01527}, {.00031, .00066, .99903}, {.99603, .00098, .00299}}}},
      {Normalization::before,
       {{{.24197, .73270, .02533}, {.00073, .00128, .99799}, {.96873, .00922, .02204}}}}};
  for (const Dtype dtype : {Dtype::f32, Dtype::f64})
    for (const auto& [normalization, q] : rows) {
      INFO(normalization_name(normalization) << ' ' << dtype);
      DenseCrf crf = golden.crf(dtype, normalization, Compatibility::potts(3), Compatibility::potts(4),
                                FilterMethod::exact);
      CHECK(gap_to(crf.inference({.iterations = 5}), q) < 2e-5);
    }
}

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

TEST_CASE("unary: logits, probabilities and labels", "[models][dense_crf]") {
  const Tensor p = Tensor::from({1, 1, 2, 2}, std::vector<double>{0.25, 0.75, 0, 1});
  const Tensor u = models::unary_from_probabilities(p);
  CHECK(std::abs(u.span<double>()[0] + std::log(0.25)) < 1e-12);
  CHECK((std::abs(u.span<double>()[2] + std::log(1e-5)) < 1e-12 && u.span<double>()[3] == 0));
  const Tensor soft = models::unary_from_probabilities(p, {.scale = 0.5});
  CHECK(std::abs(soft.span<double>()[2] + std::log(0.25)) < 1e-12);
  CHECK(refusal([&] { models::unary_from_probabilities(p, {.clip = 0}); }).find("pixel 1, class 0") !=
        std::string::npos);
  CHECK(refusal([&] {
          models::unary_from_probabilities(Tensor::full({1, 2}, NAN));
        }).find("not a probability") != std::string::npos);
  CHECK(refusal([&] {
          models::unary_from_logits(Tensor::full({1, 2}, INFINITY));
        }).find("not finite") != std::string::npos);
  const Tensor logits = models::unary_from_logits(Tensor::from({1, 2}, std::vector<double>{1000, 1001}));
  CHECK(std::abs(logits.span<double>()[0] - std::log(1 + std::exp(1.0))) < 1e-12);

  const Tensor labels = Tensor::from({1, 1, 3}, std::vector<std::int32_t>{2, 255, 0});
  const Tensor l = models::unary_from_labels(labels, 3, {.confidence = 0.6});
  const float right = float(-std::log(0.6)), wrong = float(-std::log(0.2)), unknown = float(std::log(3.0));
  const std::vector<float> wanted = {wrong, wrong, right, unknown, unknown, unknown, right, wrong, wrong};
  CHECK(std::equal(wanted.begin(), wanted.end(), l.span<float>().begin()));
  CHECK(refusal([&] { models::unary_from_labels(labels, 1); }).find("at least 2 classes") !=
        std::string::npos);
  CHECK(refusal([&] { models::unary_from_labels(labels, 2); }).find("label 2 at pixel (0, 0, 0)") !=
        std::string::npos);
  CHECK(refusal([&] { models::unary_from_labels(labels, 3, {.confidence = 1}); }).find("(0, 1)") !=
        std::string::npos);
}

TEST_CASE("dense_crf: pydensecrf's two photographs", "[models][dense_crf][data]") {
  const auto folder = test_data("crf");
  if (!folder) return;
  for (const std::string k : {"1", "2"}) {
    const Tensor image = io::read_image(*folder + "/im" + k + ".png");
    const Tensor indices = io::read_label_png(*folder + "/labels" + k + ".png");
    const Tensor expected = channels_last(io::read_npy(*folder + "/q5_pydensecrf_" + k + ".npy"));
    const std::int64_t classes = expected.dim(3);
    // 0 is unknown, 1.. are the classes.
    std::vector<std::int32_t> labels;
    for (const std::uint8_t v : indices.span<std::uint8_t>()) labels.push_back(v == 0 ? 255 : v - 1);
    const Tensor unary = models::unary_from_labels(Tensor::from(indices.shape(), labels), classes);
    const Comparison c =
        compare(models::dense_crf(unary, image, models::crf_preset("demo")), expected, classes);
    INFO("photograph " << k << ": argmax " << c.agreement << ", mean " << c.mean << ", 99.9th percentile "
                       << c.quantile999);
    CHECK(c.agreement >= 0.998);
    CHECK(c.mean <= 1e-4);
    CHECK(c.quantile999 <= 2e-3);
  }
}

TEST_CASE("dense_crf: brute force on a small photograph", "[models][dense_crf][data]") {
  const auto folder = test_data("crf");
  if (!folder) return;
  const Tensor image = io::read_image(*folder + "/small1_im.png");
  const Tensor unary = channels_last(io::read_npy(*folder + "/small1_unary.npy"));
  struct Set {
    const char* name;
    double gaussian, xy, rgb, weight;
  };
  for (const Set& s : {Set{"demo", 3, 20, 13, 10}, Set{"deeplab", 1, 17, 3, 4}})
    for (const std::int64_t iterations : {1, 5, 10}) {
      const auto run = [&](Dtype dtype, FilterMethod method) {
        DenseCrf crf(unary.to(dtype));
        crf.add_gaussian({s.gaussian, s.gaussian}, Compatibility::potts(3), {.method = method});
        crf.add_bilateral(image, {s.xy, s.xy}, {s.rgb}, Compatibility::potts(s.weight), {.method = method});
        return crf.inference({.iterations = iterations}).clone();
      };
      const Tensor expected = channels_last(
          io::read_npy(*folder + "/small1_exact_" + s.name + "_q" + std::to_string(iterations) + ".npy"));
      INFO(s.name << ' ' << iterations);
      if (iterations == 5) {  // all pixel pairs, once
        const Tensor exact = run(Dtype::f64, FilterMethod::exact);
        double worst = 0;
        const Tensor floats = exact.to(Dtype::f32);
        for (std::int64_t i = 0; i < exact.numel(); ++i)
          worst = std::max(worst, double(std::abs(floats.span<float>()[i] - expected.span<float>()[i])));
        CHECK(worst <= 1e-5);
      }
      const Comparison c = compare(run(Dtype::f32, FilterMethod::lattice), expected, 2);
      INFO(s.name << ' ' << iterations << ": argmax " << c.agreement << ", mean " << c.mean);
      CHECK(c.agreement >= 0.98);
      CHECK(c.mean <= 0.01);
    }
}

}  // namespace atrous::tests
