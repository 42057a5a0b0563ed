#include "atrous/models/deeplab_v3plus.h"

#include "atrous/autograd/layout.h"
#include "atrous/autograd/resize.h"
#include "atrous/models/deeplab_v3.h"

namespace atrous::models {
namespace {

using layers::Activation;
using layers::Conv2dSettings;
using layers::join_names;

constexpr std::int64_t kChannels = 256, kLowChannels = 48;

Conv2dSettings conv(std::int64_t in, std::int64_t out, std::int64_t taps, const Convention& convention) {
  return {.in_channels = in, .out_channels = out, .taps = taps, .init = convention.head_init};
}

}  // namespace

DeepLabV3Plus::DeepLabV3Plus(const Backbone& backbone, const HeadOptions& options)
    : align_corners_(options.convention->align_corners),
      aspp_({.in_channels = backbone.high_channels(),
             .channels = kChannels,
             .rates = layers::aspp_rates(options.output_stride),
             .dropout = options.convention->dropout,
             .batch_norm = options.convention->head_batch_norm,
             .init = options.convention->head_init}),
      low_(conv(backbone.low_channels(), kLowChannels, 1, *options.convention), Activation::relu,
           options.convention->head_batch_norm),
      decoder0_(conv(kChannels + kLowChannels, kChannels, 3, *options.convention), Activation::relu,
                options.convention->head_batch_norm),
      decoder1_(conv(kChannels, kChannels, 3, *options.convention), Activation::relu,
                options.convention->head_batch_norm),
      logits_(logits_settings(kChannels, options.classes)) {
  add_child("aspp", aspp_);
  add_child("low", low_);
  add_child("decoder0", decoder0_);
  add_child("decoder1", decoder1_);
  add_child("logits", logits_);
}

Variable DeepLabV3Plus::forward(const Features& features) {
  const Variable low = low_.forward(features.low);
  const Variable high =
      resize_bilinear(aspp_.forward(features.high),
                      {.out_h = low.dim(1), .out_w = low.dim(2), .align_corners = align_corners_});
  return logits_.forward(decoder1_.forward(decoder0_.forward(concat_channels({high, low}))));
}

Shape DeepLabV3Plus::trace(const FeatureShapes& features, const std::string& name,
                           layers::Summary& summary) const {
  aspp_.trace(features.high, join_names(name, "aspp"), summary);
  const Shape low = low_.trace(features.low, join_names(name, "low"), summary);
  const Shape joined = low.with(3, kChannels + kLowChannels);
  const Shape refined = decoder1_.trace(decoder0_.trace(joined, join_names(name, "decoder0"), summary),
                                        join_names(name, "decoder1"), summary);
  return logits_.trace(refined, join_names(name, "logits"), summary);
}

}  // namespace atrous::models
