#pragma once

#include <vector>

#include "atrous/layers/conv_bn.h"
#include "atrous/models/backbone.h"

namespace atrous::models {

/// Unit of the aligned Xception: three separable convolutions of 3x3, the stride on the third, and a shortcut
/// that is added without a relu behind it: a 1x1 convolution with batch norm, the input itself, or none.
///
/// A separable convolution is relu, depthwise, batch norm, 1x1, batch norm; the last unit of the network has
/// the relus behind both batch norms instead. Children: conv1, conv2, conv3, [shortcut].
class XceptionUnit : public layers::Layer {
 public:
  enum class Shortcut { convolution, input, none };
  struct Settings {
    std::int64_t in_channels, channels[3];
    Shortcut shortcut;
    std::int64_t stride, rate;
    bool relu_behind;  ///< relus behind the batch norms
    bool rectified;    ///< what comes in has been through a relu: the one in front would change nothing
    layers::Initialiser init;
  };
  XceptionUnit(const Settings& settings, const layers::BatchNormConstants& constants);

  Variable forward(const Variable& x) override;
  /// The output of the second separable convolution, and forward() from it.
  Variable unstrided(const Variable& x);
  Variable finish(const Variable& x, const Variable& unstrided);
  Shape trace(const Shape& x, const std::string& name, layers::Summary& summary) const override;

 private:
  // Up to the second convolution, with the relu that stands in front of the third, if one does.
  Variable first_two(const Variable& x, layers::Activation then);
  // The third, of what the relu in front of it made, and the shortcut.
  Variable last(const Variable& x, const Variable& y);

  bool relu_behind_, relu_first_, adds_input_;
  std::vector<std::unique_ptr<layers::SeparableConvBn>> convs_;
  std::unique_ptr<layers::ConvBn> shortcut_;
};

/// The aligned Xception of v3+: Xception with separable convolutions of stride 2 for its max pooling, and
/// batch norms behind every depthwise convolution. The number counts convolutions: 41, 65 or 71. Children:
/// conv1_1, conv1_2, entry1 .. entry3 (71: entry5), middle1 .. middle8 (41) or middle16, exit1, exit2.
///
/// `low` is taken before the stride from 4 to 8: the 256 channels of the second separable convolution of
/// entry2 (71: entry3), behind its batch norm. A unit that has lost its stride keeps the rate before it, so
/// the function is that of the strided network.
/// Source: Chen et al., "Encoder-decoder with atrous separable convolution", ECCV 2018, section 3.2 and
/// figure 4; where relus are (before the depthwise convolutions, not behind) is the released code's.
class Xception : public Backbone {
 public:
  /// `depth` 41, 65 or 71; ValueError for another.
  Xception(int depth, const BackboneOptions& options);

  Features features(const Variable& image) override;
  FeatureShapes trace(const Shape& image, const std::string& name, layers::Summary& summary) const override;
  std::int64_t high_channels() const override { return high_channels_; }
  std::int64_t low_channels() const override { return low_channels_; }
  const layers::BatchNormConstants* batch_norm() const override { return &batch_norm_; }
  bool separable() const override { return true; }

 private:
  struct Unit {
    std::string name;
    std::unique_ptr<XceptionUnit> unit;
  };

  layers::BatchNormConstants batch_norm_;
  std::unique_ptr<layers::ConvBn> conv1_1_, conv1_2_;
  std::vector<Unit> units_;
  std::size_t low_unit_ = 0;
  std::int64_t low_channels_ = 0, high_channels_ = 0;
};

}  // namespace atrous::models
