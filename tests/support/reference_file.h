#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "atrous/autograd/variable.h"
#include "tests/support/op_case.h"

// Reference numbers that another framework computed: tests/reference/<family>.json, written by <family>.py
// beside it. A test of a family is one call of check_against_reference().

namespace atrous::tests {

struct ReferenceCase {
  struct Input {
    std::string role;
    Shape shape;
    std::vector<double> values;
    bool integer = false;  ///< labels; otherwise numbers that a float holds exactly
    bool requires_grad = false;
  };

  std::string op, name;
  std::vector<Input> inputs;
  Reference output{Shape{}};
  std::map<std::string, Reference> gradients;  ///< of sum(v * output), by role
  std::map<std::string, Reference> further;    ///< whatever else the script returned, by name

  /// Options by name; a missing one gives `fallback`.
  double number(const std::string& key, double fallback = 0) const;
  std::int64_t integer(const std::string& key, std::int64_t fallback = 0) const;
  bool flag(const std::string& key, bool fallback = false) const;
  std::vector<double> numbers(const std::string& key) const;
  std::vector<std::int64_t> integers(const std::string& key) const;
  std::string text(const std::string& key, const std::string& fallback = {}) const;
  bool has(const std::string& key) const;

  std::map<std::string, std::vector<double>> number_options;  // flags are 0 and 1
  std::map<std::string, std::string> text_options;
};

/// The inputs of one case as variables, by role; an absent one is undefined.
class ReferenceInputs {
 public:
  ReferenceInputs(const ReferenceCase& c, Dtype dtype);
  const Variable& operator[](const std::string& role) const;
  /// Integer inputs are i32 tensors.
  const Tensor& tensor(const std::string& role) const { return (*this)[role].value(); }

 private:
  std::map<std::string, Variable> variables_;
};

/// The cases of tests/reference/<family>.json. Throws IoError if it is missing or wrong.
std::vector<ReferenceCase> read_reference(const std::string& family);

/// The input that both sides compute from a formula (reference.py says which).
std::vector<double> formula_input(const Shape& shape, std::uint32_t seed, double scale = 1,
                                  double offset = 0);

/// Runs every case of the family in f64 and in f32, and checks the output and all gradients: within
/// `tolerance` in f64 and 1e-5 in f32, relative to the largest value of each array. `call` may check
/// `further` itself.
void check_against_reference(
    const std::string& family,
    const std::function<Variable(const ReferenceCase&, const ReferenceInputs&)>& call,
    double tolerance = 1e-9);

}  // namespace atrous::tests
