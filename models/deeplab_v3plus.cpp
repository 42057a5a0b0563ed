#include "atrous/models/deeplab_v3plus.h"

#include "atrous/autograd/graph.h"
#include "atrous/autograd/layout.h"
#include "atrous/autograd/resize.h"
#include "atrous/layers/observer.h"
#include "atrous/models/deeplab_v3.h"

namespace atrous::models {
namespace {

using layers::Activation;
using layers::Conv2dSettings;
using layers::join_names;

std::int64_t channels_of(const HeadOptions& o) {
  return scaled_channels(256, o.width, o.convention->width_rounding);
}
std::int64_t low_channels_of(const HeadOptions& o) {
  return scaled_channels(48, o.width, o.convention->width_rounding);
}

Conv2dSettings conv(std::int64_t in, std::int64_t out, std::int64_t taps, const Convention& convention) {
  return {.in_channels = in, .out_channels = out, .taps = taps, .init = convention.head_init};
}

}  // namespace

DeepLabV3Plus::DeepLabV3Plus(const Backbone& backbone, const HeadOptions& options, bool separable)
    : align_corners_(options.convention->align_corners),
      low_first_(options.convention->low_level_first),
      aspp_(pyramid_settings(backbone, options, true, separable)),
      low_(conv(backbone.low_channels(), low_channels_of(options), 1, *options.convention), Activation::relu,
           options.convention->head_batch_norm),
      logits_(logits_settings(channels_of(options), options.classes)) {
  const Convention& convention = *options.convention;
  const std::int64_t channels = channels_of(options);
  add_child("aspp", aspp_);
  add_child("low", low_);
  for (int i = 0; i < convention.decoder_convs; ++i) {
    const Conv2dSettings settings =
        conv(i == 0 ? channels + low_channels_of(options) : channels, channels, 3, convention);
    if (separable)
      decoder_.push_back(
          std::make_unique<layers::SeparableConvBn>(settings, Activation::relu, convention.head_batch_norm));
    else
      decoder_.push_back(
          std::make_unique<layers::ConvBn>(settings, Activation::relu, convention.head_batch_norm));
    add_child("decoder" + std::to_string(i), *decoder_.back());
  }
  add_child("logits", logits_);
}

Variable DeepLabV3Plus::forward(const Features& features) {
  const Variable pyramid = aspp_.forward(features.high, features.image_mean);
  const ResizeOptions size = {
      .out_h = features.low.dim(1), .out_w = features.low.dim(2), .align_corners = align_corners_};
  Variable x;
  if (!training() && !grad_enabled() && !layers::observing() && pyramid.device().is_cpu()) {
    // Both straight to their places.
    const std::int64_t own = pyramid.dim(3), low = low_.settings().out_channels;
    Tensor both = Tensor::empty(features.low.shape().with(3, own + low), pyramid.dtype(), pyramid.device());
    low_.evaluate_into(features.low.value(), low_first_ ? 0 : own, both);
    resize_bilinear_into(pyramid.value(), size, low_first_ ? low : 0, both);
    x = Variable(both);
  } else {
    const Variable low = low_.forward(features.low), high = resize_bilinear(pyramid, size);
    x = low_first_ ? concat_channels({low, high}) : concat_channels({high, low});
  }
  for (const auto& step : decoder_) x = step->forward(x);
  return logits_.forward(x);
}

Shape DeepLabV3Plus::trace(const FeatureShapes& features, const std::string& name,
                           layers::Summary& summary) const {
  const Shape high = aspp_.trace(features.high, join_names(name, "aspp"), summary);
  const Shape low = low_.trace(features.low, join_names(name, "low"), summary);
  Shape x = low.with(3, high[3] + low[3]);
  for (std::size_t i = 0; i < decoder_.size(); ++i)
    x = decoder_[i]->trace(x, join_names(name, "decoder" + std::to_string(i)), summary);
  return logits_.trace(x, join_names(name, "logits"), summary);
}

}  // namespace atrous::models
