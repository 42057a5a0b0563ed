#include "atrous/autograd/softmax.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {

TEST_CASE("softmax and softmax_cross_entropy: agree with PyTorch, forward and backward",
          "[autograd][softmax]") {
  check_against_reference("softmax", [](const ReferenceCase& c, const ReferenceInputs& in) -> Variable {
    if (c.op == "softmax") return softmax(in["x"]);
    if (c.op == "log_softmax") return log_softmax(in["x"]);
    CrossEntropyOptions options{.ignore_label = std::nullopt, .hard_fraction = c.number("hard_fraction")};
    if (c.has("ignore_label")) options.ignore_label = c.integer("ignore_label");
    if (c.has("class_weights")) {
      const std::vector<double> weights = c.numbers("class_weights");
      options.class_weights = Tensor::from({std::int64_t(weights.size())}, weights);
    }
    return softmax_cross_entropy(in["logits"], in.tensor("labels"), options);
  });
}

}  // namespace atrous::tests
