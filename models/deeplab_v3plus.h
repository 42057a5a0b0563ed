#pragma once

#include "atrous/layers/aspp.h"
#include "atrous/models/head.h"

namespace atrous::models {

/// DeepLab v3+: the pyramid of v3, refined at stride 4 by a decoder that sees low-level features.
///
///   low = 1x1 to 48(features.low);   high = resize(aspp(features.high)) to the size of low
///   logits(3x3 to 256(3x3 to 256(concat[high, low])))
///
/// Every convolution but the last with batch norm and relu; the 3x3 ones of pyramid and decoder are separable
/// if `separable`. The convention may have low before high, and one 3x3 for two. Children: aspp, low,
/// decoder0, [decoder1], logits.
/// Source: Chen et al., "Encoder-decoder with atrous separable convolution", ECCV 2018, section 3.1.
class DeepLabV3Plus : public Head {
 public:
  DeepLabV3Plus(const Backbone& backbone, const HeadOptions& options)
      : DeepLabV3Plus(backbone, options, backbone.separable()) {}
  DeepLabV3Plus(const Backbone& backbone, const HeadOptions& options, bool separable);

  Variable forward(const Features& features) override;
  bool pools_image() const override { return true; }
  Shape trace(const FeatureShapes& features, const std::string& name,
              layers::Summary& summary) const override;

 private:
  bool align_corners_, low_first_;
  layers::Aspp aspp_;
  layers::ConvBn low_;
  std::vector<std::unique_ptr<layers::Layer>> decoder_;
  layers::Conv2d logits_;
};

}  // namespace atrous::models
