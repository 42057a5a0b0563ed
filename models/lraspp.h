#pragma once

#include "atrous/layers/conv_bn.h"
#include "atrous/models/head.h"

namespace atrous::models {

/// Lite reduced ASPP, torchvision's form: the high features, weighed channel by channel by the whole image,
/// are classified at stride 8 beside the features found there.
///
///   y = relu(bn(1x1 to 128(high))) * sigmoid(1x1 to 128(mean of high))
///   logits = 1x1(middle) + 1x1(resize(y)), at the size of middle
///
/// The 1x1 behind the mean has no bias, those to the logits have. Children: project, gate, logits with low
/// and high.
/// Source: Howard et al., "Searching for MobileNetV3", ICCV 2019, section 6.4.
class LrAspp : public Head {
 public:
  LrAspp(const Backbone& backbone, const HeadOptions& options);

  Variable forward(const Features& features) override;
  bool pools_image() const override { return true; }
  Shape trace(const FeatureShapes& features, const std::string& name,
              layers::Summary& summary) const override;

 private:
  bool align_corners_;
  layers::ConvBn project_;
  layers::Conv2d gate_;
  Classifiers logits_;
  layers::Conv2d &low_, &high_;
};

}  // namespace atrous::models
