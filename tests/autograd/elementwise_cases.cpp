#include <algorithm>
#include <cmath>

#include "atrous/autograd/elementwise.h"
#include "atrous/core/random.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

// Element i is dropped if number i of stream (seed, call) is below p. Channelwise, i is n * C + c.
OpCase dropout_case(const std::string& name, const Shape& shape, const DropoutOptions& options) {
  return {.op = Op::dropout,
          .name = name,
          .inputs = {{"x", shape}},
          .call = [options](const auto& in) { return dropout(in[0], options); },
          .reference =
              [options](const auto& in) {
                Reference y = in[0];
                const std::int64_t channels = y.shape[y.shape.rank() - 1];
                const std::int64_t sample = y.shape.numel() / y.shape[0];
                for (std::int64_t i = 0; i < y.shape.numel(); ++i) {
                  const std::int64_t place = options.channelwise ? i / sample * channels + i % channels : i;
                  Random random(options.seed, options.call);
                  random.seek(std::uint64_t(place));
                  const double p = options.probability;
                  double& v = y.values[std::size_t(i)];
                  v = random.uniform() < p ? 0 : v / (1 - p);
                }
                return y;
              },
          .linear = true,
          .nan_passes = false};
}

OpCase scale_channels_case(const std::string& name, const Shape& shape) {
  return {.op = Op::scale_channels,
          .name = name,
          .inputs = {{"x", shape}, {"factors", {shape[0], 1, 1, shape[3]}}},
          .call = [](const auto& in) { return scale_channels(in[0], in[1]); },
          .reference =
              [](const auto& in) {
                Reference y = in[0];
                for (std::int64_t n = 0; n < y.shape[0]; ++n)
                  for (std::int64_t h = 0; h < y.shape[1]; ++h)
                    for (std::int64_t w = 0; w < y.shape[2]; ++w)
                      for (std::int64_t c = 0; c < y.shape[3]; ++c) y.at(n, h, w, c) *= in[1].at(n, 0, 0, c);
                return y;
              },
          .linear = true};
}

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
    {.op = Op::relu6,
     .name = "relu6",
     .inputs = {{"x", {4, 9, 11, 5}, Draw::distinct}},
     .call = [](const auto& in) { return relu6(in[0]); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (double& v : y.values) v = std::min(std::max(v, 0.0), 6.0);
           return y;
         }},
    {.op = Op::hard_swish,
     .name = "hard swish",
     .inputs = {{"x", {4, 9, 11, 5}, Draw::distinct}},
     .call = [](const auto& in) { return hard_swish(in[0]); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (double& v : y.values) v = v * std::clamp(v + 3, 0.0, 6.0) / 6;
           return y;
         }},
    {.op = Op::hard_sigmoid,
     .name = "hard sigmoid",
     .inputs = {{"x", {4, 9, 11, 5}, Draw::distinct}},
     .call = [](const auto& in) { return hard_sigmoid(in[0]); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (double& v : y.values) v = std::clamp(v + 3, 0.0, 6.0) / 6;
           return y;
         }},
    {.op = Op::sigmoid,
     .name = "sigmoid",
     .inputs = {{"x", {4, 9, 11, 5}, Draw::distinct}},
     .call = [](const auto& in) { return sigmoid(in[0]); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (double& v : y.values) v = 1 / (1 + std::exp(-v));
           return y;
         }},
    {.op = Op::exp,
     .name = "exp",
     .inputs = {{"x", {4, 9, 11, 5}}},
     .call = [](const auto& in) { return exp(in[0]); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (double& v : y.values) v = std::exp(v);
           return y;
         }},
    {.op = Op::maximum,
     .name = "maximum",
     .inputs = {{"a", {2, 5, 7, 3}, Draw::distinct}, {"b", {2, 5, 7, 3}}},
     .call = [](const auto& in) { return maximum(in[0], in[1]); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (std::size_t i = 0; i < y.values.size(); ++i)
             y.values[i] = std::max(y.values[i], in[1].values[i]);
           return y;
         }},
    scale_channels_case("3 channels", {2, 5, 7, 3}),
    scale_channels_case("24 channels", {3, 4, 5, 24}),
    scale_channels_case("one pixel", {2, 1, 1, 37}),
    {.op = Op::mul,
     .name = "mul",
     .inputs = {{"a", {2, 5, 7, 3}}, {"b", {2, 5, 7, 3}}},
     .call = [](const auto& in) { return mul(in[0], in[1]); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] *= in[1].values[i];
           return y;
         }},
    {.op = Op::scale,
     .name = "scale by -1.7",
     .inputs = {{"x", {2, 5, 7, 3}}},
     .call = [](const auto& in) { return scale(in[0], -1.7); },
     .reference =
         [](const auto& in) {
           Reference y = in[0];
           for (double& v : y.values) v *= -1.7;
           return y;
         },
     .linear = true},
    dropout_case("half", {2, 5, 7, 3}, {.probability = 0.5, .seed = 3, .call = 4}),
    dropout_case("few, large seed", {3, 5, 7, 3}, {.probability = 0.1, .seed = ~std::uint64_t(0), .call = 1}),
    dropout_case("none", {2, 5, 7, 3}, {.probability = 0}),
    dropout_case("all", {2, 5, 7, 3}, {.probability = 1}),
    dropout_case("whole channels", {3, 5, 7, 6}, {.probability = 0.4, .seed = 5, .channelwise = true}),
    dropout_case("whole channels of a matrix", {3, 6}, {.probability = 0.4, .seed = 6, .channelwise = true}),
});

}  // namespace
}  // namespace atrous::tests
