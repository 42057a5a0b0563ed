#include <cmath>

#include "atrous/autograd/batch_norm.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

// Running averages that differ from every batch's: mean c / 4 - 0.5, variance 0.5 + c / 3.
Tensor running_mean_of(std::int64_t channels, Dtype dtype) {
  std::vector<double> v;
  for (std::int64_t c = 0; c < channels; ++c) v.push_back(double(c) / 4 - 0.5);
  return Tensor::from({channels}, v).to(dtype);
}
Tensor running_var_of(std::int64_t channels, Dtype dtype) {
  std::vector<double> v;
  for (std::int64_t c = 0; c < channels; ++c) v.push_back(double(c) / 3 + 0.5);
  return Tensor::from({channels}, v).to(dtype);
}

Reference normalised(const std::vector<Reference>& in, const BatchNormOptions& options) {
  Reference y = in[0];
  const std::int64_t channels = y.shape[3], pixels = y.shape.numel() / channels;
  const Tensor running_mean = running_mean_of(channels, Dtype::f64),
               running_var = running_var_of(channels, Dtype::f64);
  for (std::int64_t c = 0; c < channels; ++c) {
    double mean = running_mean.span<double>()[c], var = running_var.span<double>()[c];
    if (options.mode == BatchNormMode::training && pixels > 1) {
      mean = var = 0;
      for (std::int64_t p = 0; p < pixels; ++p)
        mean += in[0].values[std::size_t(p * channels + c)] / double(pixels);
      for (std::int64_t p = 0; p < pixels; ++p) {
        const double d = in[0].values[std::size_t(p * channels + c)] - mean;
        var += d * d / double(pixels);
      }
    }
    for (std::int64_t p = 0; p < pixels; ++p) {
      double& v = y.values[std::size_t(p * channels + c)];
      v = in[1].at(c) * (v - mean) / std::sqrt(var + options.epsilon) + in[2].at(c);
      if (in.size() > 3) v += in[3].values[std::size_t(p * channels + c)];
      if (options.activation != Activation::none && v < 0) v = 0;
      if (options.activation == Activation::relu6 && v > 6) v = 6;
    }
  }
  return y;
}

// Mean 100, deviation 0.6: where E[x^2] - E[x]^2 would lose everything.
std::vector<double> far_from_zero(std::int64_t n) {
  Random random(3);
  std::vector<double> v;
  for (std::int64_t i = 0; i < n; ++i) v.push_back(100 + 0.6 * random.normal());
  return v;
}

OpCase row(const char* name, const Shape& x, const BatchNormOptions& options) {
  const Shape channels{x[3]};
  return {.op = Op::batch_norm,
          .name = name,
          .inputs = {{"x", x}, {"gamma", channels, Draw::away_from_0}, {"beta", channels}},
          .call =
              [options](const auto& in) {
                const Dtype dtype = accumulator_dtype(in[0].dtype());
                Tensor mean = running_mean_of(in[0].dim(3), dtype).to(in[0].device());
                Tensor var = running_var_of(in[0].dim(3), dtype).to(in[0].device());
                const Variable residual = in.size() > 3 ? in[3] : Variable();
                return batch_norm(in[0], in[1], in[2], mean, var, options, residual);
              },
          .reference = [options](const auto& in) { return normalised(in, options); }};
}

OpCase with_residual(OpCase made) {
  made.inputs.push_back({"residual", made.inputs[0].shape});
  made.name += ", residual";
  return made;
}

// Channel 0 around 6, where relu6 cuts.
OpCase near_6(OpCase made) {
  made.inputs[2].draw = Draw::fixed;
  made.inputs[2].values.assign(std::size_t(made.inputs[2].shape[0]), 0.3);
  made.inputs[2].values[0] = 6.1;
  return made;
}

BatchNormOptions then(Activation activation, BatchNormMode mode) {
  return {.mode = mode, .activation = activation};
}

OpCase at_mean_100(OpCase made) {
  made.inputs[0].draw = Draw::fixed;
  made.inputs[0].values = far_from_zero(made.inputs[0].shape.numel());
  // Values of 100 in single precision are 1e-5 of the deviation apart, and x - mean is squared.
  made.tolerance = 1e-5;
  return made;
}

const OpCases cases({
    row("training", {2, 5, 7, 3}, {BatchNormMode::training}),
    row("training, many channels", {2, 3, 2, 70}, {BatchNormMode::training}),
    row("training, more than one chunk of pixels", {1, 33, 25, 65}, {BatchNormMode::training}),
    row("training, two pixels and a large epsilon", {2, 1, 1, 5},
        {.mode = BatchNormMode::training, .epsilon = 0.1}),
    at_mean_100(row("training, mean 100 and deviation 0.6", {2, 9, 11, 4}, {BatchNormMode::training})),
    row("training, a single pixel uses the running averages", {1, 1, 1, 19}, {BatchNormMode::training}),
    row("frozen", {2, 5, 7, 3}, {BatchNormMode::frozen}),
    row("frozen, epsilon 1e-3", {1, 6, 5, 48}, {.mode = BatchNormMode::frozen, .epsilon = 1e-3}),
    row("training, relu", {2, 5, 7, 3}, then(Activation::relu, BatchNormMode::training)),
    near_6(row("training, relu6", {2, 3, 5, 11}, then(Activation::relu6, BatchNormMode::training))),
    row("training, relu, more than one chunk of pixels", {1, 33, 25, 65},
        then(Activation::relu, BatchNormMode::training)),
    with_residual(row("training", {2, 5, 4, 3}, then(Activation::none, BatchNormMode::training))),
    with_residual(row("training, relu", {2, 4, 5, 8}, then(Activation::relu, BatchNormMode::training))),
    near_6(with_residual(row("training, relu6", {2, 2, 3, 5},
                             then(Activation::relu6, BatchNormMode::training)))),
    with_residual(row("training, relu, a single pixel", {1, 1, 1, 9},
                      then(Activation::relu, BatchNormMode::training))),
    row("frozen, relu", {2, 5, 3, 7}, then(Activation::relu, BatchNormMode::frozen)),
    near_6(row("frozen, relu6", {1, 4, 5, 6}, then(Activation::relu6, BatchNormMode::frozen))),
    with_residual(row("frozen", {2, 3, 5, 4}, then(Activation::none, BatchNormMode::frozen))),
    with_residual(row("frozen, relu", {1, 5, 4, 16}, then(Activation::relu, BatchNormMode::frozen))),
    near_6(with_residual(row("frozen, relu6", {2, 2, 3, 3}, then(Activation::relu6, BatchNormMode::frozen)))),
});

}  // namespace
}  // namespace atrous::tests
