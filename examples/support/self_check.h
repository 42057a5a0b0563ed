#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "atrous/autograd/variable.h"

// What selftest runs: every operation, on a few shapes chosen so that its plain and its tuned kernels all
// take part, held against what must be true of it on any machine. It needs nothing but the library.

namespace atrous::examples {

/// How the values of an input are drawn. Kinks and ties are kept away from finite differences.
enum class Values { normal, away_from_0, away_from_0_and_6, distinct };

struct SelfInput {
  Shape shape;
  Values values = Values::normal;
  bool differentiable = true;
};

struct SelfCase {
  std::string operation;  ///< cases of one operation are reported together
  std::vector<SelfInput> inputs;
  std::function<Variable(const std::vector<Variable>&)> call;
  bool small = false;       ///< small enough for finite differences
  bool linear = false;      ///< in each differentiable input by itself; inputs that are added are left out
  bool labels = false;      ///< the result is classes or counts of them, and has no gradient
  double tolerance = 2e-5;  ///< f32 against double, relative to the largest element
};

const std::vector<SelfCase>& self_cases();

/// What became of one operation: the largest deviation of each kind (NaN where the check does not apply) and
/// a sentence for each failure.
struct SelfResult {
  std::string operation;
  int cases = 0;
  double gradient, adjoint, oracle_f32, oracle_bf16;
  bool repeats = true;
  std::vector<std::string> failures;
};

struct SelfCheckOptions {
  Device device = kCpu;
  std::uint64_t seed = 1;
  bool quick = false;  ///< the small cases alone
  bool gradient = true, adjoint = true, oracle = true, repeats = true;
};

/// For every operation:
///   gradient   backward() against central differences, in double, on the device
///   adjoint    <A x, y> = <x, A'y> in f32, where the operation is linear
///   oracle     output and gradients in f32 (on CUDA in bf16, too) against the plain kernels in double on the
///   CPU repeats    the same bits a second time, in memory that was full of NaN, with nothing written outside
///   of a
///              tensor; on the CPU for another number of threads
/// An operation that has no case fails.
std::vector<SelfResult> self_check(const SelfCheckOptions& options);

}  // namespace atrous::examples
