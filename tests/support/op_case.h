#pragma once

#include <functional>
#include <string>
#include <vector>

#include "atrous/autograd/op.h"
#include "atrous/autograd/variable.h"
#include "atrous/core/random.h"

// One row for each way to call a differentiable operation. tests/autograd/op_ladder_test.cpp runs every row
// through the ladder of trust (finite differences, the reference, float against double, one thread against
// two, guard words, special values, empty batch), and fails for an operation or an input of ops.inc that no
// row covers.

namespace atrous::tests {

/// How the values of an input are drawn.
enum class Draw {
  normal,       ///< mean 0, deviation 1
  positive,     ///< uniform in [0.5, 2): variances, scales
  away_from_0,  ///< normal with |x| > 0.1: relu and its like
  distinct,     ///< shuffled multiples of 0.01 around 0, no two alike: maxima
  fixed         ///< `values` as they are
};

struct OpInput {
  std::string role;  ///< of ops.inc
  Shape shape;
  Draw draw = Draw::normal;
  bool differentiable = true;       ///< gradcheck asks for its gradient
  std::vector<double> values = {};  ///< for Draw::fixed
};

/// A tensor of the reference: doubles and their shape.
struct Reference {
  Shape shape;
  std::vector<double> values;

  explicit Reference(const Shape& s) : shape(s), values(std::size_t(s.numel()), 0.0) {}
  explicit Reference(const Tensor& t);
  /// Element at (n, h, w, c), (r, s, c, k) or whatever four axes mean; fewer indices for fewer axes.
  double& at(std::int64_t a, std::int64_t b = 0, std::int64_t c = 0, std::int64_t d = 0);
  double at(std::int64_t a, std::int64_t b = 0, std::int64_t c = 0, std::int64_t d = 0) const;
  /// The same, and 0 outside of axes 1 and 2: an image with zeros around it.
  double padded(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) const;
};

/// The largest difference over the largest value of `truth` (1e-6 at least); infinite if the shapes differ or
/// if one holds a NaN.
double gap(const Reference& got, const Reference& truth);

struct OpCase {
  Op op;
  std::string name;  ///< what is special about the row: "stride 2, rate 3"
  std::vector<OpInput> inputs;
  std::function<Variable(const std::vector<Variable>&)> call;
  /// The same result from the formula, in plain loops over doubles, without any code of the library's
  /// kernels.
  std::function<Reference(const std::vector<Reference>&)> reference;

  double tolerance = 1e-5;  ///< float against double, relative to the largest output (and gradient)
  double gradcheck_tolerance = 1e-7;
  bool has_batch = true;   ///< axis 0 of input 0 is a batch that may be empty
  bool linear = false;     ///< linear in every differentiable input by itself: also checked by adjoint_check
  bool nan_passes = true;  ///< a NaN in input 0 shows in the output

  /// "conv2d: stride 2, rate 3"
  std::string title() const;
};

/// Rows register themselves from each <family>_cases.cpp: `static const OpCases cases({...});`
class OpCases {
 public:
  explicit OpCases(std::vector<OpCase> rows);
  static const std::vector<OpCase>& all();
};

/// Input `k` of the row in the given type, always the same numbers.
Tensor draw_input(const OpCase& row, int k, Dtype dtype);
/// All inputs as leaves; those that are differentiable require gradients if `with_grad`.
std::vector<Variable> draw_inputs(const OpCase& row, Dtype dtype, bool with_grad, Device device = kCpu);
/// Weights of the output's elements in the loss whose gradients are looked at: fixed, random, unlike each
/// other.
Tensor loss_weights(const Tensor& y);
/// Output and all gradients of one call.
std::vector<Tensor> run_case(const OpCase& row, Dtype dtype, Device device = kCpu);

}  // namespace atrous::tests
