#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace atrous {

/// The differentiable operations, from ops.inc.
enum class Op {
#define ATROUS_OP(name, inputs) name,
#include "atrous/autograd/ops.inc"
#undef ATROUS_OP
};

/// "conv2d"
const char* op_name(Op op);
/// The roles of the tensor inputs: {"x", "weight", "bias"}.
std::vector<std::string> op_inputs(Op op);
/// All of them, in the table's order.
const std::vector<Op>& all_ops();

inline std::ostream& operator<<(std::ostream& out, Op op) { return out << op_name(op); }

}  // namespace atrous
