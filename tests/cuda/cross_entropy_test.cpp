#include "atrous/kernels/softmax/cross_entropy.h"

#include <limits>

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::SoftmaxDims;
using Targets = std::vector<std::int32_t>;

// Every fifth pixel is left out.
Targets targets_for(const SoftmaxDims& d) {
  Targets t;
  Random random(9);
  for (std::int64_t p = 0; p < d.pixels; ++p)
    t.push_back(p % 5 == 4 ? -1 : std::int32_t(random.below(d.classes)));
  return t;
}

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// The scales of one call, of A = Accumulator<T>.
template <class T>
std::vector<Accumulator<T>> scales_of(const SoftmaxDims& d, const Targets& targets,
                                      const std::vector<Accumulator<T>>& class_weights, double hard_fraction,
                                      const std::vector<Accumulator<T>>& losses) {
  using A = Accumulator<T>;
  const OnDevice<std::int32_t> ct(targets);
  const OnDevice<A> weights(class_weights), cl(losses);
  OnDevice<A> workspace(kernels::cross_entropy_workspace_size(d, kCudaStream.device)), scales(d.pixels);
  OnDevice<double> sums(kernels::cross_entropy_sums_size(d, kCudaStream.device));
  kernels::cuda::cross_entropy_scales<T>(kCudaStream, d, ct.span(), weights.span(), hard_fraction, cl.span(),
                                         workspace.span(), sums.span(), scales.span());
  CHECK((workspace.intact() && sums.intact() && scales.intact()));
  return scales.values();
}

}  // namespace

TEMPLATE_TEST_CASE("cross_entropy_targets: on CUDA the first bad label is found", "[cuda][softmax]",
                   std::uint8_t, std::int32_t) {
  using Label = TestType;
  for (const std::int64_t pixels : {0, 1, 1000}) {
    std::vector<Label> labels;
    for (std::int64_t p = 0; p < pixels; ++p) labels.push_back(Label(p % 4 == 3 ? 255 : p % 7));
    for (const bool bad : {false, true}) {
      if (bad && pixels < 1000) continue;
      if (bad) labels[900] = 200, labels[333] = 21, labels[500] = 22;
      Targets expected(size(pixels));
      std::vector<std::int64_t> first(1);
      kernels::cpu::cross_entropy_targets<Label>({}, {pixels, 21}, 255, labels, expected, first);
      CHECK(first[0] == (bad ? 333 : pixels));
      on_every_schedule([&] {
        const OnDevice<Label> cl(labels);
        OnDevice<std::int32_t> targets(pixels);
        OnDevice<std::int64_t> found(1);
        kernels::cuda::cross_entropy_targets<Label>(kCudaStream, {pixels, 21}, 255, cl.span(), targets.span(),
                                                    found.span());
        CHECK(found.values() == first);
        CHECK(targets.values() == expected);
        CHECK((found.intact() && targets.intact()));
      });
    }
  }
}

TEMPLATE_TEST_CASE("cross_entropy: CUDA agrees with double on the CPU", "[cuda][softmax]", float, bf16,
                   double) {
  using T = TestType;
  using A = Accumulator<T>;
  for (const SoftmaxDims d :
       {SoftmaxDims{1, 1}, {300, 21}, {131, 44}, {70, 60}, {33, 150}, {5, 1000}, {3, 1500}}) {
    INFO(d.pixels << " pixels, " << d.classes << " classes");
    const auto logits = random_values<T>(d.pixels * d.classes, 1);
    const Targets targets = targets_for(d);
    auto scales = random_values<A>(d.pixels, 3);
    for (std::size_t p = 0; p < scales.size(); ++p)
      scales[p] = targets[p] < 0 || p % 11 == 6 ? A(0) : std::abs(scales[p]);
    std::vector<double> losses(size(d.pixels)), sums(size(kernels::cross_entropy_sums_size(d))), loss(1),
        dlogits(logits.size());
    kernels::cpu::cross_entropy_losses<double>({}, d, in_double(logits), targets, losses);
    kernels::cpu::cross_entropy<double>({}, d, in_double(logits), targets, in_double(scales), sums, loss,
                                        dlogits);
    std::vector<T> before;
    on_every_schedule([&] {
      const OnDevice<T> cx(logits);
      const OnDevice<std::int32_t> ct(targets);
      const OnDevice<A> cs(scales);
      OnDevice<A> glosses(d.pixels);
      OnDevice<double> gsums(kernels::cross_entropy_sums_size(d, kCudaStream.device));
      OnDevice<T> gloss(1), alone(1), gdlogits(cx.size()), chained(cx.size());
      kernels::cuda::cross_entropy_losses<T>(kCudaStream, d, cx.span(), ct.span(), glosses.span());
      kernels::cuda::cross_entropy<T>(kCudaStream, d, cx.span(), ct.span(), cs.span(), gsums.span(),
                                      alone.span(), {});
      kernels::cuda::cross_entropy<T>(kCudaStream, d, cx.span(), ct.span(), cs.span(), gsums.span(),
                                      gloss.span(), gdlogits.span());
      kernels::cuda::cross_entropy_chain<T>(kCudaStream, gloss.span(), gdlogits.span(), chained.span());
      CHECK(gap(glosses.values(), losses) <= tolerance<A>());
      CHECK(gap(gloss.values(), loss) <= tolerance<T>());
      CHECK(same_bits(alone.values(), gloss.values()));
      const auto got = gdlogits.values();
      CHECK(gap(got, dlogits) <= tolerance<T>());
      const double factor = in_double(gloss.values())[0];
      std::vector<double> product = in_double(got);
      for (double& v : product) v *= factor;
      CHECK(gap(chained.values(), product) <= tolerance<T>());
      CHECK((glosses.intact() && gsums.intact() && gloss.intact() && gdlogits.intact() && chained.intact()));
      if (before.empty()) before = got;
      CHECK(same_bits(got, before));
    });
  }
}

TEMPLATE_TEST_CASE("cross_entropy: on CUDA a pixel of scale 0 does not count, whatever its logits",
                   "[cuda][softmax]", float, bf16, double) {
  using T = TestType;
  using A = Accumulator<T>;
  for (const SoftmaxDims d : {SoftmaxDims{9, 21}, {9, 60}, {3, 1500}}) {
    auto logits = random_values<T>(d.pixels * d.classes, 1);
    for (std::int64_t c = 0; c < d.classes; ++c) logits[size(d.classes + c)] = T(NAN);
    const OnDevice<T> cx(logits);
    std::vector<A> scales(size(d.pixels), A(0.5));
    scales[1] = A(0);
    const OnDevice<std::int32_t> ct(Targets(size(d.pixels), 1));
    const OnDevice<A> cs(scales);
    OnDevice<double> sums(kernels::cross_entropy_sums_size(d, kCudaStream.device));
    OnDevice<T> loss(1), dlogits(cx.size());
    kernels::cuda::cross_entropy<T>(kCudaStream, d, cx.span(), ct.span(), cs.span(), sums.span(), loss.span(),
                                    dlogits.span());
    CHECK(std::isfinite(in_double(loss.values())[0]));
    const auto got = in_double(dlogits.values());
    for (std::int64_t c = 0; c < d.classes; ++c) CHECK(got[size(d.classes + c)] == 0);
  }
}

TEMPLATE_TEST_CASE("cross_entropy_scales: on CUDA the CPU's pixels are the hardest", "[cuda][softmax]", float,
                   bf16, double) {
  using T = TestType;
  using A = Accumulator<T>;
  for (const std::int64_t pixels : {1, 30, 1025, 3000})
    for (const double hard_fraction : {1.0, 0.1, 0.5, 0.999})
      for (const int kind : {0, 1, 2, 3}) {
        const SoftmaxDims d{pixels, 7};
        INFO(pixels << " pixels, fraction " << hard_fraction << ", losses of kind " << kind);
        const Targets targets = kind == 3 ? Targets(size(pixels), -1) : targets_for(d);
        auto losses = random_values<A>(pixels, 4);
        for (A& loss : losses) loss = std::abs(loss);
        // Many equal ones, both zeros, small negative ones, NaN and infinity.
        const A special[] = {A(0), A(-0.0), A(0.5), A(-1e-9), A(NAN), A(INFINITY)};
        if (kind == 1)
          for (std::size_t p = 0; p < losses.size(); ++p) losses[p] = special[p % 3];
        if (kind == 2)
          for (std::size_t p = 0; p < losses.size(); p += 3) losses[p] = special[p / 3 % 6];
        std::vector<A> weights = kind == 2 ? std::vector<A>{} : std::vector<A>{1, 2, 0.5, 0, 1, 3, 1};
        std::vector<A> workspace(size(kernels::cross_entropy_workspace_size(d))), expected(size(pixels));
        std::vector<double> sums(size(kernels::cross_entropy_sums_size(d)));
        kernels::cpu::cross_entropy_scales<A>({}, d, targets, weights, hard_fraction, losses, workspace, sums,
                                              expected);
        const auto once = [&] {
          const std::vector<A> got = scales_of<T>(d, targets, weights, hard_fraction, losses);
          bool same_pixels = true;
          for (std::size_t p = 0; p < got.size(); ++p) same_pixels &= (got[p] == 0) == (expected[p] == 0);
          CHECK(same_pixels);
          CHECK(gap(got, in_double(expected)) <= tolerance<A>());
        };
        if (pixels > 100)
          once();
        else
          on_every_schedule(once);
      }
}

}  // namespace atrous::tests
