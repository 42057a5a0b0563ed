#pragma once

#include <vector>

#include "atrous/layers/dropout.h"
#include "atrous/layers/pool2d.h"
#include "atrous/models/head.h"

namespace atrous::models {

/// How fc6 of v1 looks at the map: taps, rate at output stride 8, channels of fc6 and fc7.
enum class FieldOfView {
  plain,           ///< 4x4 at rate 4, 4096 channels: 128 pixels
  four_by_four,    ///< 4x4 at rate 8, 4096 channels: 224 pixels
  seven_by_seven,  ///< 7x7 at rate 4, 4096 channels: 224 pixels
  large            ///< 3x3 at rate 12, 1024 channels: 224 pixels ("LargeFOV")
};

/// DeepLab v1 behind VGG-16's pool5: an average pooling of 3x3 (its zeros counted), then fc6, fc7 and the
/// logits as convolutions, relu and dropout of 0.5 behind the first two. Rates follow the output stride.
///
/// With multi-scale skips ("MSc") the image and the outputs of pool1 to pool4 each pass a 3x3 convolution to
/// 128 channels, with the stride that leads to the last map's grid, and a 1x1 to 128, both with relu; the
/// logits see them all beside fc7. (A branch whose size comes out otherwise, by a convention that rounds up,
/// is resized.) Children: fc6, fc7, [skip0 .. skip4 with conv1, conv2], logits.
/// Source: Chen et al., "Semantic image segmentation with deep convolutional nets and fully connected CRFs",
/// ICLR 2015, sections 3 and 4.3, table 2.
class DeepLabV1 : public Head {
 public:
  DeepLabV1(const Backbone& backbone, const HeadOptions& options, FieldOfView field, bool skips);

  Variable forward(const Features& features) override;
  Shape trace(const FeatureShapes& features, const std::string& name,
              layers::Summary& summary) const override;

 private:
  // conv1 and conv2 of a skip.
  struct Skip : layers::Module {
    Skip(std::int64_t in_channels, std::int64_t channels, std::int64_t stride);
    layers::Conv2d conv1, conv2;
  };

  bool align_corners_;
  layers::AvgPool2d pool_;
  std::unique_ptr<layers::Conv2d> fc6_, fc7_;
  layers::Dropout drop6_, drop7_;
  std::vector<std::unique_ptr<Skip>> skips_;
  std::unique_ptr<layers::Conv2d> logits_;
};

/// A rate that is stated for output stride 8, at another: the same reach in pixels. Throws ValueError where
/// that is no whole number.
std::int64_t rate_at(std::int64_t output_stride, std::int64_t rate_at_8);

}  // namespace atrous::models
