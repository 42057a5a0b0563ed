#include "atrous/models/model.h"

#include "atrous/autograd/resize.h"
#include "atrous/core/error.h"

namespace atrous::models {

Model::Model(ModelConfig config, std::unique_ptr<Backbone> backbone, std::unique_ptr<Head> head)
    : config_(std::move(config)),
      convention_(&models::convention(config_.convention)),
      backbone_(std::move(backbone)),
      head_(std::move(head)) {
  config_.convention = convention_->name;
  add_child("backbone", *backbone_);
  add_child("head", *head_);
}

Variable Model::forward(const Variable& image) {
  ATROUS_CHECK(ShapeError, image.value().rank() == 4 && image.dim(3) == 3, config_.name,
               "images are [N, H, W, 3], not ", image.shape());
  return head_->forward(backbone_->features(image));
}

Variable Model::full_logits(const Variable& image) {
  return resize_bilinear(
      forward(image),
      {.out_h = image.dim(1), .out_w = image.dim(2), .align_corners = convention_->align_corners});
}

Shape Model::trace(const Shape& image, const std::string& name, layers::Summary& summary) const {
  const FeatureShapes features = backbone_->trace(image, layers::join_names(name, "backbone"), summary);
  return head_->trace(features, layers::join_names(name, "head"), summary);
}

}  // namespace atrous::models
