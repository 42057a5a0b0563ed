#include "atrous/kernels/gemm/gemm.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

using kernels::GemmDims;

template <class T>
std::vector<T> product(const GemmDims& d, const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<T> c(std::size_t(d.rows * d.columns), std::numeric_limits<T>::quiet_NaN());
  std::vector<T> workspace(std::size_t(kernels::gemm_workspace_size<T>(d)));
  kernels::gemm<T>({}, d, a, b, workspace, c);
  return c;
}

// The largest error relative to the largest element, against plain loops in double.
template <class T>
double error(const GemmDims& d) {
  Random random(3);
  std::vector<T> a(std::size_t(d.rows * d.depth)), b(std::size_t(d.depth * d.columns));
  for (T& v : a) v = T(float(random.uniform(-1, 1)));
  for (T& v : b) v = T(float(random.uniform(-1, 1)));
  const std::vector<T> c = product(d, a, b);
  double worst = 0, largest = 1e-30;
  for (std::int64_t i = 0; i < d.rows; ++i)
    for (std::int64_t j = 0; j < d.columns; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < d.depth; ++k)
        sum += double(a[std::size_t(d.transpose_a ? k * d.rows + i : i * d.depth + k)]) *
               double(b[std::size_t(d.transpose_b ? j * d.depth + k : k * d.columns + j)]);
      const double difference = std::abs(double(c[std::size_t(i * d.columns + j)]) - sum);
      worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
      largest = std::max(largest, std::abs(sum));
    }
  return worst / largest;
}

}  // namespace

TEST_CASE("gemm: two by two, by hand", "[kernels][gemm]") {
  const std::vector<double> a = {1, 2, 3, 4}, b = {5, 6, 7, 8};
  const auto c = [&](bool ta, bool tb) { return product<double>({2, 2, 2, ta, tb}, a, b); };
  CHECK(c(false, false) == std::vector<double>{19, 22, 43, 50});
  CHECK(c(false, true) == std::vector<double>{17, 23, 39, 53});
  CHECK(c(true, false) == std::vector<double>{26, 30, 38, 44});
  CHECK(c(true, true) == std::vector<double>{23, 31, 34, 46});
}

TEST_CASE("gemm: agrees with plain loops, transposed or not", "[kernels][gemm]") {
  const bool transpose_a = GENERATE(false, true), transpose_b = GENERATE(false, true);
  const auto [rows, columns, depth] =
      GENERATE(table<std::int64_t, std::int64_t, std::int64_t>({{1, 1, 1},
                                                                {1, 40, 300},
                                                                {37, 1, 19},
                                                                {13, 31, 33},
                                                                {14, 32, 256},
                                                                {15, 33, 257},
                                                                {130, 129, 17},
                                                                {64, 260, 400}}));
  const GemmDims d{rows, columns, depth, transpose_a, transpose_b};
  INFO(rows << 'x' << depth << " times " << depth << 'x' << columns << ", transposed " << transpose_a
            << transpose_b);
  CHECK(error<double>(d) < 1e-14);
  CHECK(error<float>(d) < 2e-6);
}

TEST_CASE("gemm: empty sums are zero, empty results are legal", "[kernels][gemm]") {
  CHECK(product<float>({2, 3, 0}, {}, {}) == std::vector<float>(6, 0.0f));
  CHECK(product<double>({2, 3, 0}, {}, {}) == std::vector<double>(6, 0.0));
  CHECK(product<float>({0, 3, 2}, {}, std::vector<float>(6)).empty());
  CHECK(product<double>({0, 3, 2}, {}, std::vector<double>(6)).empty());
}

TEST_CASE("gemm: one, two and three threads give the same bits", "[kernels][gemm]") {
  const int before = threads();
  for (const bool transpose_a : {false, true}) {
    const GemmDims d{150, 140, 700, transpose_a, false};
    std::vector<float> a(std::size_t(d.rows * d.depth)), b(std::size_t(d.depth * d.columns));
    Random random(5);
    for (float& v : a) v = float(random.normal());
    for (float& v : b) v = float(random.normal());
    const std::vector<double> a64(a.begin(), a.end()), b64(b.begin(), b.end());
    set_threads(1);
    const auto one = product(d, a, b);
    const auto one64 = product(d, a64, b64);
    for (const int n : {2, 3}) {
      set_threads(n);
      CHECK(product(d, a, b) == one);
      CHECK(product(d, a64, b64) == one64);
    }
  }
  set_threads(before);
}

}  // namespace atrous::tests
