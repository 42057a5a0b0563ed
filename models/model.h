#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "atrous/core/arena.h"
#include "atrous/core/recycled.h"
#include "atrous/models/auxiliary.h"
#include "atrous/models/backbone.h"
#include "atrous/models/head.h"

namespace atrous::models {

/// What a model is, as its weight files record it: enough to build it again.
struct ModelConfig {
  std::string name;             ///< "deeplab_v3plus_mobilenet_v2", without a suffix
  std::string convention = {};  ///< "atrous", or empty for it
  std::int64_t classes = 21;
  std::int64_t output_stride = 16;
  double width = 1;                           ///< channel multiplier of the backbone
  double head_width = 1;                      ///< of the head
  std::vector<std::int64_t> multi_grid = {};  ///< empty for the convention's; {1} for none
  bool auxiliary = false;                     ///< with the auxiliary classifier
  std::int64_t in_channels = 3;               ///< of the images
};

/// The parts of a model that not every one has.
struct ModelExtras {
  /// Sides of the images that the network sees, of the given one's (less a pixel): v2 takes 1, 0.75 and 0.5
  /// and keeps each logit's greatest. The first is 1.
  std::vector<double> scales = {1};
  std::unique_ptr<AuxiliaryHead> auxiliary = nullptr;
};

/// One term of the training loss: the cross entropy of `logits` (against labels of their size, or upsampled)
/// times `weight`.
struct TrainingLogits {
  std::string name;
  Variable logits;
  double weight;
};

/// A segmentation network: a backbone and a head. Parameters under "backbone.", "head." and "auxiliary.".
class Model : public layers::Layer {
 public:
  Model(ModelConfig config, std::unique_ptr<Backbone> backbone, std::unique_ptr<Head> head,
        ModelExtras extras = {});

  /// Images [N, H, W, 3], preprocessed (io/preprocessing.h), to logits [N, h, w, classes] at the head's
  /// resolution: the output stride for v1, v2 and v3, stride 4 for v3+. Sizes k * output_stride + 1 keep the
  /// corners of image and logits on each other; other sizes work with an offset below a stride.
  ///
  /// With several scales, the image is resized to (H - 1) * scale + 1 rows (rounded) and as many columns, the
  /// logits of all to the size of the first, and the greatest is taken element by element.
  /// Source: Chen et al., "DeepLab", TPAMI 2018, section 4.1.2.
  Variable forward(const Variable& image) override;
  /// forward(), then bilinear to the size of the image: what a loss on full-size labels takes.
  Variable full_logits(const Variable& image);

  /// What the published training takes its loss of: forward() first, then the auxiliary classifier's logits
  /// with weight 0.5, or those of each scale by itself with weight 1.
  std::vector<TrainingLogits> training_logits(const Variable& image);

  Shape trace(const Shape& image, const std::string& name, layers::Summary& summary) const override;

  const ModelConfig& config() const { return config_; }
  const Convention& convention() const { return *convention_; }
  const Preprocessing& preprocessing() const;
  Backbone& backbone() const { return *backbone_; }
  Head& head() const { return *head_; }
  const std::vector<double>& scales() const { return extras_.scales; }

 private:
  void set_prepared(const layers::InferenceOptions& options) override;
  // The memory of a prepared model for images of this shape.
  Arena& arena_of(const Shape& image);
  // Logits of one scale, by the features of the image at it.
  RecycledVector<Variable> scale_logits(const Variable& image);
  // The greatest of all, at the first one's size.
  Variable fused(const RecycledVector<Variable>& logits) const;

  ModelConfig config_;
  const Convention* convention_;
  std::unique_ptr<Backbone> backbone_;
  std::unique_ptr<Head> head_;
  ModelExtras extras_;
  int sizes_ = 0;                                                 // 0: not prepared
  std::vector<std::pair<Shape, std::unique_ptr<Arena>>> arenas_;  // the one that was used last stands last
};

/// Whether the size of a tensor of this name depends on the number of classes.
bool depends_on_classes(const std::string& tensor);

}  // namespace atrous::models
