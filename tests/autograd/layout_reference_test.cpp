#include "atrous/autograd/layout.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {

TEST_CASE("layout: agrees with PyTorch, forward and backward", "[autograd][layout]") {
  check_against_reference("layout", [](const ReferenceCase& c, const ReferenceInputs& in) -> Variable {
    if (c.op == "concat_channels") {
      std::vector<Variable> parts;
      for (int i = 0; i < c.integer("parts"); ++i) parts.push_back(in[std::to_string(i)]);
      return concat_channels(parts);
    }
    if (c.op == "slice_channels") return slice_channels(in["x"], c.integer("begin"), c.integer("count"));
    if (c.op == "pad") {
      const auto p = c.integers("padding");
      return pad(in["x"], {p.at(0), p.at(1), p.at(2), p.at(3)}, c.number("value"));
    }
    FAIL("no such operation: " << c.op);
    return {};
  });
}

}  // namespace atrous::tests
