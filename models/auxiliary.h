#pragma once

#include "atrous/layers/conv_bn.h"
#include "atrous/layers/dropout.h"
#include "atrous/models/head.h"

namespace atrous::models {

/// A second classifier on the backbone's middle features, which helps training and is not used afterwards:
/// 3x3 convolution to a quarter of the channels, batch norm, relu, dropout of 0.1, logits. Children: conv,
/// logits.
/// Source: torchvision's FCNHead, after Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017.
class AuxiliaryHead : public layers::Layer {
 public:
  AuxiliaryHead(const Backbone& backbone, const HeadOptions& options);

  Variable forward(const Variable& middle) override;
  Shape trace(const Shape& middle, const std::string& name, layers::Summary& summary) const override;

 private:
  layers::ConvBn conv_;
  layers::Dropout dropout_;
  layers::Conv2d logits_;
};

}  // namespace atrous::models
