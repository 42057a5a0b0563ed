#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/dtype.h"
#include "atrous/core/span.h"

// What the reductions of reduce.h do with one element and how they join two partial results.

namespace atrous::kernels {

inline constexpr std::int64_t kReduceLeaf = 1024;  // elements
inline constexpr int kReduceLanes = 16;            // running results of one leaf

struct SumRule {
  static constexpr double kStart = 0;
  ATROUS_HD static double load(double x) { return x; }
  ATROUS_HD static double join(double a, double b) { return a + b; }
};

struct SumOfSquaresRule {
  static constexpr double kStart = 0;
  ATROUS_HD static double load(double x) { return x * x; }
  ATROUS_HD static double join(double a, double b) { return a + b; }
};

struct MaxAbsRule {
  static constexpr double kStart = 0;
  ATROUS_HD static double load(double x) { return x < 0 ? -x : x; }
  // A NaN on either side stays. Two choices and no "or", which would not be vectorised.
  ATROUS_HD static double join(double a, double b) {
    const double larger = b > a ? b : a;
    return b != b ? b : larger;
  }
};

/// Adds zeros up: x - x is 0 for finite numbers and NaN for all others.
struct AllFiniteRule {
  static constexpr double kStart = 0;
  ATROUS_HD static double load(double x) { return x - x; }
  ATROUS_HD static double join(double a, double b) { return a + b; }
};

/// Joins values[0..n-1] in pairs: neighbours first, then neighbours of those.
template <class Rule>
ATROUS_HD double reduce_tree(double* values, std::int64_t n) {
  if (n == 0) return Rule::kStart;
  for (; n > 1; n = (n + 1) / 2) {
    for (std::int64_t i = 0; i < n / 2; ++i) values[i] = Rule::join(values[2 * i], values[2 * i + 1]);
    if (n % 2) values[n / 2] = values[n - 1];
  }
  return values[0];
}

/// The result of elements 1024*leaf and following.
template <class T, class Rule>
struct ReduceLeaf {
  Span<const T> x;
  Span<double> scratch;
  ATROUS_HD void operator()(std::int64_t leaf) const {
    const T* p = x.data() + leaf * kReduceLeaf;
    const std::int64_t rest = x.size() - leaf * kReduceLeaf, n = rest < kReduceLeaf ? rest : kReduceLeaf;
    double lanes[kReduceLanes];
    for (double& lane : lanes) lane = Rule::kStart;
    std::int64_t i = 0;
    for (; i + kReduceLanes <= n; i += kReduceLanes)
      for (int l = 0; l < kReduceLanes; ++l)
        lanes[l] = Rule::join(lanes[l], Rule::load(double(Accumulator<T>(p[i + l]))));
    for (int l = 0; i < n; ++i, ++l)
      lanes[l] = Rule::join(lanes[l], Rule::load(double(Accumulator<T>(p[i]))));
    scratch[leaf] = reduce_tree<Rule>(lanes, kReduceLanes);
  }
};

}  // namespace atrous::kernels
