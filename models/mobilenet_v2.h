#pragma once

#include <vector>

#include "atrous/layers/conv_bn.h"
#include "atrous/models/backbone.h"

namespace atrous::models {

/// Inverted residual: [1x1 expand, relu6], depthwise 3x3, relu6, 1x1 project (linear); the input is added
/// where neither the size nor the number of channels changes. Children: expand (if any), depthwise, project.
class InvertedResidual : public layers::Layer {
 public:
  struct Settings {
    std::int64_t in_channels, expanded_channels, out_channels;
    std::int64_t stride, rate;
    bool residual;
    MobilePadding padding;
    layers::Initialiser init;
  };
  InvertedResidual(const Settings& settings, const layers::BatchNormConstants& constants);

  Variable forward(const Variable& x) override;
  /// The output of the depthwise convolution, and forward() from it.
  Variable expanded(const Variable& x);
  Variable projected(const Variable& x, const Variable& expanded);
  Shape trace(const Shape& x, const std::string& name, layers::Summary& summary) const override;

  std::int64_t expanded_channels() const { return depthwise_.settings().out_channels; }

 private:
  Variable widened(const Variable& x);

  bool residual_;
  Padding border_;                          // zeros around x before the expansion
  std::unique_ptr<layers::ConvBn> expand_;  // null if nothing is expanded
  layers::ConvBn depthwise_, project_;
};

/// MobileNetV2 up to its 320 channels (the 1280-channel convolution is for classification). Children: stem,
/// block0 .. block16. `low` is at stride 4: the 24 channels behind block 2, or the 144 of its depthwise
/// convolution (times the width multiplier), as the convention says.
/// Source: Sandler et al., "MobileNetV2", CVPR 2018, table 2.
class MobileNetV2 : public Backbone {
 public:
  explicit MobileNetV2(const BackboneOptions& options);

  Features features(const Variable& image) override;
  FeatureShapes trace(const Shape& image, const std::string& name, layers::Summary& summary) const override;
  std::int64_t high_channels() const override { return high_channels_; }
  std::int64_t low_channels() const override { return low_channels_; }
  const layers::BatchNormConstants* batch_norm() const override { return &batch_norm_; }
  bool mobile() const override { return true; }

 private:
  layers::BatchNormConstants batch_norm_;
  LowLevel low_level_;
  std::unique_ptr<layers::ConvBn> stem_;
  std::vector<std::unique_ptr<InvertedResidual>> blocks_;
  std::int64_t high_channels_ = 0, low_channels_ = 0;
};

}  // namespace atrous::models
