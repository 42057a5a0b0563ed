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
  std::vector<Variable> inputs;  // x first, then the weights; f32 on the host
  std::function<Variable(const std::vector<Variable>&)> call;
  /// The same with products of factors rounded to TF32; empty where nothing is multiplied by matrices.
  std::function<Variable(const std::vector<Variable>&)> call_tf32;

  double flops =
      0;  // of the forward pass: two for each multiply-add of the formula, taps in the padding included
  double bytes =
      0;  // the least traffic of the forward pass in f32: every input read once, the output written once

  bool differentiable = true;
  bool linear = true;    // in each input by itself, the others fixed
  bool sums_up = false;  // in x alone: each weight adds to what the others make

  /// Element i of the output, in double, from the formula.
  std::function<double(std::int64_t i)> reference;
};

/// Random inputs of a fixed seed. The batch is axis 0 of x.
Operation make_operation(const Layer& layer, std::int64_t batch);

/// Compares a few hundred elements of the forward result with the formula, and the gradients with the adjoint
/// identity <A x, y> = <x, A'y> where the layer is linear. Throws Error with the row's name if they differ.
void check_operation(const std::string& name, const Operation& operation);

/// Uniform in [-1, 1), always the same numbers.
Tensor random_tensor(const Shape& shape, std::uint64_t stream);

}  // namespace atrous::bench
