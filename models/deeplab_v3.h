#pragma once

#include "atrous/layers/aspp.h"
#include "atrous/models/head.h"

namespace atrous::models {

/// The classifier of every head: a 1x1 convolution with bias, truncated normal of deviation 0.01.
layers::Conv2dSettings logits_settings(std::int64_t in_channels, std::int64_t classes);

/// The pyramid of v3 and v3+ on a backbone: 256 channels, rates by the output stride or the convention's,
/// none if not `atrous_branches`.
layers::AsppSettings pyramid_settings(const Backbone& backbone, const HeadOptions& options,
                                      bool atrous_branches, bool separable);

/// DeepLab v3: atrous spatial pyramid pooling on the high features, then logits at the output stride. On a
/// mobile backbone the published form has no atrous branches ("Mobile DeepLabv3": image pooling and 1x1), but
/// by conventions that have them; `atrous_branches` decides. A convention may have one more 3x3 convolution
/// with batch norm and relu before the logits. Children: aspp, [refine], logits.
/// Source: Chen et al., "Rethinking Atrous Convolution", 2017; Sandler et al., "MobileNetV2", section 6.3.
class DeepLabV3 : public Head {
 public:
  DeepLabV3(const Backbone& backbone, const HeadOptions& options)
      : DeepLabV3(backbone, options, !backbone.mobile() || options.convention->mobile_branches) {}
  DeepLabV3(const Backbone& backbone, const HeadOptions& options, bool atrous_branches);

  Variable forward(const Features& features) override;
  bool pools_image() const override { return true; }
  Shape trace(const FeatureShapes& features, const std::string& name,
              layers::Summary& summary) const override;

 private:
  layers::Aspp aspp_;
  std::unique_ptr<layers::ConvBn> refine_;
  layers::Conv2d logits_;
};

/// The classifier of the cascade of v3, whose backbone goes on to blocks 5, 6 and 7: a 1x1 convolution on the
/// high features. Children: logits.
/// Source: Chen et al., "Rethinking Atrous Convolution", 2017, section 3.2.
class DeepLabV3Cascade : public Head {
 public:
  DeepLabV3Cascade(const Backbone& backbone, const HeadOptions& options);

  Variable forward(const Features& features) override;
  Shape trace(const FeatureShapes& features, const std::string& name,
              layers::Summary& summary) const override;

 private:
  layers::Conv2d logits_;
};

}  // namespace atrous::models
