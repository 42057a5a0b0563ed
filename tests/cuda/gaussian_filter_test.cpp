#include "atrous/kernels/gaussian_filter/gaussian_filter.h"

#include "atrous/kernels/gaussian_filter/separable_gaussian.h"
#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::GaussianDims;
using kernels::SeparableGaussianDims;

// One point; tiles that end in their middle; more classes and features than a block takes.
const GaussianDims kSizes[] = {{1, 1, 1}, {64, 2, 32}, {33, 5, 21}, {65, 3, 33}, {70, 17, 3}};

// What both filters read, in T and exactly the same in double.
template <class T>
struct Inputs {
  std::vector<T> features, pre, post, values, dout;
  std::vector<double> features64, pre64, post64, values64, dout64;

  Inputs(const GaussianDims& d, bool scaled)
      : features(random_values<T>(d.points * d.features, 1)),
        pre(scaled ? random_values<T>(d.points, 2) : std::vector<T>()),
        post(scaled ? random_values<T>(d.points, 3) : std::vector<T>()),
        values(random_values<T>(d.points * d.classes, 4)),
        dout(random_values<T>(d.points * d.classes, 5)),
        features64(in_double(features)),
        pre64(in_double(pre)),
        post64(in_double(post)),
        values64(in_double(values)),
        dout64(in_double(dout)) {}
};

}  // namespace

TEMPLATE_TEST_CASE("gaussian_filter: CUDA agrees with double on the CPU", "[cuda][gaussian_filter]", float,
                   double) {
  using T = TestType;
  for (const GaussianDims& d : kSizes)
    for (const bool scaled : {false, true}) {
      INFO(d.points << " points of " << d.features << " features, " << d.classes << " classes, "
                    << (scaled ? "" : "not ") << "scaled");
      const Inputs<T> in(d, scaled);
      std::vector<double> out(in.values.size()), dfeatures(in.features.size());
      kernels::cpu::gaussian_filter_forward<double>({}, d, in.features64, in.pre64, in.post64, in.values64,
                                                    out);
      kernels::cpu::gaussian_filter_backward_features<double>({}, d, in.features64, in.pre64, in.post64,
                                                              in.values64, in.dout64, dfeatures);
      std::vector<T> out_before, dfeatures_before;
      on_every_schedule([&] {
        const OnDevice<T> features(in.features), pre(in.pre), post(in.post), values(in.values), dout(in.dout);
        OnDevice<T> got(values.size()), dgot(features.size());
        kernels::cuda::gaussian_filter_forward<T>(kCudaStream, d, features.span(), pre.span(), post.span(),
                                                  values.span(), got.span());
        kernels::cuda::gaussian_filter_backward_features<T>(kCudaStream, d, features.span(), pre.span(),
                                                            post.span(), values.span(), dout.span(),
                                                            dgot.span());
        CHECK(gap(got.values(), out) <= tolerance<T>());
        CHECK(gap(dgot.values(), dfeatures) <= 4 * tolerance<T>());
        CHECK((got.intact() && dgot.intact()));
        if (out_before.empty()) out_before = got.values(), dfeatures_before = dgot.values();
        CHECK(same_bits(got.values(), out_before));
        CHECK(same_bits(dgot.values(), dfeatures_before));
      });
    }
}

TEMPLATE_TEST_CASE("identity_backward_features: CUDA agrees with double on the CPU",
                   "[cuda][gaussian_filter]", float, double) {
  using T = TestType;
  const GaussianDims d{70, 5, 3};
  for (const bool scaled : {false, true}) {
    const Inputs<T> in(d, scaled);
    const auto kv = random_values<T>(d.points * 6 * d.classes, 6),
               kg = random_values<T>(d.points * 6 * d.classes, 7);
    std::vector<double> v(kv.size()), g(kv.size()), dfeatures(in.features.size());
    kernels::cpu::identity_rows<double>({}, d, in.features64, in.pre64, in.values64, v);
    kernels::cpu::identity_rows<double>({}, d, in.features64, in.post64, in.dout64, g);
    kernels::cpu::identity_backward_features<double>({}, d, in.features64, v, g, in_double(kv), in_double(kg),
                                                     dfeatures);
    const OnDevice<T> features(in.features), pre(in.pre), post(in.post), values(in.values), dout(in.dout),
        ckv(kv), ckg(kg);
    OnDevice<T> gv(ckv.size()), gg(ckv.size()), dgot(features.size());
    kernels::cuda::identity_rows<T>(kCudaStream, d, features.span(), pre.span(), values.span(), gv.span());
    kernels::cuda::identity_rows<T>(kCudaStream, d, features.span(), post.span(), dout.span(), gg.span());
    kernels::cuda::identity_backward_features<T>(kCudaStream, d, features.span(), std::as_const(gv).span(),
                                                 std::as_const(gg).span(), ckv.span(), ckg.span(),
                                                 dgot.span());
    CHECK(gap(gv.values(), v) <= tolerance<T>());
    CHECK(gap(gg.values(), g) <= tolerance<T>());
    CHECK(gap(dgot.values(), dfeatures) <= 4 * tolerance<T>());
    CHECK((gv.intact() && gg.intact() && dgot.intact()));
  }
}

TEMPLATE_TEST_CASE("separable_gaussian: CUDA agrees with double on the CPU", "[cuda][gaussian_filter]", float,
                   double) {
  using T = TestType;
  // Windows inside the image, as wide as it, and of more taps than shared memory holds.
  for (const auto& d : {SeparableGaussianDims{9, 14, 3, 0.7, 1.1},
                        {11, 5, 21, 40, 2.5},
                        {1, 1, 2, 1, 1},
                        {1, 1100, 1, 230, 1},
                        {1060, 2, 1, 0.3, 220}})
    for (const bool scaled : {false, true}) {
      INFO(d.height << 'x' << d.width << 'x' << d.classes << ", " << (scaled ? "" : "not ") << "scaled");
      const Inputs<T> in({d.height * d.width, 1, d.classes}, scaled);
      std::vector<double> rows(in.values.size()), out(in.values.size());
      kernels::cpu::separable_gaussian<double>({}, d, in.pre64, in.post64, in.values64, rows, out);
      std::vector<T> before;
      const auto once = [&] {
        const OnDevice<T> pre(in.pre), post(in.post), values(in.values);
        OnDevice<T> scratch(values.size()), got(values.size());
        kernels::cuda::separable_gaussian<T>(kCudaStream, d, pre.span(), post.span(), values.span(),
                                             scratch.span(), got.span());
        CHECK(gap(got.values(), out) <= 4 * tolerance<T>());  // of a thousand taps
        CHECK((scratch.intact() && got.intact()));
        if (before.empty()) before = got.values();
        CHECK(same_bits(got.values(), before));
      };
      if (d.height * d.width > 1000)
        once();
      else
        on_every_schedule(once);
    }
}

TEMPLATE_TEST_CASE("gaussian_filter: on CUDA no classes are no work", "[cuda][gaussian_filter]", float,
                   double) {
  using T = TestType;
  const OnDevice<T> features(std::vector<T>(6, T(1)));
  OnDevice<T> none(0);
  const auto nothing = std::as_const(none).span();
  CHECK_NOTHROW(kernels::cuda::gaussian_filter_forward<T>(kCudaStream, {3, 2, 0}, features.span(), {}, {},
                                                          nothing, none.span()));
  CHECK_NOTHROW(kernels::cuda::separable_gaussian<T>(kCudaStream, {3, 2, 0, 1, 1}, {}, {}, nothing,
                                                     none.span(), none.span()));
}

}  // namespace atrous::tests
