#include "atrous/kernels/elementwise/elementwise.h"

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "atrous/kernels/elementwise/dropout.h"
#include "atrous/kernels/elementwise/scale_channels.h"
#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

// Random numbers around 0 and 6 with every special value in between.
template <class T>
std::vector<T> numbers(std::int64_t n, std::uint64_t seed) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInf = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f, -0.0f, 6.0f, kNan, kInf, -kInf, 1e-42f, -1e-42f, 3e38f};
  Random random(seed);
  std::vector<T> v(static_cast<std::size_t>(n), T(0));
  for (T& x : v) x = T(random.below(8) == 0 ? special[random.below(9)] : float(random.uniform(-4, 10)));
  return v;
}

// The elements from `skip` on: memory that begins anywhere.
template <class T>
Span<const T> behind(const OnDevice<T>& x, std::int64_t skip) {
  return x.span().part(skip, x.size() - skip);
}

template <class T>
struct Kernel {
  const char* name;
  std::function<void(Stream, Span<const T>, Span<const T>, Span<T>)> cpu, cuda;
};

// Every kernel as a function of a and b.
template <class T>
std::vector<Kernel<T>> all_kernels() {
  using In = Span<const T>;
  using Out = Span<T>;
#define ATROUS_BOTH(name, call)                                                     \
  {                                                                                 \
    name, [](Stream s, In a, [[maybe_unused]] In b, Out y) { kernels::cpu::call; }, \
        [](Stream s, In a, [[maybe_unused]] In b, Out y) { kernels::cuda::call; }   \
  }
  return {ATROUS_BOTH("relu", relu_forward<T>(s, a, y)),
          ATROUS_BOTH("relu backward", relu_backward<T>(s, a, b, y)),
          ATROUS_BOTH("relu6", relu6_forward<T>(s, a, y)),
          ATROUS_BOTH("relu6 backward", relu6_backward<T>(s, a, b, y)),
          ATROUS_BOTH("hard swish", hard_swish_forward<T>(s, a, y)),
          ATROUS_BOTH("hard swish backward", hard_swish_backward<T>(s, a, b, y)),
          ATROUS_BOTH("hard sigmoid", hard_sigmoid_forward<T>(s, a, y)),
          ATROUS_BOTH("hard sigmoid backward", hard_sigmoid_backward<T>(s, a, b, y)),
          ATROUS_BOTH("sigmoid backward", sigmoid_backward<T>(s, a, b, y)),
          ATROUS_BOTH("maximum", maximum_forward<T>(s, a, b, y)),
          ATROUS_BOTH("maximum backward to a", maximum_backward<T>(s, false, a, b, b, y)),
          ATROUS_BOTH("maximum backward to b", maximum_backward<T>(s, true, b, a, b, y)),
          ATROUS_BOTH("add", add_forward<T>(s, a, b, y)),
          ATROUS_BOTH("mul", mul_forward<T>(s, a, b, y)),
          ATROUS_BOTH("scale", scale_forward<T>(s, -1.7, a, y))};
#undef ATROUS_BOTH
}

}  // namespace

TEMPLATE_TEST_CASE("elementwise: CUDA gives the CPU's numbers at every size and place", "[cuda][elementwise]",
                   float, bf16, double) {
  using T = TestType;
  for (const Kernel<T>& kernel : all_kernels<T>())
    for (const std::int64_t n : {0, 1, 7, 33, 259, 1040})
      for (const auto& [skip_a, skip_b] : {std::pair{0, 0}, {3, 3}, {1, 0}}) {
        INFO(kernel.name << ", " << n << " elements from " << skip_a << " and " << skip_b);
        const auto a = numbers<T>(n + skip_a, 1), b = numbers<T>(n + skip_b, 2);
        std::vector<T> expected(static_cast<std::size_t>(n), T(0));
        kernel.cpu({}, Span<const T>(a).part(skip_a, n), Span<const T>(b).part(skip_b, n), expected);
        on_every_schedule([&] {
          const OnDevice<T> ca(a), cb(b);
          OnDevice<T> y(n + skip_a);
          kernel.cuda(kCudaStream, behind(ca, skip_a), behind(cb, skip_b), y.span().part(skip_a, n));
          std::vector<T> got = y.values();
          got.erase(got.begin(), got.begin() + skip_a);
          CHECK(gap(got, in_double(expected)) == 0);
          CHECK(y.intact());
        });
      }
}

TEMPLATE_TEST_CASE("elementwise: on CUDA sums and multiples may replace an input", "[cuda][elementwise]",
                   float, bf16, double) {
  using T = TestType;
  const auto a = random_values<T>(1003, 1), b = random_values<T>(1003, 2);
  std::vector<T> sum = a, multiple = a;
  kernels::cpu::add_forward<T>({}, sum, b, sum);
  kernels::cpu::scale_forward<T>({}, 0.3, multiple, multiple);
  OnDevice<T> x(a), y(a);
  const OnDevice<T> other(b);
  kernels::cuda::add_forward<T>(kCudaStream, x.span(), other.span(), x.span());
  kernels::cuda::scale_forward<T>(kCudaStream, 0.3, y.span(), y.span());
  CHECK(same_bits(x.values(), sum));
  CHECK(same_bits(y.values(), multiple));
}

TEMPLATE_TEST_CASE("sigmoid and exp: CUDA against the CPU in double", "[cuda][elementwise]", float, bf16,
                   double) {
  using T = TestType;
  const auto x = random_values<T>(1003, 1);
  const std::vector<double> in = in_double(x);
  std::vector<double> expected(in.size()), exponential(in.size());
  kernels::cpu::sigmoid_forward<double>({}, in, expected);
  kernels::cpu::exp_forward<double>({}, in, exponential);
  on_every_schedule([&] {
    const OnDevice<T> cx(x);
    OnDevice<T> y(1003), z(1003);
    kernels::cuda::sigmoid_forward<T>(kCudaStream, cx.span(), y.span());
    kernels::cuda::exp_forward<T>(kCudaStream, cx.span(), z.span());
    CHECK(gap(y.values(), expected) < tolerance<T>());
    CHECK(gap(z.values(), exponential) < tolerance<T>());
    CHECK((y.intact() && z.intact()));
  });
}

TEMPLATE_TEST_CASE("scale_channels: on CUDA the CPU's very numbers", "[cuda][elementwise]", float, bf16,
                   double) {
  using T = TestType;
  for (const auto& [batch, pixels, channels] : {std::array{2, 35, 3}, {3, 20, 24}, {1, 1, 37}, {0, 4, 8}}) {
    INFO(batch << " images of " << pixels << " pixels, " << channels << " channels");
    const kernels::ScaleChannelsDims dims{batch, pixels, channels};
    const std::int64_t n = dims.batch * dims.pixels * dims.channels, m = dims.batch * dims.channels;
    const auto x = random_values<T>(n, 1), dy = random_values<T>(n, 2), factors = random_values<T>(m, 3);
    std::vector<T> y(x.size(), T(0)), df(factors.size(), T(0));
    kernels::cpu::scale_channels_forward<T>({}, dims, x, factors, y);
    kernels::cpu::scale_channels_backward_factors<T>({}, dims, x, dy, df);
    on_every_schedule([&] {
      const OnDevice<T> cx(x), cdy(dy), cf(factors);
      OnDevice<T> cy(n), cdf(m);
      kernels::cuda::scale_channels_forward<T>(kCudaStream, dims, cx.span(), cf.span(), cy.span());
      kernels::cuda::scale_channels_backward_factors<T>(kCudaStream, dims, cx.span(), cdy.span(), cdf.span());
      CHECK(gap(cy.values(), in_double(y)) == 0);
      CHECK(gap(cdf.values(), in_double(df)) < tolerance<T>());
      CHECK(cy.intact());
      CHECK(cdf.intact());
    });
  }
}

TEMPLATE_TEST_CASE("dropout: on CUDA the CPU's very numbers", "[cuda][elementwise]", float, bf16, double) {
  using T = TestType;
  for (const double probability : {0.0, 0.3, 1.0})
    for (const std::int64_t n : {0, 1, 3, 4, 9, 64, 1003})
      for (const std::int64_t skip : {0, 1}) {
        INFO(n << " elements from " << skip << ", probability " << probability);
        const kernels::DropoutRule rule{probability, 0x123456789abcdef0, 7};
        const auto x = numbers<T>(n + skip, 1);
        std::vector<T> expected(static_cast<std::size_t>(n), T(0));
        kernels::cpu::dropout_forward<T>({}, rule, Span<const T>(x).part(skip, n), expected);
        on_every_schedule([&] {
          const OnDevice<T> cx(x);
          OnDevice<T> y(n);
          kernels::cuda::dropout_forward<T>(kCudaStream, rule, behind(cx, skip), y.span());
          CHECK(gap(y.values(), in_double(expected)) == 0);
          CHECK(y.intact());
        });
      }
}

TEMPLATE_TEST_CASE("dropout: on CUDA whole channels as on the CPU", "[cuda][elementwise]", float, bf16,
                   double) {
  using T = TestType;
  using A = Accumulator<T>;
  for (const std::int64_t channels : {1, 5, 8, 24}) {
    INFO(channels << " channels");
    const kernels::DropoutRule rule{0.4, 5, 6};
    const kernels::ChannelDropoutDims dims{3, 7, channels};
    const std::int64_t n = 3 * 7 * channels;
    const auto x = numbers<T>(n, 1);
    std::vector<T> expected(static_cast<std::size_t>(n), T(0));
    std::vector<A> factors(static_cast<std::size_t>(3 * channels));
    kernels::cpu::channel_dropout_forward<T>({}, rule, dims, x, factors, expected);
    on_every_schedule([&] {
      const OnDevice<T> cx(x);
      OnDevice<A> device_factors(3 * channels);
      OnDevice<T> y(n);
      kernels::cuda::channel_dropout_forward<T>(kCudaStream, rule, dims, cx.span(), device_factors.span(),
                                                y.span());
      CHECK(gap(y.values(), in_double(expected)) == 0);
      CHECK((y.intact() && device_factors.intact()));
    });
  }
}

}  // namespace atrous::tests
