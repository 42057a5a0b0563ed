#include "atrous/layers/conv_bn.h"

#include <algorithm>
#include <cassert>

#include "atrous/autograd/conv2d_branches.h"
#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/core/exact.h"
#include "atrous/kernels/conv2d/conv2d_branches.h"
#include "atrous/kernels/layout/layout.h"
#include "atrous/kernels/separable_conv2d/separable_conv2d.h"
#include "atrous/layers/observer.h"

namespace atrous::layers {
namespace {

// Both halves folded, through one kernel; `activation` at the end.
Tensor folded_separable_forward(const Tensor& x, const kernels::SeparableConv2dDims& dims, ConvBn& depthwise,
                                ConvBn& pointwise, Activation activation) {
  const FoldedConv::Parts first = depthwise.folded().parts(x), second = pointwise.folded().parts(x);
  const kernels::DepthwiseConv2dDims& d = dims.depthwise;
  Tensor y = Tensor::empty({d.batch, d.out_h, d.out_w, dims.out_channels}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    Tensor scratch = Tensor::empty({kernels::separable_conv2d_forward_workspace_size<T>(dims, x.device())},
                                   x.dtype(), x.device());
    kernels::separable_conv2d_forward<T>(
        x.stream(), dims, x.span<T>(), first.weight.span<T>(), {first.bias.span<T>(), depthwise.activation()},
        second.weight.span<T>(), {second.bias.span<T>(), activation}, scratch.span<T>(), y.span<T>());
  });
  return y;
}

// What a batch norm does of an activation, and what is left to do behind it.
Activation in_norm(Activation activation) {
  return activation == Activation::hard_swish ? Activation::none : activation;
}
Activation behind_norm(Activation activation) {
  return activation == Activation::hard_swish ? activation : Activation::none;
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
    case Activation::hard_swish:
      return hard_swish(x);
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
    case Activation::hard_swish:
      return ", hard swish";
  }
  return "";
}

ConvBn::ConvBn(const Conv2dSettings& conv, Activation activation, const BatchNormConstants& constants)
    : conv_(conv),
      activation_(activation),
      weight_(add_parameter("weight", conv.weight_shape(), conv.weight_kind(), conv.init)),
      bn_(conv.out_channels, constants),
      folded_(conv_, weight_, nullptr, &bn_) {
  add_child("bn", bn_);
}

Variable ConvBn::forward(const Variable& x, const Variable& residual, Activation then) {
  assert(then == Activation::none || activation_ == Activation::none);
  if (then != Activation::none && observing()) return activate(forward(x, residual), then);
  const Activation last = then == Activation::none ? activation_ : then;
  if (training() || grad_enabled()) {
    const auto normed = [&](const Variable& y, const ChannelStatistics& statistics) {
      const Variable z = bn_.forward(y, in_norm(last), residual, statistics);
      return observed(*this, activate(z, behind_norm(last)));
    };
    if (conv_.depthwise || !bn_.takes_batch(conv_.output_shape(x.shape(), "conv_bn")))
      return normed(apply_conv2d(x, weight_, {}, conv_), {});
    const auto [y, statistics] = conv2d_with_statistics(x, weight_, {}, conv_.options(x.shape()));
    return normed(y, statistics);
  }
  if (!residual.defined()) return observed(*this, Variable(folded_.forward(x.value(), last)));
  if (!conv_.depthwise && !observing()) return Variable(folded_.forward(x.value(), last, residual.value()));
  const Variable y = observed(*this, Variable(folded_.forward(x.value(), Activation::none)));
  return activate(add(y, residual), last);
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
  const auto normed = [&](const Variable& y, const ChannelStatistics& statistics) {
    const Activation activation = layers[0]->activation_;
    return activate(BatchNorm::forward_side_by_side(norms, y, in_norm(activation), statistics),
                    behind_norm(activation));
  };
  if (!norms[0]->takes_batch(layers[0]->conv_.output_shape(x.shape(), "conv_bn")))
    return normed(conv2d_branches(x, weights, options), {});
  const auto [y, statistics] = conv2d_branches_with_statistics(x, weights, options);
  return normed(y, statistics);
}

void ConvBn::evaluate_side_by_side(const std::vector<ConvBn*>& layers, const Tensor& x, std::int64_t first,
                                   Tensor& y) {
  if (x.device().is_cpu()) {  // there one after the other is no slower
    for (ConvBn* layer : layers) {
      layer->evaluate_into(x, first, y);
      first += layer->conv_.out_channels;
    }
    return;
  }
  kernels::Conv2dBranches dims{.branches = {}, .y_channels = y.dim(3), .y_begin = first};
  for (const ConvBn* layer : layers)
    dims.branches.push_back(layer->conv_.dims(x.shape(), layer->conv_.output_shape(x.shape(), "conv_bn")));
  const Activation activation = layers[0]->activation_;
  visit_float(x.dtype(), [&]<class T>() {
    const auto elements = [&](std::int64_t size) { return Tensor::empty({size}, x.dtype(), x.device()); };
    Tensor bias = elements(dims.out_channels());
    std::vector<FoldedConv::Parts> parts;
    kernels::BranchWeights<T> weights;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      parts.push_back(layers[i]->folded_.parts(x));
      const FoldedConv::Parts& own = parts.back();
      const std::int64_t channels = own.bias.numel();
      kernels::copy_channels<T>(x.stream(), {1, channels, 0, dims.out_channels(), dims.begin_of(i), channels},
                                own.bias.span<T>(), bias.span<T>());
      weights.push_back(own.weight.span<T>());
    }
    Tensor scratch = elements(kernels::conv2d_branches_forward_workspace_size<T>(dims, x.device()));
    kernels::conv2d_branches_forward<T>(x.stream(), dims, x.span<T>(), weights,
                                        {std::as_const(bias).span<T>(), activation}, scratch.span<T>(), {},
                                        y.span<T>(), {}, {});
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

Variable forward_separable(ConvBn& depthwise, ConvBn& pointwise, const Variable& x, const Variable& residual,
                           Activation then) {
  const Conv2dSettings &space = depthwise.settings(), &channels = pointwise.settings();
  const bool one_by_one = channels.taps == PerAxis(1) && channels.stride == PerAxis(1) && !channels.depthwise;
  if (space.depthwise && one_by_one && !exact_mode() && !depthwise.training() && !pointwise.training() &&
      !grad_enabled() && !observing()) {
    const Shape between = space.output_shape(x.shape(), "conv_bn");
    const kernels::SeparableConv2dDims dims{FoldedConv::depthwise_dims(space, x.shape(), between),
                                            channels.out_channels};
    if (kernels::separable_conv2d_pays(dims, x.dtype(), x.device())) {
      const Activation last = then == Activation::none ? pointwise.activation() : then;
      const bool adds = residual.defined();
      const Variable y(
          folded_separable_forward(x.value(), dims, depthwise, pointwise, adds ? Activation::none : last));
      return adds ? activate(add(y, residual), last) : y;
    }
  }
  return pointwise.forward(depthwise.forward(x), residual, then);
}

Variable SeparableConvBn::forward(const Variable& x, const Variable& residual, Activation then) {
  return forward_separable(depthwise_, pointwise_, x, residual, then);
}

void SeparableConvBn::evaluate_into(const Tensor& x, std::int64_t first, Tensor& y) {
  pointwise_.evaluate_into(depthwise_.forward(Variable(x)).value(), first, y);
}

Shape SeparableConvBn::trace(const Shape& x, const std::string& name, Summary& summary) const {
  return pointwise_.trace(depthwise_.trace(x, join_names(name, "depthwise"), summary),
                          join_names(name, "pointwise"), summary);
}

}  // namespace atrous::layers
