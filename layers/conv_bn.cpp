#include "atrous/layers/conv_bn.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

namespace atrous::layers {
namespace {

// The convolution with the batch norm folded into weight and bias, and the activation at its end.
//
// The last axis of a dense weight is the output channel; a depthwise one has it in its last two axes: c * M +
// m. Either way the output channel of element i is i modulo the number of output channels.
Tensor folded_forward(const Tensor& x, const Tensor& weight, const BatchNorm& bn, const Conv2dSettings& conv,
                      Activation activation) {
  const Shape out = conv.output_shape(x.shape(), "conv_bn");
  ATROUS_CHECK(DtypeError, x.dtype() == weight.dtype(), "conv_bn", "x is ", x.dtype(), ", the weight ",
               weight.dtype());
  Tensor y = Tensor::empty(out, x.dtype(), x.device());
  Tensor folded_weight = Tensor::empty(weight.shape(), x.dtype(), x.device());
  Tensor folded_bias = Tensor::empty({out[3]}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    const Stream stream = x.stream();
    kernels::batch_norm_fold<T>(stream, out[3], bn.gamma().value().span<T>(), bn.beta().value().span<T>(),
                                bn.running_mean().span<Accumulator<T>>(),
                                bn.running_var().span<Accumulator<T>>(), bn.constants().epsilon,
                                weight.span<T>(), Span<const T>(), folded_weight.span<T>(),
                                folded_bias.span<T>());
    const kernels::Conv2dEpilogue<T> epilogue{.bias = folded_bias.span<T>(), .activation = activation};
    const auto run = [&](const auto& forward, std::int64_t scratch_size, const auto& dims) {
      Tensor scratch = Tensor::empty({scratch_size}, x.dtype(), x.device());
      forward(stream, dims, x.span<T>(), Span<const T>(folded_weight.span<T>()), epilogue, scratch.span<T>(),
              y.span<T>());
    };
    if (conv.depthwise) {
      const kernels::DepthwiseConv2dDims dims{.batch = out[0],
                                              .in_h = x.dim(1),
                                              .in_w = x.dim(2),
                                              .channels = x.dim(3),
                                              .multiplier = weight.dim(3),
                                              .out_h = out[1],
                                              .out_w = out[2],
                                              .window_h = conv.taps.h,
                                              .window_w = conv.taps.w,
                                              .stride = conv.stride,
                                              .padding = conv.resolved_padding(),
                                              .rate = conv.rate};
      run(kernels::depthwise_conv2d_forward<T>, kernels::depthwise_conv2d_forward_workspace_size<T>(dims),
          dims);
    } else {
      const kernels::Conv2dDims dims{.batch = out[0],
                                     .in_h = x.dim(1),
                                     .in_w = x.dim(2),
                                     .in_channels = x.dim(3),
                                     .out_h = out[1],
                                     .out_w = out[2],
                                     .out_channels = out[3],
                                     .window_h = conv.taps.h,
                                     .window_w = conv.taps.w,
                                     .stride = conv.stride,
                                     .padding = conv.resolved_padding(),
                                     .rate = conv.rate};
      run(kernels::conv2d_forward<T>, kernels::conv2d_forward_workspace_size<T>(dims, x.device()), dims);
    }
  });
  return y;
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

Variable ConvBn::forward(const Variable& x, const Variable& residual) {
  if (training() || grad_enabled())
    return bn_.forward(apply_conv2d(x, weight_, {}, conv_), activation_, residual);
  const bool adds = residual.defined();
  const Variable y(
      folded_forward(x.value(), weight_.value(), bn_, conv_, adds ? Activation::none : activation_));
  return adds ? activate(add(y, residual), activation_) : y;
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
