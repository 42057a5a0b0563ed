#include "atrous/autograd/op.h"

#include <sstream>

namespace atrous {
namespace {

struct Row {
  const char* name;
  const char* inputs;
};

constexpr Row kRows[] = {
#define ATROUS_OP(name, inputs) {#name, inputs},
#include "atrous/autograd/ops.inc"
#undef ATROUS_OP
};

}  // namespace

const char* op_name(Op op) { return kRows[int(op)].name; }

std::vector<std::string> op_inputs(Op op) {
  std::istringstream words(kRows[int(op)].inputs);
  std::vector<std::string> roles;
  for (std::string role; words >> role;) {
    if (role.front() == '[') role = role.substr(1, role.size() - 2);
    roles.push_back(role);
  }
  return roles;
}

const std::vector<Op>& all_ops() {
  static const std::vector<Op> ops = {
#define ATROUS_OP(name, inputs) Op::name,
#include "atrous/autograd/ops.inc"
#undef ATROUS_OP
  };
  return ops;
}

}  // namespace atrous
