#include "atrous/models/deeplab_v3.h"

namespace atrous::models {

using layers::join_names;

layers::Conv2dSettings logits_settings(std::int64_t in_channels, std::int64_t classes) {
  return {.in_channels = in_channels,
          .out_channels = classes,
          .init = layers::Initialiser::truncated_normal(0.01)};
}

DeepLabV3::DeepLabV3(const Backbone& backbone, const HeadOptions& options, bool atrous_branches)
    : aspp_(
          {.in_channels = backbone.high_channels(),
           .rates = atrous_branches ? layers::aspp_rates(options.output_stride) : std::vector<std::int64_t>(),
           .dropout = options.convention->dropout,
           .batch_norm = options.convention->head_batch_norm,
           .init = options.convention->head_init}),
      logits_(logits_settings(256, options.classes)) {
  add_child("aspp", aspp_);
  add_child("logits", logits_);
}

Variable DeepLabV3::forward(const Features& features) {
  return logits_.forward(aspp_.forward(features.high));
}

Shape DeepLabV3::trace(const FeatureShapes& features, const std::string& name,
                       layers::Summary& summary) const {
  return logits_.trace(aspp_.trace(features.high, join_names(name, "aspp"), summary),
                       join_names(name, "logits"), summary);
}

}  // namespace atrous::models
