#include "atrous/layers/conv_bn.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/kernels/batch_norm/batch_norm.h"

namespace atrous::layers {
namespace {

struct Folded {
  Tensor weight, bias;
};

// The last axis of a dense weight is the output channel; a depthwise one has it in its last two axes: c * M +
// m. Either way the output channel of element i is i modulo the number of output channels.
Folded fold(const Variable& weight, const BatchNorm& bn) {
  const std::int64_t channels = bn.gamma().dim(0);
  Folded folded{Tensor::empty(weight.shape(), weight.dtype()), Tensor::empty({channels}, weight.dtype())};
  visit_float(weight.dtype(), [&]<class T>() {
    kernels::batch_norm_fold<T>(weight.stream(), channels, bn.gamma().value().span<T>(),
                                bn.beta().value().span<T>(), bn.running_mean().span<T>(),
                                bn.running_var().span<T>(), bn.constants().epsilon, weight.value().span<T>(),
                                Span<const T>(), folded.weight.span<T>(), folded.bias.span<T>());
  });
  return folded;
}

Conv2dSettings depthwise_part(Conv2dSettings conv) {
  conv.out_channels = conv.in_channels;
  conv.depthwise = true;
  conv.init.depthwise = true;
  return conv;
}

Conv2dSettings pointwise_part(const Conv2dSettings& conv) {
  return {.in_channels = conv.in_channels, .out_channels = conv.out_channels, .init = conv.init};
}

}  // namespace

Variable activate(const Variable& x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return relu(x);
    case Activation::relu6:
      return relu6(x);
  }
  fail<ValueError>("activation", "unknown activation ", int(activation));
}

const char* describe(Activation activation) {
  switch (activation) {
    case Activation::none:
      return "";
    case Activation::relu:
      return ", relu";
    case Activation::relu6:
      return ", relu6";
  }
  return "";
}

ConvBn::ConvBn(const Conv2dSettings& conv, Activation activation, const BatchNormConstants& constants)
    : conv_(conv),
      activation_(activation),
      weight_(add_parameter("weight", conv.weight_shape(), conv.weight_kind(), conv.init)),
      bn_(conv.out_channels, constants) {
  add_child("bn", bn_);
}

Variable ConvBn::forward(const Variable& x) {
  if (!training() && !grad_enabled()) {
    const Folded folded = fold(weight_, bn_);
    return activate(apply_conv2d(x, Variable(folded.weight), Variable(folded.bias), conv_), activation_);
  }
  return activate(bn_.forward(apply_conv2d(x, weight_, {}, conv_)), activation_);
}

Shape ConvBn::trace(const Shape& x, const std::string& name, Summary& summary) const {
  const Shape y = conv_.output_shape(x, name);
  summary.rows.push_back({name, conv_.describe() + ", batch norm" + describe(activation_), y,
                          conv_.weight_shape().numel() + 2 * conv_.out_channels, conv_.macs(y)});
  return y;
}

SeparableConvBn::SeparableConvBn(const Conv2dSettings& conv, Activation activation,
                                 const BatchNormConstants& constants)
    : depthwise_(depthwise_part(conv), activation, constants),
      pointwise_(pointwise_part(conv), activation, constants) {
  add_child("depthwise", depthwise_);
  add_child("pointwise", pointwise_);
}

Variable SeparableConvBn::forward(const Variable& x) { return pointwise_.forward(depthwise_.forward(x)); }

Shape SeparableConvBn::trace(const Shape& x, const std::string& name, Summary& summary) const {
  return pointwise_.trace(depthwise_.trace(x, join_names(name, "depthwise"), summary),
                          join_names(name, "pointwise"), summary);
}

}  // namespace atrous::layers
