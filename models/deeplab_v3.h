#pragma once

#include "atrous/layers/aspp.h"
#include "atrous/models/head.h"

namespace atrous::models {

/// The classifier of every head: a 1x1 convolution with bias, truncated normal of deviation 0.01.
layers::Conv2dSettings logits_settings(std::int64_t in_channels, std::int64_t classes);

/// DeepLab v3: atrous spatial pyramid pooling on the high features, then logits at the output stride. On a
/// mobile backbone the published form has no atrous branches ("Mobile DeepLabv3": image pooling and 1x1);
/// `atrous_branches` decides. Children: aspp, logits.
/// Source: Chen et al., "Rethinking Atrous Convolution", 2017; Sandler et al., "MobileNetV2", section 6.3.
class DeepLabV3 : public Head {
 public:
  DeepLabV3(const Backbone& backbone, const HeadOptions& options)
      : DeepLabV3(backbone, options, !backbone.mobile()) {}
  DeepLabV3(const Backbone& backbone, const HeadOptions& options, bool atrous_branches);

  Variable forward(const Features& features) override;
  Shape trace(const FeatureShapes& features, const std::string& name,
              layers::Summary& summary) const override;

 private:
  layers::Aspp aspp_;
  layers::Conv2d logits_;
};

}  // namespace atrous::models
