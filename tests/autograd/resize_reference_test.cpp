#include "atrous/autograd/resize.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {

TEST_CASE("resize_bilinear: agrees with PyTorch, forward and backward", "[autograd][resize]") {
  check_against_reference("resize", [](const ReferenceCase& c, const ReferenceInputs& in) {
    return resize_bilinear(
        in["x"],
        {.out_h = c.integer("out_h"), .out_w = c.integer("out_w"), .align_corners = c.flag("align_corners")});
  });
}

}  // namespace atrous::tests
