#include "atrous/kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>

#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {
namespace {

using kernels::AdamwRule;
using kernels::SgdRule;

constexpr Stream kStream{kCpu, nullptr};

template <class T>
std::vector<T> formula(std::int64_t n, std::uint32_t seed, double scale) {
  const auto doubles = formula_input({n}, seed, scale);
  return {doubles.begin(), doubles.end()};
}

template <class T>
double worst_gap(const std::vector<T>& got, const std::vector<double>& truth) {
  double worst = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) worst = std::max(worst, std::abs(double(got[i]) - truth[i]));
  return worst;
}

template <class T>
void compare_with_reference(double tolerance) {
  for (const ReferenceCase& c : read_reference("optimizer")) {
    INFO(c.op << ": " << c.name << ", " << dtype_of<T>());
    const std::int64_t n = c.output.shape.numel();
    std::vector<T> weight = formula<T>(n, 1, 1), first(weight.size(), T(0)), second(weight.size(), T(0));
    const int steps = int(c.further.size());
    for (int step = 1; step <= steps; ++step) {
      const double rate = c.number("learning_rate") / step;
      const std::vector<T> gradient = formula<T>(n, std::uint32_t(10 + step), 0.5);
      if (c.op == "sgd") {
        const SgdRule rule{rate, c.number("momentum"), c.number("weight_decay"), c.flag("nesterov")};
        if (rule.momentum == 0) first.clear();
        kernels::sgd_step<T>(kStream, rule, gradient, first, {}, weight);
      } else {
        const AdamwRule rule{
            rate, c.number("beta1"), c.number("beta2"), c.number("epsilon"), c.number("weight_decay"), step};
        kernels::adamw_step<T>(kStream, rule, gradient, first, second, {}, weight);
      }
      CHECK(worst_gap(weight, c.further.at("weight " + std::to_string(step)).values) <= tolerance);
    }
  }
}

}  // namespace

TEST_CASE("optimizer: every step agrees with PyTorch in double", "[kernels][optimizer]") {
  compare_with_reference<double>(1e-10);
}

TEST_CASE("optimizer: every step agrees with PyTorch in float", "[kernels][optimizer]") {
  compare_with_reference<float>(2e-6);
}

TEST_CASE("optimizer: float steps do not depend on the number of threads", "[kernels][optimizer]") {
  const std::int64_t n = 100003;
  const auto run = [&](int count) {
    const int before = threads();
    set_threads(count);
    std::vector<float> weight = formula<float>(n, 1, 1), velocity(weight.size(), 0.1f);
    std::vector<float> mean(weight.size(), 0.2f), square(weight.size(), 0.3f);
    const std::vector<float> gradient = formula<float>(n, 2, 1);
    kernels::sgd_step<float>(kStream, {.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 1e-4}, gradient,
                             velocity, {}, weight);
    kernels::adamw_step<float>(kStream, {.learning_rate = 0.1, .weight_decay = 0.1, .step = 3}, gradient,
                               mean, square, {}, weight);
    set_threads(before);
    weight.insert(weight.end(), velocity.begin(), velocity.end());
    weight.insert(weight.end(), square.begin(), square.end());
    return weight;
  };
  const auto one = run(1);
  CHECK(one == run(2));
  CHECK(one == run(3));
}

TEST_CASE("optimizer: a bf16 weight is its master rounded, and the master begins anew where it is not",
          "[kernels][optimizer]") {
  const std::vector<bf16> gradient(3, bf16(1.0f));
  std::vector<bf16> weight = {bf16(1.0f), bf16(1.0f), bf16(2.0f)};
  std::vector<float> master = {1.0f, 0.999f, 1.0f}, velocity(3, 0.0f);  // 0.999 is rounded to 1; 1 is not 2
  kernels::sgd_step<bf16>(kStream, {.learning_rate = 0.0005}, gradient, velocity, master, weight);
  CHECK(master[0] == 0.9995f);
  CHECK(master[1] == 0.999f - 0.0005f);
  CHECK(master[2] == 1.9995f);
  for (std::size_t i = 0; i < 3; ++i) CHECK(float(weight[i]) == float(bf16(master[i])));
}

TEST_CASE("optimizer: AdamW's first step moves by the learning rate against the gradient",
          "[kernels][optimizer]") {
  const std::vector<double> gradient = {1e-3, -5, 0};
  std::vector<double> weight = {1, 1, 1}, mean(3, 0), square(3, 0);
  kernels::adamw_step<double>(kStream, {.learning_rate = 0.01, .epsilon = 1e-12}, gradient, mean, square, {},
                              weight);
  CHECK(std::abs(weight[0] - 0.99) < 1e-9);
  CHECK(std::abs(weight[1] - 1.01) < 1e-9);
  CHECK(weight[2] == 1);
}

}  // namespace atrous::tests
