#include <cmath>

#include "atrous/autograd/batch_norm.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {

TEST_CASE("batch_norm: agrees with PyTorch, forward, backward and in its running averages",
          "[autograd][batch_norm]") {
  check_against_reference("batch_norm", [](const ReferenceCase& c, const ReferenceInputs& in) {
    Tensor mean = in.tensor("running_mean").clone(), var = in.tensor("running_var").clone();
    const Variable y =
        batch_norm(in["x"], in["gamma"], in["beta"], mean, var,
                   {.mode = c.flag("training") ? BatchNormMode::training : BatchNormMode::frozen,
                    .epsilon = c.number("epsilon"),
                    .decay = c.number("decay")});
    const double tolerance = y.dtype() == Dtype::f64 ? 1e-10 : 1e-5;
    for (const auto& [name, got] :
         {std::pair("running_mean", Reference(mean)), std::pair("running_var", Reference(var))}) {
      const Reference& truth = c.further.at(name);
      REQUIRE(got.values.size() == truth.values.size());
      for (std::size_t i = 0; i < truth.values.size(); ++i) {
        INFO(c.name << ", " << name << ' ' << i);
        CHECK(std::abs(got.values[i] - truth.values[i]) <= tolerance * (1 + std::abs(truth.values[i])));
      }
    }
    return y;
  });
}

}  // namespace atrous::tests
