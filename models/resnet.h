#pragma once

#include <vector>

#include "atrous/layers/conv_bn.h"
#include "atrous/layers/pool2d.h"
#include "atrous/layers/sequential.h"
#include "atrous/models/backbone.h"

namespace atrous::models {

/// Residual unit: relu(branch(x) + shortcut(x)). Basic: two 3x3 convolutions, the stride on the first.
/// Bottleneck: 1x1, 3x3, 1x1 to four times the channels; the stride on the first or the second. The shortcut
/// is a 1x1 convolution where the channels change, else x; with a stride either takes every second pixel.
/// Children: conv1, conv2, [conv3], [downsample].
class ResidualUnit : public layers::Layer {
 public:
  struct Settings {
    bool bottleneck;
    std::int64_t in_channels, channels;  ///< `channels` of the 3x3
    StrideWalk::Unit walk;               ///< stride, rate of the convolution that has it, rate behind it
    std::int64_t grid = 1;               ///< factor on the rates
    bool tapped = false;                 ///< see forward()
    StridedConv strided = StridedConv::spatial;
  };
  ResidualUnit(const Settings& settings, const layers::BatchNormConstants& constants);

  Variable forward(const Variable& x) override { return forward(x, nullptr); }
  /// forward(); a unit that is `tapped` also gives what it adds to the shortcut.
  Variable forward(const Variable& x, Variable* tap);
  Shape trace(const Shape& x, const std::string& name, layers::Summary& summary) const override;

 private:
  Variable shortcut(const Variable& x);

  std::int64_t stride_;
  bool tapped_;
  std::vector<std::unique_ptr<layers::ConvBn>> branch_;  // conv1, conv2, [conv3]; the last adds the shortcut
  std::unique_ptr<layers::ConvBn> downsample_;           // null where the channels stay
};

/// ResNet-18, -50 or -101. Children as torchvision calls them: conv1 (or, in TensorFlow's "beta" form with
/// three 3x3 convolutions for the 7x7: conv1_1, conv1_2, conv1_3), layer1 .. layer4 with units 0, 1, ...;
/// each convolution has its batch norm inside. For the cascade of v3, layer5 .. layer7 repeat layer4.
///
/// The convention says which unit and convolution of a stage has the stride, how pooling is padded and where
/// `low` is taken (256 channels at stride 4, or 64 of ResNet-18): layer1's output, or inside its last unit
/// but one. `middle` is layer3's output. All orders of strides keep the function of the strided network; but
/// weights of one order compute another function in another. Units of layer4 and behind multiply their rates
/// by `multi_grid`.
/// Source: He et al., "Deep residual learning", CVPR 2016, table 1; Chen et al., "Rethinking Atrous
/// Convolution", 2017, section 3.2 (cascade, multi-grid).
class ResNet : public Backbone {
 public:
  /// `depth` 18, 50 or 101; ValueError for another.
  ResNet(int depth, bool beta, const BackboneOptions& options);

  Features features(const Variable& image) override;
  FeatureShapes trace(const Shape& image, const std::string& name, layers::Summary& summary) const override;
  std::int64_t high_channels() const override { return high_channels_; }
  std::int64_t low_channels() const override { return low_channels_; }
  std::int64_t middle_channels() const override { return middle_channels_; }
  const layers::BatchNormConstants* batch_norm() const override { return &batch_norm_; }
  const Preprocessing* preprocessing() const override { return preprocessing_; }

 private:
  layers::BatchNormConstants batch_norm_;
  LowLevel low_level_;
  const Preprocessing* preprocessing_ = nullptr;
  std::vector<std::unique_ptr<layers::ConvBn>> stem_;
  layers::MaxPool2d pool_;
  std::vector<std::unique_ptr<layers::Sequential>> stages_;
  std::vector<ResidualUnit*> first_stage_;  // its units
  std::int64_t low_channels_ = 0, middle_channels_ = 0, high_channels_ = 0;
};

}  // namespace atrous::models
