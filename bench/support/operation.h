#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "atrous/autograd/variable.h"
#include "bench/support/shapes.h"

namespace atrous::bench {

/// A layer made ready to run: its inputs, the call, what the call must cost at least, and how to compute any
/// one element of the result from the formula.
struct Operation {
  std::vector<Variable> inputs;  // x first, then the weights
  std::function<Variable(const std::vector<Variable>&)> call;

  double flops =
      0;  // of the forward pass: two for each multiply-add of the formula, taps in the padding included
  double bytes = 0;  // the least traffic of the forward pass: every input read once, the output written once

  bool linear = true;  // in each input by itself, the others fixed

  /// Element i of the output, in double, from the formula.
  std::function<double(std::int64_t i)> reference;
};

/// Random inputs of a fixed seed. The batch is axis 0 of x.
Operation make_operation(const Layer& layer, std::int64_t batch);

/// Compares a few hundred elements of the forward result with the formula, and the gradients with the adjoint
/// identity <A x, y> = <x, A'y> where the layer is linear. Throws Error with the row's name if they differ.
void check_operation(const std::string& name, const Operation& operation);

}  // namespace atrous::bench
