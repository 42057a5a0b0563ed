#include "atrous/layers/conv_bn.h"

#include <algorithm>

#include "atrous/autograd/conv2d_branches.h"
#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/core/exact.h"
#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/conv2d/conv2d_branches.h"
#include "atrous/kernels/separable_conv2d/separable_conv2d.h"
#include "atrous/layers/observer.h"

namespace atrous::layers {
namespace {

// A convolution's weight with the batch norm behind it folded in, and the bias that this makes.
//
// The last axis of a dense weight is the output channel; a depthwise one has it in its last two axes: c * M +
// m. Either way the output channel of element i is i modulo the number of output channels.
struct Folded {
  Tensor weight, bias;

  template <class T>
  kernels::Conv2dEpilogue<T> epilogue(Activation activation) const {
    return {.bias = bias.span<T>(), .activation = activation};
  }
};

// The weight alone; the bias goes to where it is wanted.
template <class T>
Tensor fold(const ConvBn& layer, const Tensor& x, Span<T> bias) {
  const Tensor& weight = layer.weight().value();
  const BatchNorm& bn = layer.bn();
  ATROUS_CHECK(DtypeError, x.dtype() == weight.dtype(), "conv_bn", "x is ", x.dtype(), ", the weight ",
               weight.dtype());
  Tensor folded = Tensor::empty(weight.shape(), x.dtype(), x.device());
  kernels::batch_norm_fold<T>(x.stream(), bias.size(), bn.gamma().value().span<T>(),
                              bn.beta().value().span<T>(), bn.running_mean().span<Accumulator<T>>(),
                              bn.running_var().span<Accumulator<T>>(), bn.constants().epsilon,
                              weight.span<T>(), Span<const T>(), folded.span<T>(), bias);
  return folded;
}

Folded fold(const ConvBn& layer, const Tensor& x) {
  Folded folded{{}, Tensor::empty({layer.settings().out_channels}, x.dtype(), x.device())};
  visit_float(x.dtype(), [&]<class T>() { folded.weight = fold<T>(layer, x, folded.bias.span<T>()); });
  return folded;
}

kernels::DepthwiseConv2dDims depthwise_dims(const Conv2dSettings& conv, const Shape& x, const Shape& out) {
  return {.batch = out[0],
          .in_h = x[1],
          .in_w = x[2],
          .channels = x[3],
          .multiplier = out[3] / x[3],
          .out_h = out[1],
          .out_w = out[2],
          .window_h = conv.taps.h,
          .window_w = conv.taps.w,
          .stride = conv.stride,
          .padding = conv.resolved_padding(x),
          .rate = conv.rate};
}

// The convolution with the batch norm folded in, and an activation at its end.
Tensor folded_forward(const Tensor& x, const ConvBn& layer, Activation activation) {
  const Conv2dSettings& conv = layer.settings();
  const Shape out = conv.output_shape(x.shape(), "conv_bn");
  const Folded folded = fold(layer, x);
  Tensor y = Tensor::empty(out, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    const auto run = [&](const auto& forward, std::int64_t scratch_size, const auto& dims) {
      Tensor scratch = Tensor::empty({scratch_size}, x.dtype(), x.device());
      forward(x.stream(), dims, x.span<T>(), folded.weight.span<T>(), folded.epilogue<T>(activation),
              scratch.span<T>(), y.span<T>());
    };
    if (conv.depthwise) {
      const kernels::DepthwiseConv2dDims dims = depthwise_dims(conv, x.shape(), out);
      run(kernels::depthwise_conv2d_forward<T>, kernels::depthwise_conv2d_forward_workspace_size<T>(dims),
          dims);
    } else {
      const kernels::Conv2dDims dims = conv.dims(x.shape(), out);
      run(kernels::conv2d_forward<T>, kernels::conv2d_forward_workspace_size<T>(dims, x.device()), dims);
    }
  });
  return y;
}

// Both halves folded, through one kernel; `activation` at the end.
Tensor folded_separable_forward(const Tensor& x, const kernels::SeparableConv2dDims& dims,
                                const ConvBn& depthwise, const ConvBn& pointwise, Activation activation) {
  const Folded first = fold(depthwise, x), second = fold(pointwise, x);
  const kernels::DepthwiseConv2dDims& d = dims.depthwise;
  Tensor y = Tensor::empty({d.batch, d.out_h, d.out_w, dims.out_channels}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    Tensor scratch = Tensor::empty({kernels::separable_conv2d_forward_workspace_size<T>(dims, x.device())},
                                   x.dtype(), x.device());
    kernels::separable_conv2d_forward<T>(x.stream(), dims, x.span<T>(), first.weight.span<T>(),
                                         first.epilogue<T>(depthwise.activation()), second.weight.span<T>(),
                                         second.epilogue<T>(activation), scratch.span<T>(), y.span<T>());
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
  if (training() || grad_enabled()) {
    if (conv_.depthwise || !bn_.takes_batch(conv_.output_shape(x.shape(), "conv_bn")))
      return observed(*this, bn_.forward(apply_conv2d(x, weight_, {}, conv_), activation_, residual));
    const auto [y, statistics] = conv2d_with_statistics(x, weight_, {}, conv_.options(x.shape()));
    return observed(*this, bn_.forward(y, activation_, residual, statistics));
  }
  const bool adds = residual.defined();
  const Variable y =
      observed(*this, Variable(folded_forward(x.value(), *this, adds ? Activation::none : activation_)));
  return adds ? activate(add(y, residual), activation_) : y;
}

bool ConvBn::side_by_side(const std::vector<ConvBn*>& layers) {
  const ConvBn& first = *layers.at(0);
  return std::all_of(layers.begin(), layers.end(), [&](const ConvBn* layer) {
    return !layer->conv_.depthwise && layer->conv_.stride == PerAxis(1) &&
           layer->activation_ == first.activation_ && layer->bn_.frozen() == first.bn_.frozen() &&
           layer->bn_.constants().epsilon == first.bn_.constants().epsilon;
  });
}

Variable ConvBn::forward_side_by_side(const std::vector<ConvBn*>& layers, const Variable& x) {
  std::vector<Variable> weights;
  std::vector<Conv2dOptions> options;
  std::vector<BatchNorm*> norms;
  for (ConvBn* layer : layers) {
    weights.push_back(layer->weight_);
    options.push_back(layer->conv_.options(x.shape()));
    norms.push_back(&layer->bn_);
  }
  const Activation activation = layers[0]->activation_;
  if (!norms[0]->takes_batch(layers[0]->conv_.output_shape(x.shape(), "conv_bn")))
    return BatchNorm::forward_side_by_side(norms, conv2d_branches(x, weights, options), activation, {});
  const auto [y, statistics] = conv2d_branches_with_statistics(x, weights, options);
  return BatchNorm::forward_side_by_side(norms, y, activation, statistics);
}

void ConvBn::evaluate_side_by_side(const std::vector<ConvBn*>& layers, const Tensor& x, std::int64_t first,
                                   Tensor& y) {
  kernels::Conv2dBranches dims{.branches = {}, .y_channels = y.dim(3), .y_begin = first};
  for (const ConvBn* layer : layers)
    dims.branches.push_back(layer->conv_.dims(x.shape(), layer->conv_.output_shape(x.shape(), "conv_bn")));
  visit_float(x.dtype(), [&]<class T>() {
    const auto elements = [&](std::int64_t size) { return Tensor::empty({size}, x.dtype(), x.device()); };
    Tensor bias = elements(dims.out_channels());
    std::vector<Tensor> weights;
    kernels::BranchWeights<T> spans;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      weights.push_back(
          fold<T>(*layers[i], x, bias.span<T>().part(dims.begin_of(i), dims.branches[i].out_channels)));
      spans.push_back(std::as_const(weights.back()).span<T>());
    }
    Tensor scratch = elements(kernels::conv2d_branches_forward_workspace_size<T>(dims, x.device()));
    kernels::conv2d_branches_forward<T>(x.stream(), dims, x.span<T>(), spans,
                                        {std::as_const(bias).span<T>(), layers[0]->activation_},
                                        scratch.span<T>(), {}, y.span<T>(), {}, {});
  });
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

Variable forward_separable(ConvBn& depthwise, ConvBn& pointwise, const Variable& x,
                           const Variable& residual) {
  const Conv2dSettings &space = depthwise.settings(), &channels = pointwise.settings();
  const bool one_by_one = channels.taps == PerAxis(1) && channels.stride == PerAxis(1) && !channels.depthwise;
  if (space.depthwise && one_by_one && !exact_mode() && !depthwise.training() && !pointwise.training() &&
      !grad_enabled() && !observing()) {
    const Shape between = space.output_shape(x.shape(), "conv_bn");
    const kernels::SeparableConv2dDims dims{depthwise_dims(space, x.shape(), between), channels.out_channels};
    if (kernels::separable_conv2d_pays(dims, x.dtype(), x.device())) {
      const Activation last = pointwise.activation();
      const bool adds = residual.defined();
      const Variable y(
          folded_separable_forward(x.value(), dims, depthwise, pointwise, adds ? Activation::none : last));
      return adds ? activate(add(y, residual), last) : y;
    }
  }
  return pointwise.forward(depthwise.forward(x), residual);
}

Variable SeparableConvBn::forward(const Variable& x) { return forward_separable(depthwise_, pointwise_, x); }

Shape SeparableConvBn::trace(const Shape& x, const std::string& name, Summary& summary) const {
  return pointwise_.trace(depthwise_.trace(x, join_names(name, "depthwise"), summary),
                          join_names(name, "pointwise"), summary);
}

}  // namespace atrous::layers
