#include "atrous/kernels/elementwise/elementwise.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "atrous/core/cpu_isa.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/kernels/elementwise/dropout.h"
#include "atrous/kernels/elementwise/dropout_body.h"
#include "atrous/kernels/elementwise/elementwise_body.h"
#include "atrous/kernels/elementwise/elementwise_simd.h"
#include "atrous/kernels/elementwise/scale_channels.h"
#include "atrous/kernels/elementwise/scale_channels_body.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using namespace kernels;  // NOLINT: the bodies and the loops are what is compared here
using Floats = std::vector<float>;

constexpr Stream kStream{kCpu, nullptr};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Random numbers around 0 and 6, with every special value in between.
Floats numbers(std::int64_t n, std::uint64_t seed) {
  const float special[] = {0.0f, -0.0f, 6.0f, kNan, kInfinity, -kInfinity, 1e-42f, -1e-42f, 3e38f};
  Random random(seed);
  Floats v(static_cast<std::size_t>(n));
  for (float& x : v) x = random.below(8) == 0 ? special[random.below(9)] : float(random.uniform(-4, 10));
  return v;
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

template <class Body>
void run_body(std::int64_t n, const Body& body) {
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

std::vector<CpuIsa> sets_of_this_machine() {
  std::vector<CpuIsa> sets;
  for (const CpuIsa isa : {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512})
    if (isa <= cpu_isa()) sets.push_back(isa);
  return sets;
}

}  // namespace

TEST_CASE("elementwise: the loops of every instruction set give the bodies' bits", "[kernels][elementwise]") {
  for (const CpuIsa isa : sets_of_this_machine())
    for (const std::int64_t n : {0, 1, 3, 4, 15, 16, 17, 31, 32, 33, 257}) {
      INFO(cpu_isa_name(isa) << ", " << n << " elements");
      const Floats a = numbers(n, 1), b = numbers(n, 2);
      Floats got(a.size(), -7), expected(a.size(), -9);
      const auto out = [&] { return Span<float>(expected); };

      simd::relu_forward.on(isa)(a.data(), got.data(), n);
      run_body(n, ReluForward<float>{a, out()});
      CHECK(same_bits(got, expected));
      simd::relu_backward.on(isa)(a.data(), b.data(), got.data(), n);
      run_body(n, ReluBackward<float>{a, b, out()});
      CHECK(same_bits(got, expected));
      simd::relu6_forward.on(isa)(a.data(), got.data(), n);
      run_body(n, Relu6Forward<float>{a, out()});
      CHECK(same_bits(got, expected));
      simd::relu6_backward.on(isa)(a.data(), b.data(), got.data(), n);
      run_body(n, Relu6Backward<float>{a, b, out()});
      CHECK(same_bits(got, expected));
      simd::scale_forward.on(isa)(-1.7f, a.data(), got.data(), n);
      run_body(n, ScaleForward<float>{a, out(), {-1.7f}});
      CHECK(same_bits(got, expected));

      // Sums and products of two NaNs may keep either's bits: finite numbers only.
      Floats c = a, d = b;
      for (auto* v : {&c, &d})
        for (float& x : *v) x = std::isfinite(x) ? x : 1.5f;
      simd::add_forward.on(isa)(c.data(), d.data(), got.data(), n);
      run_body(n, AddForward<float>{c, d, out()});
      CHECK(same_bits(got, expected));
      simd::mul_forward.on(isa)(c.data(), d.data(), got.data(), n);
      run_body(n, MulForward<float>{c, d, out()});
      CHECK(same_bits(got, expected));
      // In place, as gradients are added up.
      Floats sum = c;
      simd::add_forward.on(isa)(sum.data(), d.data(), sum.data(), n);
      run_body(n, AddForward<float>{c, d, out()});
      CHECK(same_bits(sum, expected));
    }
}

TEST_CASE(
    "scale_channels: the gradient of the factors has the body's bits on every instruction set and any "
    "number of threads",
    "[kernels][elementwise]") {
  struct Case {
    std::int64_t batch, pixels, channels;
  };
  // 1,100 channels: more than are summed at once. 3 images of 40: a thread's part ends within one.
  for (const auto& [batch, pixels, channels] :
       {Case{2, 7, 3}, {1, 1, 16}, {1, 9, 33}, {3, 64, 40}, {2, 6, 1100}, {1, 0, 20}, {0, 4, 20}}) {
    INFO(batch << " images of " << pixels << " pixels, " << channels << " channels");
    const ScaleChannelsDims dims{batch, pixels, channels};
    Floats x(static_cast<std::size_t>(batch * pixels * channels)), dy(x.size());
    Random random(5);
    for (float& v : x) v = float(random.uniform(-4, 10));
    for (float& v : dy) v = float(random.uniform(-1, 1));
    Floats expected(static_cast<std::size_t>(batch * channels), -9);
    run_body(batch * channels, ScaleChannelsFactors<float, 1>{dims, x, dy, expected});
    for (const CpuIsa isa : sets_of_this_machine()) {
      INFO(cpu_isa_name(isa));
      Floats got(expected.size(), -7);
      const auto image = static_cast<std::size_t>(pixels * channels);
      for (std::size_t n = 0; n < std::size_t(batch); ++n)
        simd::scale_channels_backward_factors.on(isa)(x.data() + n * image, dy.data() + n * image, pixels,
                                                      channels, got.data() + n * std::size_t(channels),
                                                      channels);
      CHECK(same_bits(got, expected));
    }
    for (const int count : {1, 2, 3, 5}) {
      INFO(count << " threads");
      const ThreadsScope scope(count);
      Floats got(expected.size(), -7);
      cpu::scale_channels_backward_factors<float>(kStream, dims, x, dy, got);
      CHECK(same_bits(got, expected));
    }
  }
}

TEST_CASE(
    "scale_channels: the body's bits on every instruction set and any number of threads, in and past the "
    "cache",
    "[kernels][elementwise]") {
  struct Case {
    std::int64_t batch, pixels, channels;
  };
  // The last one leaves the cache.
  for (const auto& [batch, pixels, channels] :
       {Case{2, 7, 3}, {3, 35, 40}, {1, 1, 16}, {2, 0, 16}, {0, 4, 20}, {2, 2001, 960}}) {
    INFO(batch << " images of " << pixels << " pixels, " << channels << " channels");
    const ScaleChannelsDims dims{batch, pixels, channels};
    const Floats x = random_values<float>(batch * pixels * channels, 1),
                 factors = random_values<float>(batch * channels, 2);
    Floats expected(x.size());
    run_body(batch * pixels, ScaleChannelsPixel<float>{dims, x, factors, expected});
    for (const CpuIsa isa : sets_of_this_machine())
      for (const bool stream : {false, true}) {
        if (batch == 0 || (stream && channels % 16 != 0)) continue;
        INFO(cpu_isa_name(isa) << (stream ? ", past the cache" : ""));
        Guarded<float> y(pixels * channels);
        simd::scale_channels_forward.on(isa)(x.data(), factors.data(), pixels, channels, stream,
                                             y.span().data());
        CHECK(y.intact());
        CHECK(same_bits(y.values(), Floats(expected.begin(), expected.begin() + pixels * channels)));
      }
    for (const int count : {1, 2, 3}) {
      INFO(count << " threads");
      const ThreadsScope scope(count);
      Guarded<float> y(batch * pixels * channels);
      cpu::scale_channels_forward<float>(kStream, dims, x, factors, y.span());
      CHECK(y.intact());
      CHECK(same_bits(y.values(), expected));
    }
  }
}

TEST_CASE("relu, relu6: NaN stays, both zeros become zero, the ends are flat", "[kernels][elementwise]") {
  const Floats x = {kNan, 0.0f, -0.0f, -1.0f, 6.0f, 7.0f, kInfinity, -kInfinity, 3.0f};
  Floats y(x.size()), dx(x.size());
  const Floats dy(x.size(), 2.0f);
  relu_forward<float>(kStream, x, y);
  CHECK(std::isnan(y[0]));
  CHECK(Floats(y.begin() + 1, y.end()) == Floats{0, 0, 0, 6, 7, kInfinity, 0, 3});
  relu6_forward<float>(kStream, x, y);
  CHECK(std::isnan(y[0]));
  CHECK(Floats(y.begin() + 1, y.end()) == Floats{0, 0, 0, 6, 6, 6, 0, 3});
  relu6_backward<float>(kStream, y, dy, dx);
  CHECK(dx == Floats{2, 0, 0, 0, 0, 0, 0, 0, 2});
}

TEST_CASE("dropout: every instruction set, any number of threads and double drop the same elements",
          "[kernels][dropout]") {
  for (const std::int64_t n : {1, 3, 4, 63, 64, 65, 70001}) {
    const DropoutRule rule{0.3, 0x123456789abcdef0, 0xfedcba9876543210};
    const Floats x(static_cast<std::size_t>(n), 0.7f);
    Floats expected(x.size());
    run_body((n + 3) / 4,
             DropoutFour<float>{DropoutFactor<float>(rule), rule.seed, rule.call, x, Span<float>(expected)});
    for (const CpuIsa isa : sets_of_this_machine()) {
      Floats got(x.size(), -1);
      const DropoutFactor<float> factor(rule);
      const std::int64_t cut = n / 8 * 4;  // two calls, as two threads make them
      simd::dropout_forward.on(isa)(factor.threshold, factor.kept, rule.seed, rule.call, 0, x.data(),
                                    got.data(), cut);
      simd::dropout_forward.on(isa)(factor.threshold, factor.kept, rule.seed, rule.call, cut / 4, x.data(),
                                    got.data(), n - cut);
      INFO(cpu_isa_name(isa) << ", " << n << " elements");
      CHECK(same_bits(got, expected));
    }
    const int before = threads();
    for (const int count : {1, 2, 3}) {
      set_threads(count);
      Floats got(x.size(), -1);
      dropout_forward<float>(kStream, rule, x, got);
      CHECK(same_bits(got, expected));
    }
    set_threads(before);
    const std::vector<double> wide(x.size(), 1.0);
    std::vector<double> dropped(x.size());
    dropout_forward<double>(kStream, rule, wide, dropped);
    for (std::size_t i = 0; i < x.size(); ++i)
      if ((dropped[i] == 0) != (expected[i] == 0)) FAIL_CHECK("element " << i << " of " << n);
  }
}

TEST_CASE("dropout: the share of dropped elements is the probability, and calls differ",
          "[kernels][dropout]") {
  const std::int64_t n = 100000;
  const Floats x(static_cast<std::size_t>(n), 1.0f);
  Floats first(x.size()), second(x.size());
  for (const double p : {0.1, 0.5, 0.9}) {
    dropout_forward<float>(kStream, {p, 1, 0}, x, first);
    dropout_forward<float>(kStream, {p, 1, 1}, x, second);
    std::int64_t dropped = 0, both = 0;
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      dropped += first[i] == 0;
      both += first[i] == 0 && second[i] == 0;
      sum += first[i];
    }
    const double deviation = std::sqrt(p * (1 - p) / double(n));
    CHECK(std::abs(double(dropped) / n - p) < 5 * deviation);
    CHECK(std::abs(double(both) / n - p * p) < 5 * std::sqrt(p * p * (1 - p * p) / double(n)));
    CHECK(std::abs(sum / n - 1) < 5 * deviation / (1 - p));  // the expected value stays
  }
}

TEST_CASE("dropout: what is dropped is zero, even if it was not finite", "[kernels][dropout]") {
  const Floats x = {kNan, kInfinity, -kInfinity, 1, 2};
  Floats y(x.size(), -1);
  dropout_forward<float>(kStream, {1.0, 0, 0}, x, y);
  CHECK(y == Floats{0, 0, 0, 0, 0});
  const Floats finite = {1, -2, 3, 0.5f, 2};
  dropout_forward<float>(kStream, {0.0, 0, 0}, finite, y);
  CHECK(y == finite);
}

}  // namespace atrous::tests
