#include "atrous/kernels/reduce/reduce.h"

#include <limits>

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

template <class T>
using Reduction = void (*)(Stream, Span<const T>, Span<double>, Span<double>);

// Elements from `skip` on.
template <class T>
double reduced(Reduction<T> kernel, const std::vector<T>& values, std::int64_t skip = 0) {
  const OnDevice<T> x(values);
  const std::int64_t n = x.size() - skip;
  OnDevice<double> scratch(kernels::reduce_workspace_size(n)), result(1);
  kernel(kCudaStream, x.span().part(skip, n), scratch.span(), result.span());
  CHECK((scratch.intact() && result.intact()));
  return result.values()[0];
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

TEMPLATE_TEST_CASE("reduce: on CUDA sums are exact to rounding at every length and place", "[cuda][reduce]",
                   float, bf16, double) {
  using T = TestType;
  for (const std::int64_t n : {0, 1, 9, 255, 1024, 1025, 5003, 40000})
    for (const std::int64_t skip : {0, 1}) {
      INFO(n << " elements from " << skip);
      const auto x = random_values<T>(n + skip, 3);
      double sum = 0, squares = 0, largest = 0;
      const auto values = in_double(x);
      for (std::size_t i = std::size_t(skip); i < values.size(); ++i) {
        sum += values[i];
        squares += values[i] * values[i];
        largest = std::max(largest, std::abs(values[i]));
      }
      double before = kNan;
      on_every_schedule([&] {
        const double got = reduced<T>(kernels::cuda::sum_forward<T>, x, skip);
        CHECK(std::abs(got - sum) <= 1e-14 * double(n + 1));
        CHECK(std::abs(reduced<T>(kernels::cuda::sum_of_squares<T>, x, skip) - squares) <=
              1e-13 * (squares + 1));
        CHECK(reduced<T>(kernels::cuda::max_abs<T>, x, skip) == largest);
        CHECK(reduced<T>(kernels::cuda::all_finite<T>, x, skip) == 1);
        if (std::isnan(before)) before = got;
        CHECK(got == before);
      });
    }
}

TEMPLATE_TEST_CASE("reduce: on CUDA every place of a NaN or an infinity is found", "[cuda][reduce]", float,
                   bf16, double) {
  using T = TestType;
  for (const std::int64_t n : {1, 33, 1031, 3000})
    for (const double special : {kNan, kInfinity, -kInfinity})
      for (std::int64_t i = 0; i < n; i += 1 + n / 5) {
        auto x = random_values<T>(n, 3);
        x[std::size_t(i)] = T(float(special));
        INFO(special << " at " << i << " of " << n);
        const double most = reduced<T>(kernels::cuda::max_abs<T>, x);
        CHECK(reduced<T>(kernels::cuda::all_finite<T>, x) == 0);
        CHECK((std::isnan(special) ? std::isnan(most) : most == kInfinity));
      }
  CHECK(reduced<T>(kernels::cuda::all_finite<T>, std::vector<T>(40, T(3e38f))) == 1);
}

TEMPLATE_TEST_CASE("sum_backward: on CUDA one number everywhere", "[cuda][reduce]", float, bf16, double) {
  using T = TestType;
  for (const std::int64_t n : {0, 1, 300}) {
    const OnDevice<T> dy(std::vector<T>{T(1.5f)});
    OnDevice<T> dx(n);
    kernels::cuda::sum_backward<T>(kCudaStream, 0.25, dy.span(), dx.span());
    CHECK(gap(dx.values(), std::vector<double>(std::size_t(n), 0.375)) == 0);
    CHECK(dx.intact());
  }
}

TEMPLATE_TEST_CASE("channel_sums: CUDA agrees with plain loops for any matrix", "[cuda][reduce]", float, bf16,
                   double) {
  using T = TestType;
  for (const std::int64_t channels : {1, 3, 8, 21, 40, 257, 2056})
    for (const std::int64_t rows : {0, 1, 7, 8, 100, 611}) {
      if (rows * channels > 300000) continue;
      const kernels::RowsDims dims{rows, channels};
      for (const std::int64_t skip : {0, 1}) {
        INFO(rows << " rows of " << channels << ", from " << skip);
        const auto x = random_values<T>(rows * channels + skip, 3);
        const auto values = in_double(x);
        std::vector<double> truth(std::size_t(channels), 0.0);
        for (std::int64_t i = 0; i < rows * channels; ++i)
          truth[std::size_t(i % channels)] += values[std::size_t(i + skip)];
        std::vector<T> before;
        const auto once = [&] {
          const OnDevice<T> cx(x);
          OnDevice<double> scratch(kernels::channel_sums_workspace_size(dims, kCudaStream.device));
          OnDevice<T> y(channels);
          kernels::cuda::channel_sums<T>(kCudaStream, dims, cx.span().part(skip, rows * channels),
                                         scratch.span(), y.span());
          CHECK((scratch.intact() && y.intact()));
          CHECK(gap(y.values(), truth) <= tolerance<T>());
          if (before.empty()) before = y.values();
          CHECK(same_bits(y.values(), before));
        };
        if (rows * channels > 50000)
          once();
        else
          on_every_schedule(once);
      }
    }
}

}  // namespace atrous::tests
