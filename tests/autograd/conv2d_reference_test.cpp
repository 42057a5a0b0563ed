#include "atrous/autograd/conv2d.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {

TEST_CASE("conv2d: agrees with PyTorch, forward and backward", "[autograd][conv2d]") {
  check_against_reference("conv2d", [](const ReferenceCase& c, const ReferenceInputs& in) {
    const auto stride = c.integers("stride"), rate = c.integers("rate"), padding = c.integers("padding");
    return conv2d(in["x"], in["weight"], in["bias"],
                  {.stride = {stride.at(0), stride.at(1)},
                   .padding = {padding.at(0), padding.at(1), padding.at(2), padding.at(3)},
                   .rate = {rate.at(0), rate.at(1)}});
  });
}

}  // namespace atrous::tests
