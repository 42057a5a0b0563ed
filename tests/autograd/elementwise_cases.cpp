#include <algorithm>

#include "atrous/autograd/elementwise.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

const OpCases cases({
    {.op = Op::relu,
     .name = "relu",
     .inputs = {{"x", {2, 5, 7, 3}, Draw::away_from_0}},
     .call = [](const auto& in) { return relu(in[0]); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (double& v : y.values) v = std::max(v, 0.0);
           return y;
         }},
    {.op = Op::add,
     .name = "add",
     .inputs = {{"a", {2, 5, 7, 3}}, {"b", {2, 5, 7, 3}}},
     .call = [](const auto& in) { return add(in[0], in[1]); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] += in[1].values[i];
           return y;
         }},
});

}  // namespace
}  // namespace atrous::tests
