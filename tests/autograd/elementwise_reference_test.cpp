#include "atrous/autograd/elementwise.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {

TEST_CASE("elementwise: agrees with PyTorch, forward and backward", "[autograd][elementwise]") {
  check_against_reference("elementwise", [](const ReferenceCase& c, const ReferenceInputs& in) -> Variable {
    if (c.op == "relu") return relu(in["x"]);
    if (c.op == "add") return add(in["a"], in["b"]);
    FAIL("no such operation: " << c.op);
    return {};
  });
}

}  // namespace atrous::tests
