#include "atrous/autograd/reduce.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {

TEST_CASE("reduce: agrees with PyTorch, forward and backward", "[autograd][reduce]") {
  check_against_reference("reduce", [](const ReferenceCase& c, const ReferenceInputs& in) {
    return c.op == "sum" ? sum(in["x"]) : mean(in["x"]);
  });
}

}  // namespace atrous::tests
