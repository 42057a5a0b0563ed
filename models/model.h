#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "atrous/models/backbone.h"
#include "atrous/models/head.h"

namespace atrous::models {

/// What a model is, as its weight files record it: enough to build it again.
struct ModelConfig {
  std::string name;             ///< "deeplab_v3plus_mobilenet_v2", without a suffix
  std::string convention = {};  ///< "atrous", or empty for it
  std::int64_t classes = 21;
  std::int64_t output_stride = 16;
  double width = 1;
};

/// A segmentation network: a backbone and a head. Parameters under "backbone." and "head.".
class Model : public layers::Layer {
 public:
  Model(ModelConfig config, std::unique_ptr<Backbone> backbone, std::unique_ptr<Head> head);

  /// Images [N, H, W, 3], preprocessed (io/preprocessing.h), to logits [N, h, w, classes] at the head's
  /// resolution: the output stride for v3, stride 4 for v3+. Sizes k * output_stride + 1 keep the corners of
  /// image and logits on each other; other sizes work with an offset below a stride.
  Variable forward(const Variable& image) override;
  /// forward(), then bilinear to the size of the image: what a loss on full-size labels takes.
  Variable full_logits(const Variable& image);

  Shape trace(const Shape& image, const std::string& name, layers::Summary& summary) const override;

  const ModelConfig& config() const { return config_; }
  const Convention& convention() const { return *convention_; }
  Backbone& backbone() const { return *backbone_; }
  Head& head() const { return *head_; }

 private:
  ModelConfig config_;
  const Convention* convention_;
  std::unique_ptr<Backbone> backbone_;
  std::unique_ptr<Head> head_;
};

}  // namespace atrous::models
