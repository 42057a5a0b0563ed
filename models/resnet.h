#pragma once

#include <vector>

#include "atrous/layers/conv_bn.h"
#include "atrous/layers/pool2d.h"
#include "atrous/layers/sequential.h"
#include "atrous/models/backbone.h"

namespace atrous::models {

/// Residual unit: relu(branch(x) + shortcut(x)). Basic: two 3x3 convolutions, the stride on the first.
/// Bottleneck: 1x1, 3x3 (the stride), 1x1 to four times the channels. The shortcut is a strided 1x1
/// convolution where the shape changes, else x. Children: conv1, conv2, [conv3], [downsample].
class ResidualUnit : public layers::Layer {
 public:
  struct Settings {
    bool bottleneck;
    std::int64_t in_channels, channels;  ///< `channels` of the 3x3
    std::int64_t stride, rate;           ///< of the convolution with the stride
    std::int64_t rate_after;             ///< of the basic unit's second convolution
  };
  ResidualUnit(const Settings& settings, const layers::BatchNormConstants& constants);

  Variable forward(const Variable& x) override;
  Shape trace(const Shape& x, const std::string& name, layers::Summary& summary) const override;

 private:
  std::vector<std::unique_ptr<layers::ConvBn>> branch_;  // conv1, conv2, [conv3]; the last adds the shortcut
  std::unique_ptr<layers::ConvBn> downsample_;           // null where the shortcut is x
};

/// ResNet-18, or -50 with the stride on the 3x3 of each stage's first unit ("v1.5", as torchvision's; a
/// weights file of the original form fits too but computes another function). Children as torchvision calls
/// them: conv1, layer1 .. layer4 with units 0, 1, ...; each convolution has its batch norm inside. `low` is
/// layer1 (64 or 256 channels, stride 4, after relu).
///
/// The convolution with the lost stride keeps the rate before it, everything behind sees the new one: the
/// function is that of the strided network.
/// Source: He et al., "Deep residual learning", CVPR 2016, table 1.
class ResNet : public Backbone {
 public:
  /// `depth` 18 or 50; ValueError for another.
  ResNet(int depth, const BackboneOptions& options);

  Features features(const Variable& image) override;
  FeatureShapes trace(const Shape& image, const std::string& name, layers::Summary& summary) const override;
  std::int64_t high_channels() const override { return 8 * low_channels_; }
  std::int64_t low_channels() const override { return low_channels_; }
  const layers::BatchNormConstants& batch_norm() const override { return batch_norm_; }

 private:
  std::int64_t low_channels_;
  layers::BatchNormConstants batch_norm_;
  layers::ConvBn conv1_;
  layers::MaxPool2d pool_;
  std::vector<std::unique_ptr<layers::Sequential>> stages_;
};

}  // namespace atrous::models
