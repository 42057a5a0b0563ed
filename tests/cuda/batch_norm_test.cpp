#include "atrous/kernels/batch_norm/batch_norm.h"

#include <limits>

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::BatchNormDims;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// Everything that one training call makes, in doubles.
struct Trained {
  std::vector<double> mean, var, y, dx, dgamma, dbeta, frozen_dx;
};

template <class T>
struct Inputs {
  BatchNormDims dims;
  std::vector<T> x, dy, gamma, beta;
  Inputs(const BatchNormDims& d, float shift)
      : dims(d),
        x(random_values<T>(d.pixels * d.channels, 1)),
        dy(random_values<T>(d.pixels * d.channels, 2)),
        gamma(random_values<T>(d.channels, 7)),
        beta(random_values<T>(d.channels, 8)) {
    for (T& v : x) v = T(Accumulator<T>(v) + Accumulator<T>(shift));
  }
};

template <class T>
Trained on_cpu(const Inputs<T>& in) {
  const BatchNormDims& d = in.dims;
  const auto x = in_double(in.x), dy = in_double(in.dy), gamma = in_double(in.gamma),
             beta = in_double(in.beta);
  const std::size_t c = size(d.channels);
  std::vector<double> sums(size(kernels::batch_norm_sums_size(d))), coefficients(4 * c);
  Trained r{std::vector<double>(c),        std::vector<double>(c), std::vector<double>(x.size()),
            std::vector<double>(x.size()), std::vector<double>(c), std::vector<double>(c),
            std::vector<double>(x.size())};
  namespace k = kernels::cpu;
  k::batch_norm_statistics<double>({}, d, x, sums, r.mean, r.var);
  k::batch_norm_forward<double>({}, d, x, r.mean, r.var, 1e-5, gamma, beta, coefficients, r.y);
  k::batch_norm_backward_frozen<double>({}, d, x, dy, r.mean, r.var, 1e-5, gamma, sums, coefficients,
                                        r.frozen_dx, r.dgamma, r.dbeta);
  k::batch_norm_backward_training<double>({}, d, x, dy, r.mean, r.var, 1e-5, gamma, sums, coefficients, r.dx,
                                          r.dgamma, r.dbeta);
  return r;
}

template <class T>
void compare(const BatchNormDims& d, float shift, bool every_schedule) {
  using A = Accumulator<T>;
  const Inputs<T> in(d, shift);
  const Trained truth = on_cpu(in);
  std::vector<double> first_mean;
  std::vector<T> first_dx;
  const auto once = [&] {
    const OnDevice<T> x(in.x), dy(in.dy), gamma(in.gamma), beta(in.beta);
    OnDevice<double> sums(kernels::batch_norm_sums_size(d, kCudaStream.device)), mean(d.channels),
        var(d.channels);
    OnDevice<A> coefficients(kernels::batch_norm_coefficients_size(d));
    OnDevice<T> y(x.size()), dx(x.size()), dgamma(d.channels), dbeta(d.channels), frozen_dx(x.size());
    const auto read = [](OnDevice<double>& v) { return Span<const double>(v.span()); };
    namespace k = kernels::cuda;
    k::batch_norm_statistics<T>(kCudaStream, d, x.span(), sums.span(), mean.span(), var.span());
    k::batch_norm_forward<T>(kCudaStream, d, x.span(), read(mean), read(var), 1e-5, gamma.span(), beta.span(),
                             coefficients.span(), y.span());
    k::batch_norm_backward_frozen<T>(kCudaStream, d, x.span(), dy.span(), read(mean), read(var), 1e-5,
                                     gamma.span(), sums.span(), coefficients.span(), frozen_dx.span(),
                                     dgamma.span(), dbeta.span());
    k::batch_norm_backward_training<T>(kCudaStream, d, x.span(), dy.span(), read(mean), read(var), 1e-5,
                                       gamma.span(), sums.span(), coefficients.span(), dx.span(),
                                       dgamma.span(), dbeta.span());
    // Sums of many floats, and for x far from 0 the rounding of x - mean.
    const double wide = sizeof(T) == 8 ? 1e-10 : sizeof(T) == 4 ? 1e-5 : 1.0 / 128;
    CHECK(gap(mean.values(), truth.mean) <= (sizeof(T) == 8 ? 1e-12 : 1e-6));
    CHECK(gap(var.values(), truth.var) <= (sizeof(T) == 8 ? 1e-10 : 2e-6));
    CHECK(gap(y.values(), truth.y) <= (sizeof(T) == 2 ? 1.0 / 128 : 2 * wide));
    CHECK(gap(dgamma.values(), truth.dgamma) <= wide);
    CHECK(gap(dbeta.values(), truth.dbeta) <= wide);
    CHECK(gap(dx.values(), truth.dx) <= wide);
    CHECK(gap(frozen_dx.values(), truth.frozen_dx) <= wide);
    CHECK((sums.intact() && mean.intact() && var.intact() && coefficients.intact() && y.intact() &&
           dx.intact() && dgamma.intact() && dbeta.intact() && frozen_dx.intact()));
    if (first_mean.empty()) first_mean = mean.values(), first_dx = dx.values();
    CHECK((mean.values() == first_mean && same_bits(dx.values(), first_dx)));
  };
  if (every_schedule)
    on_every_schedule(once);
  else
    once();
}

}  // namespace

TEMPLATE_TEST_CASE("batch_norm: CUDA agrees with double on the CPU for every number of channels",
                   "[cuda][batch_norm]", float, bf16, double) {
  for (const std::int64_t channels : {1, 3, 8, 21, 40, 96, 257, 2056}) {
    const std::int64_t pixels = channels > 1000 ? 19 : 301;
    INFO(pixels << " pixels, " << channels << " channels");
    compare<TestType>({pixels, channels}, 0, channels < 100);
  }
}

TEMPLATE_TEST_CASE("batch_norm: on CUDA many pixels at mean 100 and deviation 0.6 lose nothing",
                   "[cuda][batch_norm]", float, double) {
  compare<TestType>({20000, 6}, 100, false);
  compare<TestType>({8000, 16}, 100, false);
}

TEMPLATE_TEST_CASE("batch_norm: on CUDA few pixels, and gradients that are not wanted", "[cuda][batch_norm]",
                   float, bf16, double) {
  using T = TestType;
  using A = Accumulator<T>;
  compare<T>({9, 8}, 0, true);
  const BatchNormDims d{5, 8};
  const Inputs<T> in(d, 0);
  const Trained truth = on_cpu(in);
  const OnDevice<T> x(in.x), dy(in.dy), gamma(in.gamma);
  const OnDevice<double> mean(truth.mean), var(truth.var);
  OnDevice<double> sums(kernels::batch_norm_sums_size(d, kCudaStream.device));
  OnDevice<A> coefficients(kernels::batch_norm_coefficients_size(d));
  OnDevice<T> dx(x.size()), dgamma(8), dbeta(8);
  kernels::cuda::batch_norm_backward_frozen<T>(kCudaStream, d, {}, dy.span(), mean.span(), var.span(), 1e-5,
                                               gamma.span(), {}, coefficients.span(), dx.span(), {}, {});
  CHECK(gap(dx.values(), truth.frozen_dx) <= tolerance<T>() * 2);
  kernels::cuda::batch_norm_backward_training<T>(kCudaStream, d, x.span(), dy.span(), mean.span(), var.span(),
                                                 1e-5, gamma.span(), sums.span(), coefficients.span(), {},
                                                 dgamma.span(), dbeta.span());
  CHECK(gap(dgamma.values(), truth.dgamma) <= tolerance<T>() * 2);
  CHECK(gap(dbeta.values(), truth.dbeta) <= tolerance<T>() * 2);
}

TEMPLATE_TEST_CASE("batch_norm: on CUDA a NaN shows in its channel and in no other", "[cuda][batch_norm]",
                   float, bf16, double) {
  using T = TestType;
  for (const float special :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const std::int64_t channels : {3, 16}) {
      const BatchNormDims d{70, channels};
      auto values = random_values<T>(70 * channels, 1);
      values[size(33 * channels + 1)] = T(special);
      const OnDevice<T> x(values);
      OnDevice<double> sums(kernels::batch_norm_sums_size(d, kCudaStream.device)), mean(channels),
          var(channels);
      kernels::cuda::batch_norm_statistics<T>(kCudaStream, d, x.span(), sums.span(), mean.span(), var.span());
      const auto got = var.values();
      for (std::int64_t c = 0; c < channels; ++c) CHECK(std::isnan(got[size(c)]) == (c == 1));
    }
}

TEMPLATE_TEST_CASE("batch_norm: on CUDA running averages move, or not at all", "[cuda][batch_norm]", float,
                   bf16, double) {
  using T = TestType;
  using A = Accumulator<T>;
  std::vector<double> mean = {2, 4}, var = {3, 6};
  OnDevice<A> running_mean(std::vector<A>{1, 1}), running_var(std::vector<A>{1, 2});
  for (const double bad : {0.0, double(NAN), double(INFINITY), sizeof(A) == 4 ? 1e40 : double(NAN)}) {
    if (bad != 0) mean[1] = bad;
    const OnDevice<double> m(mean), v(var);
    kernels::cuda::batch_norm_update_running<T>(kCudaStream, {4, 2}, m.span(), v.span(), 0.75,
                                                running_mean.span(), running_var.span());
    CHECK(running_mean.values() == std::vector<A>{1.25, 1.75});
    CHECK(running_var.values() == std::vector<A>{1.75, 3.5});  // batch: 3 * 4/3 = 4, 6 * 4/3 = 8
  }
  OnDevice<double> as_mean(2), as_var(2);  // as a frozen pass takes them
  kernels::cuda::batch_norm_running_statistics<T>(kCudaStream, running_mean.span(), running_var.span(),
                                                  as_mean.span(), as_var.span());
  CHECK(as_mean.values() == std::vector<double>{1.25, 1.75});
  CHECK(as_var.values() == std::vector<double>{1.75, 3.5});
}

TEMPLATE_TEST_CASE("batch_norm: CUDA folds as the CPU does", "[cuda][batch_norm]", float, bf16, double) {
  using T = TestType;
  using A = Accumulator<T>;
  const auto gamma = random_values<T>(6, 1), beta = random_values<T>(6, 2), weight = random_values<T>(54, 3),
             bias = random_values<T>(6, 4);
  const auto mean = random_values<A>(6, 5);
  const std::vector<A> var = {1, 2, 0.5, 0.25, 3, 1.5};
  for (const bool with_bias : {false, true}) {
    std::vector<double> folded_weight(54), folded_bias(6);
    const std::vector<double> b = in_double(bias);
    kernels::cpu::batch_norm_fold<double>(
        {}, 6, in_double(gamma), in_double(beta), in_double(mean), in_double(var), 1e-3, in_double(weight),
        with_bias ? Span<const double>(b) : Span<const double>(), folded_weight, folded_bias);
    const OnDevice<T> g(gamma), be(beta), w(weight), bi(bias);
    const OnDevice<A> m(mean), v(var);
    OnDevice<T> fw(54), fb(6);
    kernels::cuda::batch_norm_fold<T>(kCudaStream, 6, g.span(), be.span(), m.span(), v.span(), 1e-3, w.span(),
                                      with_bias ? bi.span() : Span<const T>(), fw.span(), fb.span());
    CHECK(gap(fw.values(), folded_weight) <= tolerance<T>());
    CHECK(gap(fb.values(), folded_bias) <= tolerance<T>());
    CHECK((fw.intact() && fb.intact()));
  }
}

}  // namespace atrous::tests
