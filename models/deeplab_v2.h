#pragma once

#include <vector>

#include "atrous/layers/dropout.h"
#include "atrous/models/head.h"

namespace atrous::models {

/// The rates of v2's branches at output stride 8.
enum class PyramidOfV2 {
  large_fov,  ///< 12
  small,      ///< 2, 4, 8, 12 ("ASPP-S")
  large       ///< 6, 12, 18, 24 ("ASPP-L")
};

/// DeepLab v2: the sum of classifiers that see the high features at several rates. On VGG-16 a branch is fc6
/// (3x3 at the rate, to 1024 channels) and fc7 (1x1), each with relu and dropout of 0.5, and 1x1 logits; on
/// ResNets it is a single 3x3 convolution with bias to the logits. Rates follow the output stride. Children:
/// on VGG fc6_0, fc7_0, fc6_1, ...; logits with a child 0, 1, ... for each branch.
/// Source: Chen et al., "DeepLab", TPAMI 2018, section 3.2 and figure 7.
class DeepLabV2 : public Head {
 public:
  DeepLabV2(const Backbone& backbone, const HeadOptions& options, PyramidOfV2 pyramid);

  Variable forward(const Features& features) override;
  Shape trace(const FeatureShapes& features, const std::string& name,
              layers::Summary& summary) const override;

 private:
  struct Branch {
    std::unique_ptr<layers::Conv2d> fc6, fc7;  // null but on VGG
    std::unique_ptr<layers::Dropout> drop6, drop7;
    layers::Conv2d* logits;
  };

  Classifiers logits_;
  std::vector<Branch> branches_;
};

}  // namespace atrous::models
