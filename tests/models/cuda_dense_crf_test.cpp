#include <algorithm>
#include <cmath>

#include "atrous/core/error.h"
#include "atrous/core/later_check.h"
#include "atrous/core/random.h"
#include "atrous/core/stream.h"
#include "atrous/models/dense_crf.h"
#include "tests/models/crf_picture.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

// A dense CRF as a whole on the first CUDA device: the CPU's answers, and twice the same.

namespace atrous::tests {
namespace {

using models::Compatibility;
using models::DenseCrf;

constexpr Device kCuda{DeviceType::cuda, 0};

bool no_device() {
  if (cuda_device_count() > 0) return false;
  WARN("no CUDA device: skipped");
  return true;
}

// The golden picture on a device.
struct Field : Golden {
  using Golden::Golden;
  Tensor unary(Device device, Dtype dtype) const {
    return models::unary_from_logits(logits.to(dtype).to(device));
  }
  DenseCrf crf(Device device, Dtype dtype, const models::TermOptions& options, double weight = 1) const {
    DenseCrf crf(unary(device, dtype));
    crf.add_gaussian({3, 3}, Compatibility::potts(3 * weight), options);
    crf.add_bilateral(image, {8, 8}, {30}, Compatibility::potts(4 * weight), options);
    return crf;
  }
};

double largest_gap(const Tensor& cuda, const Tensor& cpu) {
  REQUIRE(cuda.device() == kCuda);
  const Tensor a = cuda.to(kCpu).to(Dtype::f64), b = cpu.to(Dtype::f64);
  double worst = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double gap = std::abs(a.span<double>()[i] - b.span<double>()[i]);
    if (!(gap <= worst)) worst = std::isnan(gap) ? INFINITY : gap;
  }
  return worst;
}

}  // namespace

TEST_CASE("dense_crf: CUDA has the CPU's answers for every normalisation and filter",
          "[models][dense_crf][cuda]") {
  if (no_device()) return;
  const Field field;
  for (const Dtype dtype : {Dtype::f32, Dtype::f64})
    for (const FilterMethod method : {FilterMethod::lattice, FilterMethod::exact})
      for (const Normalization normalization :
           {Normalization::none, Normalization::mean, Normalization::before, Normalization::after,
            Normalization::symmetric}) {
        INFO(dtype << ' ' << filter_method_name(method) << ' ' << normalization_name(normalization));
        const models::TermOptions options{.normalization = normalization, .method = method};
        const double weight = normalization == Normalization::none ? 0.05 : 1;
        DenseCrf cpu = field.crf(kCpu, dtype, options, weight),
                 cuda = field.crf(kCuda, dtype, options, weight);
        // All pairs of pixels take their time on an emulator.
        const bool exact = method == FilterMethod::exact, once = normalization != Normalization::symmetric;
        if (exact && once && dtype == Dtype::f64) continue;
        const models::InferenceOptions iterations{.iterations = exact ? 2 : 5};
        cpu.inference(iterations);
        const Tensor first = cuda.inference(iterations).clone();
        CHECK(largest_gap(first, cpu.q()) < (dtype == Dtype::f64 ? 1e-10 : 2e-5));
        for (const std::size_t term : {0, 1}) CHECK(cuda.vertices(term) == cpu.vertices(term));
        if (method == FilterMethod::lattice) CHECK((cuda.vertices(0) == 38 && cuda.vertices(1) == 346));
        CHECK(identical(cuda.map().to(kCpu), cpu.map()));
        if (once) continue;
        CHECK(identical(cuda.inference(iterations).to(kCpu), first.to(kCpu)));
        CHECK(cuda.free_energy() == Approx(cpu.free_energy()).epsilon(1e-5));
        CHECK(cuda.kl_divergence_pydensecrf() == Approx(cpu.kl_divergence_pydensecrf()).epsilon(1e-5));
      }
}

TEST_CASE("dense_crf: on CUDA every kind of term, step and stop is the CPU's", "[models][dense_crf][cuda]") {
  if (no_device()) return;
  const Field field;
  const auto add_all = [&](DenseCrf& crf) {
    crf.add_gaussian({1, 1.5}, Compatibility::diagonal({2, 3, 1}), {.method = FilterMethod::automatic});
    crf.add_bilateral(field.image, {8, 5}, {30, 20, 10}, Compatibility::matrix({0, 3, 1, 2, 0, 2, 1, 1, 0}));
    crf.add_pairwise(models::grid_features({1, Field::kHeight, Field::kWidth}, {1, 4, 6})
                         .reshape({1, Field::kHeight, Field::kWidth, 3}),
                     Compatibility::potts(1), {.scale = FilterScale::mass});
  };
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    INFO(dtype);
    const double bound = dtype == Dtype::f64 ? 1e-10 : 2e-5;
    DenseCrf cpu(field.unary(kCpu, dtype)), cuda(field.unary(kCuda, dtype));
    add_all(cpu);
    add_all(cuda);
    CHECK(largest_gap(cuda.inference({.iterations = 4, .relax = 0.5}),
                      cpu.inference({.iterations = 4, .relax = 0.5})) < bound);
    cpu.start(), cuda.start();
    for (int t = 0; t < 3; ++t) CHECK(std::abs(cpu.step(0.75) - cuda.step(0.75)) < bound);
    CHECK(largest_gap(cuda.q(), cpu.q()) < bound);
    cpu.inference({.iterations = 60, .tolerance = 1e-3});
    cuda.inference({.iterations = 60, .tolerance = 1e-3});
    CHECK((cuda.iterations() == cpu.iterations() && cpu.iterations() < 60));
  }
}

TEST_CASE("dense_crf: on CUDA an image does not know its batch, and the host does not wait for iterations",
          "[models][dense_crf][cuda]") {
  if (no_device()) return;
  const Field one, two(2);
  DenseCrf alone = one.crf(kCuda, Dtype::f32, {}), both = two.crf(kCuda, Dtype::f32, {});
  const Tensor q = alone.inference({.iterations = 3}).to(kCpu),
               qs = both.inference({.iterations = 3}).to(kCpu);
  CHECK(std::equal(q.span<float>().begin(), q.span<float>().end(), qs.span<float>().begin()));

  bool waited = false;
  check_later(Tensor::zeros({1}).to(kCuda), [&](const Tensor&) { waited = true; });
  both.inference({.iterations = 3});
  both.inference({.iterations = 3, .relax = 0.5});
  CHECK(!waited);
  both.inference({.iterations = 3, .tolerance = 1e-9});
  CHECK(waited);
}

TEST_CASE("dense_crf: on CUDA points without an image, unaries of all kinds, and refusals",
          "[models][dense_crf][cuda]") {
  if (no_device()) return;
  Random random(3);
  Tensor points = Tensor::empty({90, 4}, Dtype::f64), probabilities = Tensor::empty({90, 5}, Dtype::f64);
  for (double& v : points.span<double>()) v = random.uniform(-2, 2);
  for (double& v : probabilities.span<double>()) v = random.uniform(0, 1);
  const auto q = [&](Device device) {
    DenseCrf crf(models::unary_from_probabilities(probabilities.to(device), {.scale = 0.9}));
    crf.add_pairwise(points.to(device), Compatibility::potts(2));
    return crf.inference({.iterations = 4}).clone();
  };
  CHECK(largest_gap(q(kCuda), q(kCpu)) < 1e-10);

  const Tensor labels = Tensor::from({1, 1, 3}, std::vector<std::int32_t>{2, 255, 0});
  CHECK(largest_gap(models::unary_from_labels(labels.to(kCuda), 3), models::unary_from_labels(labels, 3)) ==
        0);

  const auto refusal = [](const auto& f) {
    try {
      f();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("nothing was thrown");
  };
  Tensor broken = Tensor::zeros({1, 2, 2, 3});
  broken.span<float>()[7] = NAN;
  const auto says = [&](const auto& f, const char* words) {
    INFO(refusal(f));
    CHECK(refusal(f).find(words) != std::string::npos);
  };
  says([&] { DenseCrf crf(broken.to(kCuda)); }, "pixel 2, class 1");
  says([&] { models::unary_from_labels(labels.to(kCuda), 2).to(kCpu); }, "label 2 at pixel (0, 0, 0)");
  says([&] { models::unary_from_logits(broken.to(kCuda)); }, "pixel 2, class 0");
  says([&] { models::unary_from_probabilities(broken.to(kCuda)); }, "pixel 2, class 1: nan");
  DenseCrf crf(Tensor::zeros({1, 2, 2, 3}).to(kCuda));
  says([&] { crf.add_gaussian({1e-10, 1e-10}, Compatibility::potts(1)); }, "too small");
  says(
      [&] {
        crf.add_pairwise(Tensor::full({1, 2, 2, 40}, 0).to(kCuda), Compatibility::potts(1));
      },
      "1 to 32 features");
}

}  // namespace atrous::tests
