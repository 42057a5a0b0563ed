#pragma once

#include <vector>

#include "atrous/layers/conv2d.h"
#include "atrous/layers/pool2d.h"
#include "atrous/models/backbone.h"

namespace atrous::models {

/// VGG-16 up to its last pooling, as v1 and v2 have it: 3x3 convolutions with bias and relu, no batch norm;
/// the 2x2 poolings are 3x3 with padding, so that responses stay on the pixel grid. Children: conv1_1,
/// conv1_2, ..., conv5_3.
///
/// A pooling that has lost its stride keeps its window, and convolutions behind it have the new rate: at
/// output stride 8 those of conv5 have rate 2, and what comes behind, nominally at 32, starts at rate 4.
/// (Poolings are not dilated, so the function is not that of the strided network.)
/// Source: Simonyan and Zisserman, "Very deep convolutional networks", ICLR 2015, column D; Chen et al.,
/// "Semantic image segmentation with deep convolutional nets and fully connected CRFs", ICLR 2015, section 3.
class Vgg16 : public Backbone {
 public:
  explicit Vgg16(const BackboneOptions& options);

  Features features(const Variable& image) override;
  FeatureShapes trace(const Shape& image, const std::string& name, layers::Summary& summary) const override;
  std::int64_t high_channels() const override { return channels_.back(); }
  std::vector<std::int64_t> skip_channels() const override;
  const layers::BatchNormConstants* batch_norm() const override { return nullptr; }
  bool fully_connected() const override { return true; }

 private:
  struct Stage {
    std::vector<std::unique_ptr<layers::Conv2d>> convs;
    std::unique_ptr<layers::MaxPool2d> pool;
  };

  bool skips_;
  std::vector<Stage> stages_;
  std::vector<std::int64_t> channels_;  // of each stage
};

}  // namespace atrous::models
