#include "atrous/kernels/dense_crf/dense_crf.h"

#include <cmath>
#include <limits>

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::CrfCompatibility;
using kernels::CrfDims;
using kernels::PixelFeatureDims;

template <class T>
std::vector<T> positive_values(std::int64_t n, std::uint64_t seed) {
  std::vector<T> v = random_values<T>(n, seed);
  for (T& x : v) x += T(1.5);
  return v;
}

}  // namespace

TEMPLATE_TEST_CASE("crf_add_message: CUDA agrees with double on the CPU", "[cuda][dense_crf]", float,
                   double) {
  using T = TestType;
  for (const CrfDims& d : {CrfDims{1, 1}, {130, 21}, {7, 150}})
    for (const CrfCompatibility kind :
         {CrfCompatibility::potts, CrfCompatibility::diagonal, CrfCompatibility::matrix}) {
      const std::int64_t n = d.points * d.classes;
      INFO(d.points << " points, " << d.classes << " classes, kind " << int(kind));
      const auto mu = random_values<T>(kind == CrfCompatibility::potts      ? 1
                                       : kind == CrfCompatibility::diagonal ? d.classes
                                                                            : d.classes * d.classes,
                                       1),
                 message = random_values<T>(n, 2), z = random_values<T>(n, 3);
      auto truth = in_double(z);
      kernels::cpu::crf_add_message<double>({}, d, kind, in_double(mu), in_double(message), truth);
      on_every_schedule([&] {
        const OnDevice<T> cmu(mu), cmessage(message);
        OnDevice<T> cz(z);
        kernels::cuda::crf_add_message<T>(kCudaStream, d, kind, cmu.span(), cmessage.span(), cz.span());
        CHECK(gap(cz.values(), truth) <= tolerance<T>());
        CHECK(cz.intact());
      });
    }
}

TEMPLATE_TEST_CASE("crf_relax: CUDA agrees with double on the CPU", "[cuda][dense_crf]", float, double) {
  using T = TestType;
  const auto old = random_values<T>(300, 1), q = random_values<T>(300, 2);
  auto truth = in_double(q);
  kernels::cpu::crf_relax<double>({}, 0.25, in_double(old), truth);
  const OnDevice<T> cold(old);
  OnDevice<T> cq(q);
  kernels::cuda::crf_relax<T>(kCudaStream, 0.25, cold.span(), cq.span());
  CHECK(gap(cq.values(), truth) <= tolerance<T>());
  CHECK(cq.intact());
}

TEMPLATE_TEST_CASE("pixel_features: CUDA agrees with double on the CPU", "[cuda][dense_crf]", float, double) {
  using T = TestType;
  for (const PixelFeatureDims& d : {PixelFeatureDims{2, 5, 300, 3}, {1, 3, 4, 0}, {3, 130, 1, 1}}) {
    INFO(d.batch << 'x' << d.height << 'x' << d.width << 'x' << d.channels);
    const std::int64_t pixels = d.batch * d.height * d.width, count = 2 + d.channels;
    const auto image = random_values<T>(pixels * d.channels, 1), sigma = positive_values<T>(count, 2),
               features = random_values<T>(pixels * count, 3),
               dfeatures = random_values<T>(pixels * count, 4);
    std::vector<double> truth(features.size()), sums(std::size_t(d.batch * d.height * count)),
        dimage(image.size()), dsigma(sigma.size());
    kernels::cpu::pixel_features_forward<double>({}, d, in_double(image), in_double(sigma), truth);
    kernels::cpu::pixel_features_backward<double>({}, d, in_double(features), in_double(sigma),
                                                  in_double(dfeatures), sums, dimage, dsigma);
    std::vector<T> before;
    on_every_schedule([&] {
      const OnDevice<T> cimage(image), csigma(sigma), cfeatures(features), cdfeatures(dfeatures);
      OnDevice<T> got(features.size()), gdimage(image.size()), gdsigma(sigma.size()), alone(sigma.size());
      OnDevice<double> gsums(std::int64_t(sums.size()));
      kernels::cuda::pixel_features_forward<T>(kCudaStream, d, cimage.span(), csigma.span(), got.span());
      kernels::cuda::pixel_features_backward<T>(kCudaStream, d, cfeatures.span(), csigma.span(),
                                                cdfeatures.span(), gsums.span(), gdimage.span(),
                                                gdsigma.span());
      kernels::cuda::pixel_features_backward<T>(kCudaStream, d, cfeatures.span(), csigma.span(),
                                                cdfeatures.span(), gsums.span(), {}, alone.span());
      CHECK(gap(got.values(), truth) <= tolerance<T>());
      CHECK(gap(gdimage.values(), dimage) <= tolerance<T>());
      CHECK(gap(gdsigma.values(), dsigma) <= tolerance<T>());
      CHECK((got.intact() && gdimage.intact() && gdsigma.intact() && gsums.intact()));
      if (before.empty()) before = gdsigma.values();
      CHECK(same_bits(gdsigma.values(), before));
      CHECK(same_bits(alone.values(), before));
    });
  }
}

TEMPLATE_TEST_CASE("crf_normalizers: CUDA agrees with double on the CPU", "[cuda][dense_crf]", float,
                   double) {
  using T = TestType;
  const CrfDims d{300, 5};
  auto n = positive_values<T>(d.points, 1);
  const auto values = random_values<T>(d.points * d.classes, 2),
             dvalues = random_values<T>(d.points * d.classes, 3),
             out = random_values<T>(d.points * d.classes, 4),
             dout = random_values<T>(d.points * d.classes, 5);
  for (const auto& [pre_power, post_power] : {std::pair{1.0, 0.0}, {0.0, 1.0}, {0.5, 0.5}}) {
    INFO("powers " << pre_power << " and " << post_power);
    std::vector<double> pre(pre_power > 0 ? n.size() : 0), post(post_power > 0 ? n.size() : 0), dn(n.size());
    kernels::cpu::crf_normalizers<double>({}, pre_power, post_power, in_double(n), pre, post);
    kernels::cpu::crf_normalizers_backward<double>({}, d, pre_power, post_power, in_double(n),
                                                   in_double(values), in_double(dvalues), in_double(out),
                                                   in_double(dout), dn);
    const OnDevice<T> cn(n), cvalues(values), cdvalues(dvalues), cout(out), cdout(dout);
    OnDevice<T> gpre(std::int64_t(pre.size())), gpost(std::int64_t(post.size())), gdn(d.points);
    kernels::cuda::crf_normalizers<T>(kCudaStream, pre_power, post_power, cn.span(), gpre.span(),
                                      gpost.span());
    kernels::cuda::crf_normalizers_backward<T>(kCudaStream, d, pre_power, post_power, cn.span(),
                                               cvalues.span(), cdvalues.span(), cout.span(), cdout.span(),
                                               gdn.span());
    CHECK(gap(gpre.values(), pre) <= tolerance<T>());
    CHECK(gap(gpost.values(), post) <= tolerance<T>());
    CHECK(gap(gdn.values(), dn) <= tolerance<T>());
    CHECK((gpre.intact() && gpost.intact() && gdn.intact()));
  }
  // Nothing near: as if n were 1e-20.
  n.assign(4, T(0));
  const OnDevice<T> zeros(n);
  OnDevice<T> pre(4);
  kernels::cuda::crf_normalizers<T>(kCudaStream, 0.5, 0, zeros.span(), pre.span(), {});
  CHECK(gap(pre.values(), std::vector<double>(4, 1e10)) <= tolerance<T>());
}

TEMPLATE_TEST_CASE("crf_unary: CUDA gives energies of probabilities, and NaN of what is none",
                   "[cuda][dense_crf]", float, bf16, double) {
  using T = TestType;
  std::vector<T> p;
  for (const double v : {0.0, 0.25, 0.5, 1.0, -0.125, 1.5, double(NAN)}) p.push_back(T(Accumulator<T>(v)));
  const OnDevice<T> cp(p);
  OnDevice<T> u(cp.size());
  kernels::cuda::crf_unary<T>(kCudaStream, 0.5, 0.125, 0.1875, cp.span(), u.span());
  CHECK(gap(u.values(), {-std::log(0.1875), -std::log(0.25), -std::log(0.375), -std::log(0.625), NAN, NAN,
                         NAN}) <= tolerance<T>());
  kernels::cuda::crf_unary<T>(kCudaStream, 1, 0, 0, cp.span(), u.span());
  CHECK(gap(u.values(), {INFINITY, -std::log(0.25), -std::log(0.5), 0, NAN, NAN, NAN}) <= tolerance<T>());
  CHECK(u.intact());
}

TEMPLATE_TEST_CASE("crf_unary_of_targets: CUDA gives a label its cost", "[cuda][dense_crf]", float, double) {
  using T = TestType;
  const OnDevice<std::int32_t> targets(std::vector<std::int32_t>{2, -1, 0});
  OnDevice<T> u(9);
  kernels::cuda::crf_unary_of_targets<T>(kCudaStream, {3, 3}, {0.5, 2, 1}, targets.span(), u.span());
  CHECK(gap(u.values(), {2, 2, 0.5, 1, 1, 1, 0.5, 2, 2}) == 0);
  CHECK(u.intact());
}

}  // namespace atrous::tests
