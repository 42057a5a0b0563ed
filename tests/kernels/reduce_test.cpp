#include "atrous/kernels/reduce/reduce.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

constexpr Stream kStream{kCpu, nullptr};

template <class T>
using Reduction = kernels::Kernel<void(Stream, Span<const T>, Span<double>, Span<double>)>;

template <class T>
double reduce(const Reduction<T>& kernel, const std::vector<T>& x) {
  std::vector<double> scratch(std::size_t(kernels::reduce_workspace_size(std::int64_t(x.size())))),
      result(1, NAN);
  kernel(kStream, x, scratch, result);
  return result[0];
}

template <class T>
std::vector<T> draw(std::int64_t n, double low, double high) {
  Random random(std::uint64_t(n) + 3);
  std::vector<T> x(static_cast<std::size_t>(n));
  for (T& v : x) v = T(random.uniform(low, high));
  return x;
}

template <class F>
auto with_threads(int count, const F& f) {
  const int before = threads();
  set_threads(count);
  auto result = f();
  set_threads(before);
  return result;
}

}  // namespace

TEMPLATE_TEST_CASE("reduce: sums are exact to rounding at every length", "[kernels][reduce]", float, double) {
  for (const std::int64_t n : {0, 1, 2, 15, 16, 17, 1023, 1024, 1025, 5000, 1 << 20}) {
    const auto x = draw<TestType>(n, -1, 3);
    long double sum = 0, squares = 0, size = 0;
    double largest = 0;
    for (const TestType v : x) {
      sum += v;
      squares += (long double)(v)*v;
      size += std::abs(v);
      largest = std::max(largest, double(std::abs(v)));
    }
    INFO(n << " elements");
    const double allowed = 1e-15 * std::max(1.0, double(size));
    CHECK(std::abs(reduce(kernels::sum_forward<TestType>, x) - double(sum)) <= allowed);
    CHECK(std::abs(reduce(kernels::sum_of_squares<TestType>, x) - double(squares)) <=
          1e-14 * double(squares));
    CHECK(reduce(kernels::max_abs<TestType>, x) == largest);
    CHECK(reduce(kernels::all_finite<TestType>, x) == 1);
  }
}

TEST_CASE("reduce: a long sum of floats is far better than a running one", "[kernels][reduce]") {
  const std::vector<float> x(std::size_t(1) << 24, 0.1f);
  const double truth = double(0.1f) * double(x.size());
  const float running = std::accumulate(x.begin(), x.end(), 0.0f);
  CHECK(std::abs(running - truth) > 1e-3 * truth);
  CHECK(std::abs(reduce(kernels::sum_forward<float>, x) - truth) < 1e-14 * truth);
}

TEST_CASE("reduce: every place of a NaN or an infinity is found", "[kernels][reduce]") {
  for (const std::int64_t n : {1, 16, 33, 1024, 1031, 3000})
    for (const float special :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()})
      for (std::int64_t i = 0; i < n; i += 1 + n / 50) {
        auto x = draw<float>(n, -2, 2);
        x[std::size_t(i)] = special;
        const double most = reduce(kernels::max_abs<float>, x);
        if (reduce(kernels::all_finite<float>, x) != 0 ||
            (std::isnan(special) ? !std::isnan(most) : !std::isinf(most)))
          FAIL_CHECK(special << " at " << i << " of " << n << " was missed");
      }
  // The largest finite numbers are finite, although their sum is not.
  CHECK(reduce(kernels::all_finite<double>, std::vector<double>(40, 1.7e308)) == 1);
  CHECK(reduce(kernels::all_finite<float>, std::vector<float>(40, 3.4e38f)) == 1);
  CHECK(std::isnan(reduce(kernels::max_abs<float>, {NAN, INFINITY, 1})));
}

TEST_CASE("reduce: 1, 2 and 3 threads give the same bits", "[kernels][reduce]") {
  const auto x = draw<double>(300007, -1, 1);
  const auto sums = [&] {
    return std::vector<double>{reduce(kernels::sum_forward<double>, x),
                               reduce(kernels::sum_of_squares<double>, x)};
  };
  const auto one = with_threads(1, sums);
  CHECK(one == with_threads(2, sums));
  CHECK(one == with_threads(3, sums));
}

TEMPLATE_TEST_CASE("channel_sums: agree with plain loops for any matrix", "[kernels][reduce]", float,
                   double) {
  for (const std::int64_t channels : {1, 3, 21, 256, 2050})
    for (const std::int64_t rows : {0, 1, 7, 8, 9, 100, 2311}) {
      const kernels::RowsDims dims{rows, channels};
      const auto x = draw<TestType>(rows * channels, -1, 1);
      const auto sums = [&] {
        std::vector<double> scratch(std::size_t(kernels::channel_sums_workspace_size(dims)), NAN);
        std::vector<TestType> y(std::size_t(channels), TestType(NAN));
        kernels::channel_sums<TestType>(kStream, dims, x, scratch, y);
        return y;
      };
      const auto y = with_threads(1, sums);
      INFO(rows << " rows of " << channels);
      CHECK(y == with_threads(2, sums));
      CHECK(y == with_threads(3, sums));
      double worst = 0;
      for (std::int64_t c = 0; c < channels; ++c) {
        double truth = 0;
        for (std::int64_t r = 0; r < rows; ++r) truth += double(x[std::size_t(r * channels + c)]);
        worst = std::max(worst, std::abs(double(y[std::size_t(c)]) - truth));
      }
      const double epsilon = std::numeric_limits<TestType>::epsilon();
      CHECK(worst <= epsilon * (4 * std::sqrt(double(rows)) + 4));
    }
}

TEST_CASE("channel_sums: the float error does not grow with the number of rows", "[kernels][reduce]") {
  const kernels::RowsDims dims{1 << 20, 3};
  const std::vector<float> x(std::size_t(dims.rows * dims.channels), 0.1f);
  std::vector<double> scratch(std::size_t(kernels::channel_sums_workspace_size(dims)));
  std::vector<float> y(3);
  kernels::channel_sums<float>(kStream, dims, x, scratch, y);
  const double truth = double(0.1f) * double(dims.rows);
  for (const float v : y) CHECK(std::abs(v - truth) < 3e-7 * truth);
}

}  // namespace atrous::tests
