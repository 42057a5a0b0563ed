#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "atrous/io/npy.h"
#include "tests/models/crf_picture.h"
#include "tests/support/catch.h"
#include "tests/support/test_files.h"

// The dense CRF against answers that others computed: the public densecrf core, pydensecrf, brute force.

namespace atrous::tests {
namespace {

using models::Compatibility;
using models::DenseCrf;

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

// [C, H, W] to [1, H, W, C].
Tensor channels_last(const Tensor& t) {
  const std::int64_t classes = t.dim(0), pixels = t.dim(1) * t.dim(2);
  Tensor result = Tensor::empty({1, t.dim(1), t.dim(2), classes});
  for (std::int64_t i = 0; i < pixels; ++i)
    for (std::int64_t c = 0; c < classes; ++c)
      result.span<float>()[i * classes + c] = t.span<float>()[c * pixels + i];
  return result;
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
