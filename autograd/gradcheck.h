#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "atrous/autograd/variable.h"

namespace atrous {

/// Any differentiable function of some tensors.
using DifferentiableFunction = std::function<Variable(const std::vector<Variable>&)>;

struct GradcheckOptions {
  double step = 1e-5;  ///< of the central difference
  double tolerance =
      1e-7;  ///< of the largest difference over the largest entry of the gradient (at least 1e-3)
  std::uint64_t seed = 1;  ///< of the vector that the output is multiplied with
  std::int64_t max_entries =
      400;  ///< of each input; larger inputs are checked at as many places, evenly spread
};

struct CheckResult {
  bool passed = true;
  double worst = 0;     ///< the largest relative difference
  std::string message;  ///< of the first failure: which input, which entry, both numbers
  explicit operator bool() const { return passed; }
};

/// Compares the gradient that backward() computes with central differences, for each input that requires one:
///
///   loss(x) = sum_i v_i f(x)_i,   v fixed and random;   d loss/d x_j ~ (loss(x + h e_j) - loss(x - h e_j)) /
///   2h
///
/// A random v, because a plain sum hides mistakes (the sum of a softmax is constant). Inputs must be f64
/// (DtypeError): finite differences in single precision are mostly noise. Keep them away from kinks (relu at
/// 0, ties of a maximum). Also runs the function twice and demands the same gradient, bit for bit. The
/// function runs where its inputs are, on any device.
CheckResult gradcheck(const DifferentiableFunction& f, const std::vector<Variable>& inputs,
                      const GradcheckOptions& options = {});

/// For a function that is linear in input `which`: compares <A x, y> with <x, A'y>, where A'y is what
/// backward() computes, for random y; exact up to rounding. The gap is relative to |A x| |y|; for f64 the
/// tolerance is 1e-12, for f32 2e-5.
CheckResult adjoint_check(const DifferentiableFunction& f, const std::vector<Variable>& inputs, int which,
                          std::uint64_t seed = 1);

}  // namespace atrous
