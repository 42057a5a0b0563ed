#include <numeric>

#include "atrous/autograd/reduce.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

Reference one_number(double value) {
  Reference y(Shape{});
  y.values[0] = value;
  return y;
}

double total(const Reference& x) { return std::accumulate(x.values.begin(), x.values.end(), 0.0); }

OpCase sum_case(const std::string& name, const Shape& shape, Draw draw = Draw::normal) {
  return {.op = Op::sum,
          .name = name,
          .inputs = {{"x", shape, draw}},
          .call = [](const auto& in) { return sum(in[0]); },
          .reference = [](const auto& in) { return one_number(total(in[0])); },
          .linear = true};
}

const OpCases cases({
    sum_case("a few", {2, 5, 7, 3}, Draw::positive),
    sum_case("several leaves and a rest", {3, 31, 33, 5}),
    sum_case("exactly one leaf", {1024}),
    sum_case("one", {1}),
    {.op = Op::mean,
     .name = "mean",
     .inputs = {{"x", {2, 31, 33, 3}, Draw::positive}},
     .call = [](const auto& in) { return mean(in[0]); },
     .reference = [](const auto& in) { return one_number(total(in[0]) / double(in[0].values.size())); },
     .linear = true},
});

}  // namespace
}  // namespace atrous::tests
