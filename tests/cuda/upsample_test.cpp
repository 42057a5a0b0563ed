#include "atrous/kernels/upsample/upsample.h"

#include <limits>

#include "atrous/kernels/softmax/cross_entropy.h"
#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::ResizeDims;

// batch, in_h, in_w, out_h, out_w, channels, align_corners. Tiles are 16x32: one, several, ragged; maps that
// shrink. The last goes by the plain bodies: what a tile reads does not fit into shared memory.
const ResizeDims kSizes[] = {
    {2, 5, 7, 17, 25, 3, true},    {1, 6, 11, 21, 41, 21, true}, {1, 5, 9, 20, 36, 19, false},
    {1, 7, 5, 7, 5, 4, true},      {2, 1, 1, 18, 33, 5, true},   {1, 3, 4, 1, 1, 6, true},
    {1, 11, 9, 5, 4, 3, false},    {1, 2, 3, 33, 65, 9, false},  {1, 3, 4, 5, 6, 1, true},
    {1, 4, 70, 3, 66, 300, false},
};

std::string name_of(const ResizeDims& d) {
  std::ostringstream text;
  text << d.batch << 'x' << d.in_h << 'x' << d.in_w << 'x' << d.channels << " to " << d.out_h << 'x'
       << d.out_w << (d.align_corners ? ", aligned" : ", half-pixel");
  return text.str();
}

struct Problem {
  ResizeDims d;
  std::int64_t pixels;
  std::vector<std::int32_t> targets;

  explicit Problem(const ResizeDims& dims) : d(dims), pixels(d.batch * d.out_h * d.out_w) {
    for (std::int64_t p = 0; p < pixels; ++p)
      targets.push_back(p % 5 == 3 ? -1 : std::int32_t(p * 7 % d.channels));
  }
  template <class A>
  std::vector<A> scales() const {
    std::vector<A> v;
    for (std::int64_t p = 0; p < pixels; ++p)
      v.push_back(targets[std::size_t(p)] < 0 || p % 7 == 1 ? A(0) : A(0.25 + double(p % 3)) / A(pixels));
    return v;
  }
  template <class T>
  std::vector<T> logits() const {
    auto v = random_values<T>(d.batch * d.in_h * d.in_w * d.channels, 1);
    for (T& x : v) x = T(4 * float(x));
    return v;
  }
};

struct Truth {
  std::vector<double> losses, loss, dlogits;
  std::vector<std::int64_t> counts;
};

template <class T>
Truth truth(const Problem& p) {
  const auto logits = in_double(p.logits<T>());
  const auto scales = in_double(p.scales<Accumulator<T>>());
  Truth t{std::vector<double>(std::size_t(p.pixels)), std::vector<double>(1),
          std::vector<double>(logits.size()),
          std::vector<std::int64_t>(std::size_t(p.d.channels * p.d.channels))};
  std::vector<double> sums(std::size_t(kernels::upsample_cross_entropy_sums_size<double>(p.d))),
      workspace(std::size_t(kernels::upsample_cross_entropy_workspace_size<double>(p.d, true)));
  kernels::cpu::upsample_cross_entropy_losses<double>({}, p.d, logits, p.targets, t.losses);
  kernels::cpu::upsample_cross_entropy<double>({}, p.d, logits, p.targets, scales, sums, workspace, t.loss,
                                               t.dlogits);
  kernels::cpu::upsample_confusion<double>({}, p.d, logits, p.targets, t.counts);
  return t;
}

}  // namespace

TEMPLATE_TEST_CASE("upsample: CUDA agrees with double on the CPU", "[cuda][upsample]", float, bf16, double) {
  using T = TestType;
  using A = Accumulator<T>;
  const Device device = kCudaStream.device;
  for (const ResizeDims& d : kSizes) {
    INFO(name_of(d));
    const Problem problem(d);
    const Truth expected = truth<T>(problem);
    const auto logits = problem.logits<T>();
    const auto scales = problem.scales<A>();
    std::vector<T> first;
    on_every_schedule([&] {
      const OnDevice<T> x(logits);
      const OnDevice<std::int32_t> targets(problem.targets);
      const OnDevice<A> s(scales);
      OnDevice<A> losses(problem.pixels),
          workspace(kernels::upsample_cross_entropy_workspace_size<T>(d, true, device));
      OnDevice<double> sums(kernels::upsample_cross_entropy_sums_size<T>(d, device));
      OnDevice<T> loss(1), alone(1), dlogits(x.size());
      OnDevice<std::int64_t> counts(d.channels * d.channels);
      kernels::cuda::upsample_cross_entropy_losses<T>(kCudaStream, d, x.span(), targets.span(),
                                                      losses.span());
      kernels::cuda::upsample_cross_entropy<T>(kCudaStream, d, x.span(), targets.span(), s.span(),
                                               sums.span(), workspace.span(), alone.span(), {});
      kernels::cuda::upsample_cross_entropy<T>(kCudaStream, d, x.span(), targets.span(), s.span(),
                                               sums.span(), workspace.span(), loss.span(), dlogits.span());
      kernels::cuda::upsample_confusion<T>(kCudaStream, d, x.span(), targets.span(), counts.span());
      CHECK((losses.intact() && workspace.intact() && sums.intact() && loss.intact() && dlogits.intact()));
      CHECK(counts.intact());
      CHECK(gap(losses.values(), expected.losses) <= 1e-5);
      CHECK(gap(loss.values(), expected.loss) <= (sizeof(T) == 2 ? 1.0 / 256 : 1e-5));
      CHECK(same_bits(loss.values(), alone.values()));
      const auto gradient = dlogits.values();
      CHECK(gap(gradient, expected.dlogits) <= 10 * tolerance<T>());
      if (first.empty()) first = gradient;
      CHECK(same_bits(gradient, first));
      // Random logits have no ties, but bf16 rounds some into one.
      std::int64_t moved = 0, counted = 0;
      const auto found = counts.values();
      for (std::size_t i = 0; i < found.size(); ++i) {
        moved += std::abs(found[i] - expected.counts[i]);
        counted += found[i];
      }
      CHECK(counted ==
            std::count_if(problem.targets.begin(), problem.targets.end(), [](auto t) { return t >= 0; }));
      CHECK(moved <= (sizeof(T) == 2 ? counted / 20 : 0));
    });
  }
}

TEMPLATE_TEST_CASE("upsample: on CUDA a logit that is not finite spoils the pixels that count and read it",
                   "[cuda][upsample]", float, double) {
  using T = TestType;
  const ResizeDims d{1, 4, 4, 13, 13, 3, true};
  Problem problem(d);
  auto logits = problem.logits<T>();
  logits[0] = std::numeric_limits<T>::quiet_NaN();  // read by fine rows and columns 0..3
  std::vector<T> scales(std::size_t(problem.pixels), T(0.01));
  const auto loss_with = [&] {
    const OnDevice<T> x(logits), s(scales);
    const OnDevice<std::int32_t> targets(problem.targets);
    OnDevice<T> workspace(kernels::upsample_cross_entropy_workspace_size<T>(d, true, kCudaStream.device)),
        loss(1), dlogits(x.size());
    OnDevice<double> sums(kernels::upsample_cross_entropy_sums_size<T>(d, kCudaStream.device));
    for (std::int64_t p = 0; p < problem.pixels; ++p)
      if (problem.targets[std::size_t(p)] < 0) problem.targets[std::size_t(p)] = 0;
    kernels::cuda::upsample_cross_entropy<T>(kCudaStream, d, x.span(), targets.span(), s.span(), sums.span(),
                                             workspace.span(), loss.span(), dlogits.span());
    const auto g = dlogits.values();
    return std::pair(loss.values()[0], std::count_if(g.begin(), g.end(), [](T v) { return std::isnan(v); }));
  };
  for (std::int32_t& t : problem.targets) t = 1;
  CHECK(std::isnan(loss_with().first));
  CHECK(loss_with().second == 4 * 3);
  for (std::int64_t row = 0; row < 4; ++row)
    for (std::int64_t column = 0; column < 4; ++column) scales[std::size_t(row * 13 + column)] = 0;
  CHECK(std::isfinite(loss_with().first));
  CHECK(loss_with().second == 0);
}

}  // namespace atrous::tests
