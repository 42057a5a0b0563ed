#pragma once

#include <vector>

#include "atrous/layers/conv_bn.h"
#include "atrous/layers/squeeze_excitation.h"
#include "atrous/models/backbone.h"

namespace atrous::models {

/// MobileNetV3's unit: [1x1 expand], depthwise, [squeeze and excitation], 1x1 project (linear); relu or hard
/// swish behind the first two. The input is added where neither the nominal stride nor the channels change
/// it. Children: [expand], depthwise, [excite], project.
class MobileNetV3Unit : public layers::Layer {
 public:
  struct Settings {
    std::int64_t in_channels, expanded_channels, out_channels;
    std::int64_t taps, stride, rate;
    bool excite, hard_swish, residual;
    layers::Initialiser init;
  };
  MobileNetV3Unit(const Settings& settings, const layers::BatchNormConstants& constants);

  Variable forward(const Variable& x) override;
  Shape trace(const Shape& x, const std::string& name, layers::Summary& summary) const override;

 private:
  bool residual_;
  std::unique_ptr<layers::ConvBn> expand_;  // null if nothing is expanded
  layers::ConvBn depthwise_;
  std::unique_ptr<layers::SqueezeExcitation> excite_;  // null for none
  layers::ConvBn project_;
};

/// MobileNetV3-Large up to its 960 channels. Children: stem, block0 .. block14, last. `low` is block 2's
/// output (24 channels, stride 4), `middle` that of block 3, the first at stride 8 (40 channels).
/// Source: Howard et al., "Searching for MobileNetV3", ICCV 2019, table 1, section 6.4.
class MobileNetV3 : public Backbone {
 public:
  explicit MobileNetV3(const BackboneOptions& options);

  Features features(const Variable& image) override;
  FeatureShapes trace(const Shape& image, const std::string& name, layers::Summary& summary) const override;
  std::int64_t high_channels() const override { return last_->settings().out_channels; }
  std::int64_t low_channels() const override { return low_channels_; }
  std::int64_t middle_channels() const override { return middle_channels_; }
  const layers::BatchNormConstants* batch_norm() const override { return &batch_norm_; }
  bool mobile() const override { return true; }

 private:
  layers::BatchNormConstants batch_norm_;
  std::unique_ptr<layers::ConvBn> stem_, last_;
  std::vector<std::unique_ptr<MobileNetV3Unit>> blocks_;
  std::int64_t low_channels_ = 0, middle_channels_ = 0;
};

}  // namespace atrous::models
