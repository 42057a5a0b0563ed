#pragma once

#include <cstdint>

#include "atrous/layers/conv2d.h"
#include "atrous/models/backbone.h"

namespace atrous::models {

struct HeadOptions {
  std::int64_t classes = 21;
  std::int64_t output_stride = 16;
  double width = 1;  ///< multiplier of the head's own channels
  const Convention* convention = nullptr;
};

/// The part of a model behind the backbone: features to logits. Its last layer is the child "logits" (where
/// several are added up, it has children), the only one whose size depends on the number of classes.
class Head : public layers::Module {
 public:
  virtual Variable forward(const Features& features) = 0;
  /// Whether it takes the mean of `high` over the image (Features::image_mean, or by itself).
  virtual bool pools_image() const { return false; }
  virtual Shape trace(const FeatureShapes& features, const std::string& name,
                      layers::Summary& summary) const = 0;
};

/// Several convolutions to logits under one name.
class Classifiers : public layers::Module {
 public:
  layers::Conv2d& add(const std::string& name, const layers::Conv2dSettings& settings) {
    convs_.push_back(std::make_unique<layers::Conv2d>(settings));
    add_child(name, *convs_.back());
    return *convs_.back();
  }

 private:
  std::vector<std::unique_ptr<layers::Conv2d>> convs_;
};

}  // namespace atrous::models
