#include "atrous/models/deeplab_v3.h"

namespace atrous::models {

using layers::join_names;

layers::Conv2dSettings logits_settings(std::int64_t in_channels, std::int64_t classes) {
  return {.in_channels = in_channels,
          .out_channels = classes,
          .init = layers::Initialiser::truncated_normal(0.01)};
}

layers::AsppSettings pyramid_settings(const Backbone& backbone, const HeadOptions& options,
                                      bool atrous_branches, bool separable) {
  const Convention& convention = *options.convention;
  std::vector<std::int64_t> rates;
  if (atrous_branches)
    rates = convention.aspp_rates.empty() ? layers::aspp_rates(options.output_stride) : convention.aspp_rates;
  return {.in_channels = backbone.high_channels(),
          .channels = scaled_channels(256, options.width, convention.width_rounding),
          .rates = rates,
          .separable = separable,
          .pooling_first = convention.image_pooling_first,
          .dropout = convention.dropout,
          .batch_norm = convention.head_batch_norm,
          .init = convention.head_init};
}

DeepLabV3::DeepLabV3(const Backbone& backbone, const HeadOptions& options, bool atrous_branches)
    : aspp_(pyramid_settings(backbone, options, atrous_branches, false)),
      logits_(logits_settings(aspp_.channels(), options.classes)) {
  add_child("aspp", aspp_);
  if (options.convention->refined) {
    refine_ = std::make_unique<layers::ConvBn>(layers::Conv2dSettings{.in_channels = aspp_.channels(),
                                                                      .out_channels = aspp_.channels(),
                                                                      .taps = 3,
                                                                      .init = options.convention->head_init},
                                               layers::Activation::relu, options.convention->head_batch_norm);
    add_child("refine", *refine_);
  }
  add_child("logits", logits_);
}

Variable DeepLabV3::forward(const Features& features) {
  const Variable y = aspp_.forward(features.high, features.image_mean);
  return logits_.forward(refine_ ? refine_->forward(y) : y);
}

Shape DeepLabV3::trace(const FeatureShapes& features, const std::string& name,
                       layers::Summary& summary) const {
  Shape y = aspp_.trace(features.high, join_names(name, "aspp"), summary);
  if (refine_) y = refine_->trace(y, join_names(name, "refine"), summary);
  return logits_.trace(y, join_names(name, "logits"), summary);
}

DeepLabV3Cascade::DeepLabV3Cascade(const Backbone& backbone, const HeadOptions& options)
    : logits_(logits_settings(backbone.high_channels(), options.classes)) {
  add_child("logits", logits_);
}

Variable DeepLabV3Cascade::forward(const Features& features) { return logits_.forward(features.high); }

Shape DeepLabV3Cascade::trace(const FeatureShapes& features, const std::string& name,
                              layers::Summary& summary) const {
  return logits_.trace(features.high, join_names(name, "logits"), summary);
}

}  // namespace atrous::models
