#include "atrous/kernels/batch_norm/batch_norm.h"

#include <cmath>

#include "atrous/core/parallel.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::BatchNormDims;

// Statistics, output and gradients of one training call.
template <class T>
struct Trained {
  Guarded<double> mean, var;
  Guarded<T> y, dx, dgamma, dbeta;

  Trained(const BatchNormDims& d, const std::vector<T>& x, const std::vector<T>& dy)
      : mean(d.channels),
        var(d.channels),
        y(d.pixels * d.channels),
        dx(y.size()),
        dgamma(d.channels),
        dbeta(d.channels) {
    Guarded<double> sums(kernels::batch_norm_sums_size(d));
    Guarded<T> coefficients(kernels::batch_norm_coefficients_size(d));
    std::vector<T> gamma = random_values<T>(d.channels, 7), beta = random_values<T>(d.channels, 8);
    kernels::batch_norm_statistics<T>({}, d, x, sums.span(), mean.span(), var.span());
    kernels::batch_norm_forward<T>({}, d, x, mean.span(), var.span(), 1e-5, gamma, beta, coefficients.span(),
                                   y.span());
    kernels::batch_norm_backward_training<T>({}, d, x, dy, mean.span(), var.span(), 1e-5, gamma, sums.span(),
                                             coefficients.span(), dx.span(), dgamma.span(), dbeta.span());
    CHECK((sums.intact() && coefficients.intact() && mean.intact() && var.intact() && y.intact() &&
           dx.intact() && dgamma.intact() && dbeta.intact()));
  }
};

template <class A, class B>
double gap(const A& a, const B& b) {
  double worst = 0, scale = 0.1;  // means and sums near 0 are differences of larger numbers
  for (std::int64_t i = 0; i < b.size(); ++i) {
    const double d = std::abs(double(a[i]) - double(b[i]));
    worst = d <= worst ? worst : d;
    scale = std::max(scale, std::abs(double(b[i])));
  }
  return worst / scale;
}

std::vector<double> shifted(std::vector<double> v, double by) {
  for (double& x : v) x = double(float(x + by));
  return v;
}

}  // namespace

TEST_CASE("batch_norm: floats agree with doubles for every number of channels", "[kernels][batch_norm]") {
  const std::int64_t channels = GENERATE(1, 2, 3, 7, 8, 16, 17, 24, 32, 33, 100, 511, 512, 513, 728, 1030);
  for (const std::int64_t pixels : {5, 64, 301}) {
    const BatchNormDims d{pixels, channels};
    INFO(pixels << " pixels, " << channels << " channels");
    const auto x = random_values<double>(pixels * channels, 1),
               dy = random_values<double>(pixels * channels, 2);
    const Trained<double> truth(d, x, dy);
    const Trained<float> got(d, std::vector<float>(x.begin(), x.end()),
                             std::vector<float>(dy.begin(), dy.end()));
    CHECK(gap(got.mean, truth.mean) < 1e-6);
    CHECK(gap(got.var, truth.var) < 1e-6);
    CHECK(gap(got.y, truth.y) < 2e-6);
    CHECK(gap(got.dgamma, truth.dgamma) < 2e-6);
    CHECK(gap(got.dbeta, truth.dbeta) < 2e-6);
    CHECK(gap(got.dx, truth.dx) < 1e-5);
  }
}

TEST_CASE("batch_norm: many pixels at mean 100 and deviation 0.6 lose nothing", "[kernels][batch_norm]") {
  const std::int64_t channels = GENERATE(1, 6, 16, 40), pixels = 60000;
  const BatchNormDims d{pixels, channels};
  const auto x = shifted(random_values<double>(pixels * channels, 1), 100);  // uniform: deviation 1 / sqrt(3)
  const auto dy = random_values<double>(pixels * channels, 2);
  const Trained<double> truth(d, x, dy);
  const Trained<float> got(d, std::vector<float>(x.begin(), x.end()),
                           std::vector<float>(dy.begin(), dy.end()));
  // Independent of the kernels: two plain passes over channel 0.
  double mean = 0, var = 0;
  for (std::int64_t p = 0; p < pixels; ++p) mean += x[std::size_t(p * channels)] / double(pixels);
  for (std::int64_t p = 0; p < pixels; ++p)
    var += std::pow(x[std::size_t(p * channels)] - mean, 2) / double(pixels);
  CHECK(std::abs(truth.mean[0] - mean) < 1e-9);
  CHECK(std::abs(truth.var[0] - var) < 1e-9);
  CHECK(std::abs(got.mean[0] - mean) < 1e-7);
  CHECK(std::abs(got.var[0] - var) < 1e-6);
  CHECK(gap(got.y, truth.y) < 1e-6);
  CHECK(gap(got.dx, truth.dx) < 1e-5);
}

TEST_CASE("batch_norm: results larger than the cache are written past it, and right",
          "[kernels][batch_norm]") {
  const BatchNormDims d{2100, 1024};  // 8.6 MB
  const auto x = random_values<double>(d.pixels * d.channels, 1),
             dy = random_values<double>(d.pixels * d.channels, 2);
  const Trained<double> truth(d, x, dy);
  const std::vector<float> fx(x.begin(), x.end()), fdy(dy.begin(), dy.end());
  const Trained<float> first(d, fx, fdy);
  CHECK(gap(first.y, truth.y) < 2e-6);
  CHECK(gap(first.dx, truth.dx) < 2e-6);
  const ThreadsScope scope(3);
  const Trained<float> again(d, fx, fdy);
  CHECK(again.y.values() == first.y.values());
  CHECK(again.dx.values() == first.dx.values());
}

TEST_CASE("batch_norm: running averages move by the unbiased variance, or not at all",
          "[kernels][batch_norm]") {
  std::vector<double> mean = {2, 4}, var = {3, 6};
  std::vector<float> running_mean = {1, 1}, running_var = {1, 2};
  kernels::batch_norm_update_running<float>({}, {4, 2}, mean, var, 0.75, running_mean, running_var);
  CHECK(running_mean == std::vector<float>{1.25f, 1.75f});
  CHECK(running_var == std::vector<float>{1.75f, 3.5f});            // batch: 3 * 4/3 = 4, 6 * 4/3 = 8
  for (const double bad : {double(NAN), double(INFINITY), 1e39}) {  // the last is finite, but not as a float
    mean[1] = bad;
    kernels::batch_norm_update_running<float>({}, {4, 2}, mean, var, 0.5, running_mean, running_var);
    CHECK(running_mean == std::vector<float>{1.25f, 1.75f});
    CHECK(running_var == std::vector<float>{1.75f, 3.5f});
  }
}

TEST_CASE("batch_norm: folded into a weight it is the frozen layer", "[kernels][batch_norm]") {
  // A 1x1 convolution from 3 to 2 channels, then batch norm; against the folded convolution.
  const auto weight = random_values<double>(6, 1), bias = random_values<double>(2, 2),
             x = random_values<double>(3, 3);
  const std::vector<double> gamma = {1.5, -0.5}, beta = {0.25, 2}, mean = {0.3, -0.2}, var = {0.8, 2.5};
  const auto convolved = [&](const std::vector<double>& w, const std::vector<double>& b) {
    std::vector<double> y = b;
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t k = 0; k < 2; ++k) y[k] += x[c] * w[c * 2 + k];
    return y;
  };
  for (const bool with_bias : {true, false}) {
    Guarded<double> folded_weight(6), folded_bias(2), y(2), coefficients(8);
    kernels::batch_norm_fold<double>({}, 2, gamma, beta, mean, var, 1e-3, weight,
                                     with_bias ? Span<const double>(bias) : Span<const double>(),
                                     folded_weight.span(), folded_bias.span());
    CHECK((folded_weight.intact() && folded_bias.intact()));
    const auto before = convolved(weight, with_bias ? bias : std::vector<double>{0, 0});
    kernels::batch_norm_forward<double>({}, {1, 2}, before, mean, var, 1e-3, gamma, beta, coefficients.span(),
                                        y.span());
    const auto after = convolved(folded_weight.values(), folded_bias.values());
    for (std::int64_t k = 0; k < 2; ++k) CHECK(std::abs(after[std::size_t(k)] - y[k]) < 1e-14);
  }
}

}  // namespace atrous::tests
