#include "atrous/kernels/batch_norm/batch_norm_activation.h"

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::Activation;
using kernels::BatchNormDims;

struct Call {
  BatchNormDims dims;
  Activation activation;
  bool residual, training;
  std::int64_t place = 0;  // elements from an aligned address to the maps
};

// A map on the device that starts `place` elements behind an aligned address.
template <class T>
class Map {
 public:
  Map(const std::vector<T>& values, std::int64_t place)
      : place_(place), size_(std::int64_t(values.size())), all_(padded(values, place)) {}
  Map(std::int64_t size, std::int64_t place) : Map(std::vector<T>(std::size_t(size)), place) {}

  std::int64_t size() const { return size_; }
  Span<T> span() { return size_ > 0 ? all_.span().part(place_, size_) : Span<T>(); }
  Span<const T> span() const { return size_ > 0 ? all_.span().part(place_, size_) : Span<const T>(); }
  std::vector<T> values() const {
    const std::vector<T> v = all_.values();
    return {v.begin() + place_, v.end()};
  }
  bool intact() const { return all_.intact(); }

 private:
  static std::vector<T> padded(std::vector<T> values, std::int64_t place) {
    values.insert(values.begin(), std::size_t(place), T(0.0f));
    return values;
  }
  std::int64_t place_, size_;
  OnDevice<T> all_;
};

template <class T>
void compare(const Call& call) {
  using A = Accumulator<T>;
  const BatchNormDims& d = call.dims;
  const std::int64_t n = d.pixels * d.channels;
  const auto c = std::size_t(d.channels);
  const auto x = random_values<T>(n, 1), dy = random_values<T>(n, 2), gamma = random_values<T>(d.channels, 7);
  auto beta = random_values<T>(d.channels, 8);
  beta[0] = T(6.0f);  // so that relu6 cuts at its upper end
  const auto residual = random_values<T>(call.residual ? n : 0, 9);
  std::vector<double> sums(std::size_t(kernels::batch_norm_sums_size(d))), mean(c), var(c);
  kernels::cpu::batch_norm_statistics<double>({}, d, in_double(x), sums, mean, var);
  std::vector<double> coefficients(6 * c), y(x.size());
  const auto dgamma_in = in_double(gamma), dbeta_in = in_double(beta);
  const kernels::BatchNormChannels<double> norm{mean, var, 1e-5, dgamma_in, dbeta_in};
  kernels::cpu::batch_norm_activation_forward<double>({}, d, call.activation, norm, in_double(x),
                                                      in_double(residual), coefficients, y);
  std::vector<T> first;
  on_every_schedule([&] {
    const Map<T> cx(x, call.place), cdy(dy, call.place), cresidual(residual, call.place);
    const OnDevice<T> cgamma(gamma), cbeta(beta);
    const OnDevice<double> cmean(mean), cvar(var);
    OnDevice<double> csums(kernels::batch_norm_sums_size(d, kCudaStream.device));
    OnDevice<A> k(kernels::batch_norm_activation_coefficients_size(d));
    Map<T> cy(n, call.place), dx(n, call.place), dresidual(cresidual.size(), call.place);
    OnDevice<T> dgamma(d.channels), dbeta(d.channels);
    const kernels::BatchNormChannels<T> cnorm{cmean.span(), cvar.span(), 1e-5, cgamma.span(), cbeta.span()};
    kernels::cuda::batch_norm_activation_forward<T>(kCudaStream, d, call.activation, cnorm, cx.span(),
                                                    cresidual.span(), k.span(), cy.span());
    const Span<const T> kept_y = call.residual ? Span<const T>(cy.span()) : Span<const T>();
    kernels::cuda::batch_norm_activation_backward<T>(
        kCudaStream, d, call.activation, call.training, cnorm, cx.span(), kept_y, cdy.span(), csums.span(),
        k.span(), {dx.span(), dresidual.span(), dgamma.span(), dbeta.span()});
    const auto got_y = cy.values();
    CHECK(gap(got_y, y) <= tolerance<T>());
    // The same elements are cut as on the device: what is rounded to 6 is cut there.
    std::vector<double> rdx(x.size()), rdresidual(residual.size()), rdgamma(c), rdbeta(c);
    kernels::cpu::batch_norm_activation_backward<double>({}, d, call.activation, call.training, norm,
                                                         in_double(x), in_double(got_y), in_double(dy), sums,
                                                         coefficients, {rdx, rdresidual, rdgamma, rdbeta});
    const double wide = sizeof(T) == 8 ? 1e-10 : sizeof(T) == 4 ? 1e-5 : 1.0 / 128;
    CHECK(gap(dx.values(), rdx) <= wide);
    CHECK(gap(dresidual.values(), rdresidual) == 0);
    CHECK(gap(dgamma.values(), rdgamma) <= wide);
    CHECK(gap(dbeta.values(), rdbeta) <= wide);
    CHECK((csums.intact() && k.intact() && cy.intact() && dx.intact() && dresidual.intact() &&
           dgamma.intact() && dbeta.intact()));
    if (first.empty()) first = dx.values();
    CHECK(same_bits(dx.values(), first));
    if (call.training) return;
    // Frozen, dx alone: no sums, and x is not looked at where y is given.
    Map<T> alone(n, call.place);
    kernels::cuda::batch_norm_activation_backward<T>(kCudaStream, d, call.activation, false, cnorm,
                                                     cdy.span(), cy.span(), cdy.span(), {}, k.span(),
                                                     {alone.span(), {}, {}, {}});
    CHECK((alone.intact() && same_bits(alone.values(), first)));
  });
}

}  // namespace

TEMPLATE_TEST_CASE("batch_norm_activation: CUDA agrees with double on the CPU", "[cuda][batch_norm]", float,
                   bf16, double) {
  for (const std::int64_t channels : {3, 8, 21, 64})
    for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6})
      for (const bool residual : {false, true})
        for (const bool training : {false, true}) {
          INFO(channels << " channels, activation " << int(activation) << (residual ? ", residual" : "")
                        << (training ? ", training" : ""));
          compare<TestType>({{77, channels}, activation, residual, training});
        }
}

TEMPLATE_TEST_CASE("batch_norm_activation: CUDA agrees with double where maps lie at odd addresses",
                   "[cuda][batch_norm]", float, bf16, double) {
  for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6})
    for (const bool residual : {false, true})
      for (const bool training : {false, true}) {
        INFO("activation " << int(activation) << (residual ? ", residual" : "")
                           << (training ? ", training" : ""));
        compare<TestType>({{33, 8}, activation, residual, training, 1});
      }
}

TEMPLATE_TEST_CASE("batch_norm_activation: on the CPU what was cut is also found without y",
                   "[kernels][batch_norm]", float, bf16, double) {
  using T = TestType;
  using A = Accumulator<T>;
  const BatchNormDims d{40, 5};
  const auto x = random_values<T>(200, 1), dy = random_values<T>(200, 2), gamma = random_values<T>(5, 3),
             beta = random_values<T>(5, 4);
  std::vector<double> sums(std::size_t(kernels::batch_norm_sums_size(d))), mean(5), var(5);
  kernels::cpu::batch_norm_statistics<T>({}, d, x, sums, mean, var);
  std::vector<A> k(30);
  std::vector<T> y(200), dx(200), again(200), dgamma(5), dbeta(5);
  const kernels::BatchNormChannels<T> norm{mean, var, 1e-5, gamma, beta};
  kernels::cpu::batch_norm_activation_forward<T>({}, d, Activation::relu, norm, x, {}, k, y);
  for (const bool with_y : {true, false})
    kernels::cpu::batch_norm_activation_backward<T>({}, d, Activation::relu, true, norm, x,
                                                    with_y ? Span<const T>(y) : Span<const T>(), dy, sums, k,
                                                    {with_y ? dx : again, {}, dgamma, dbeta});
  CHECK(same_bits(dx, again));
}

}  // namespace atrous::tests
