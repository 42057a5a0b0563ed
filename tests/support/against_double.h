#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "atrous/core/dtype.h"

// Results of kernels against the plain ones in double, from the same inputs.

namespace atrous::tests {

/// The values that a T holds, as doubles.
template <class T>
std::vector<double> in_double(const std::vector<T>& v) {
  std::vector<double> d;
  d.reserve(v.size());
  for (const T x : v) d.push_back(double(Accumulator<T>(x)));
  return d;
}

/// The largest difference over the largest true value; infinite where only one of them is NaN.
template <class T>
double gap(const std::vector<T>& got, const std::vector<double>& truth) {
  if (got.size() != truth.size()) return INFINITY;
  double largest = 1e-6, worst = 0;
  for (const double t : truth)
    if (std::isfinite(t)) largest = std::max(largest, std::abs(t));
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double g = double(Accumulator<T>(got[i]));
    if ((std::isnan(g) && std::isnan(truth[i])) || g == truth[i]) continue;
    const double d = std::abs(g - truth[i]);
    if (!(d <= worst)) worst = std::isnan(d) ? INFINITY : d;
  }
  return worst / largest;
}

/// What a gap may be: the rounding of short sums, and of the result.
template <class T>
constexpr double tolerance() {
  return sizeof(T) == 8 ? 1e-12 : sizeof(T) == 4 ? 2e-6 : 1.0 / 256;
}

/// Whether both hold the same bits.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  const auto* p = reinterpret_cast<const unsigned char*>(a.data());
  return std::equal(p, p + a.size() * sizeof(T), reinterpret_cast<const unsigned char*>(b.data()));
}

}  // namespace atrous::tests
