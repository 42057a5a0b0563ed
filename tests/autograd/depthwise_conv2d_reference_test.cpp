#include "atrous/autograd/conv_transpose2d.h"
#include "atrous/autograd/depthwise_conv2d.h"
#include "atrous/autograd/separable_conv2d.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {
namespace {

PerAxis per_axis(const ReferenceCase& c, const std::string& key) {
  const std::vector<double> v = c.numbers(key);
  return {std::int64_t(v.at(0)), std::int64_t(v.at(1))};
}
Padding padding(const ReferenceCase& c) {
  const std::vector<double> v = c.numbers("padding");
  return {std::int64_t(v.at(0)), std::int64_t(v.at(1)), std::int64_t(v.at(2)), std::int64_t(v.at(3))};
}

}  // namespace

TEST_CASE("depthwise_conv2d, separable_conv2d: agree with PyTorch, forward and backward",
          "[autograd][depthwise_conv2d]") {
  check_against_reference("depthwise_conv2d", [](const ReferenceCase& c, const ReferenceInputs& in) {
    const Conv2dOptions o{
        .stride = per_axis(c, "stride"), .padding = padding(c), .rate = per_axis(c, "rate")};
    if (c.op == "separable_conv2d")
      return separable_conv2d(in["x"], in["depthwise_weight"], in["pointwise_weight"], in["bias"], o);
    return depthwise_conv2d(in["x"], in["weight"], in["bias"], o);
  });
}

TEST_CASE("conv_transpose2d: agrees with PyTorch, forward and backward", "[autograd][conv_transpose2d]") {
  check_against_reference("conv_transpose2d", [](const ReferenceCase& c, const ReferenceInputs& in) {
    return conv_transpose2d(in["x"], in["weight"], in["bias"],
                            {.stride = per_axis(c, "stride"),
                             .padding = padding(c),
                             .output_padding = per_axis(c, "output_padding"),
                             .rate = per_axis(c, "rate")});
  });
}

}  // namespace atrous::tests
