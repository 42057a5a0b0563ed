#include "atrous/autograd/elementwise.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {

TEST_CASE("elementwise: agrees with PyTorch, forward and backward", "[autograd][elementwise]") {
  check_against_reference("elementwise", [](const ReferenceCase& c, const ReferenceInputs& in) -> Variable {
    if (c.op == "relu") return relu(in["x"]);
    if (c.op == "relu6") return relu6(in["x"]);
    if (c.op == "hard_swish") return hard_swish(in["x"]);
    if (c.op == "hard_sigmoid") return hard_sigmoid(in["x"]);
    if (c.op == "sigmoid") return sigmoid(in["x"]);
    if (c.op == "maximum") return maximum(in["a"], in["b"]);
    if (c.op == "scale_channels") return scale_channels(in["x"], in["factors"]);
    if (c.op == "add") return add(in["a"], in["b"]);
    if (c.op == "mul") return mul(in["a"], in["b"]);
    if (c.op == "scale") return scale(in["x"], c.number("factor"));
    FAIL("no such operation: " << c.op);
    return {};
  });
}

}  // namespace atrous::tests
