#include "atrous/models/model.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/resize.h"
#include "atrous/core/error.h"
#include "atrous/layers/observer.h"

namespace atrous::models {
namespace {

// Corner pixels stay where they are.
std::int64_t scaled_side(std::int64_t side, double scale) {
  return std::int64_t(std::llround(double(side - 1) * scale)) + 1;
}

}  // namespace

Model::Model(ModelConfig config, std::unique_ptr<Backbone> backbone, std::unique_ptr<Head> head,
             ModelExtras extras)
    : config_(std::move(config)),
      convention_(&models::convention(config_.convention)),
      backbone_(std::move(backbone)),
      head_(std::move(head)),
      extras_(std::move(extras)) {
  config_.convention = convention_->name;
  add_child("backbone", *backbone_);
  add_child("head", *head_);
  if (extras_.auxiliary) add_child("auxiliary", *extras_.auxiliary);
}

const Preprocessing& Model::preprocessing() const {
  const Preprocessing* own = backbone_->preprocessing();
  return own ? *own : convention_->preprocessing;
}

RecycledVector<Variable> Model::scale_logits(const Variable& image) {
  ATROUS_CHECK(ShapeError, image.value().rank() == 4 && image.dim(3) == config_.in_channels, config_.name,
               "images are [N, H, W, ", config_.in_channels, "], not ", image.shape());
  RecycledVector<Variable> all;
  for (const double scale : extras_.scales) {
    Variable x = image;
    if (scale != 1)
      x = resize_bilinear(image, {.out_h = scaled_side(image.dim(1), scale),
                                  .out_w = scaled_side(image.dim(2), scale),
                                  .align_corners = convention_->align_corners});
    all.push_back(head_->forward(backbone_->features(x)));
  }
  return all;
}

Variable Model::fused(const RecycledVector<Variable>& logits) const {
  Variable y = logits.front();
  const std::int64_t h = y.dim(1), w = y.dim(2);
  for (std::size_t i = 1; i < logits.size(); ++i)
    y = maximum(
        y, resize_bilinear(logits[i], {.out_h = h, .out_w = w, .align_corners = convention_->align_corners}));
  return y;
}

void Model::set_prepared(const layers::InferenceOptions& options) {
  sizes_ = options.sizes;
  arenas_.clear();
}

Arena& Model::arena_of(const Shape& image) {
  const auto found =
      std::find_if(arenas_.begin(), arenas_.end(), [&](const auto& own) { return own.first == image; });
  if (found != arenas_.end()) {
    std::rotate(found, found + 1, arenas_.end());
  } else {
    if (std::int64_t(arenas_.size()) >= sizes_) arenas_.erase(arenas_.begin());
    arenas_.emplace_back(image, std::make_unique<Arena>());
  }
  return *arenas_.back().second;
}

Variable Model::forward(const Variable& image) {
  const auto logits = [&] { return fused(scale_logits(image)); };
  const bool planned = sizes_ > 0 && !training() && !grad_enabled() && !layers::observing() &&
                       image.defined() && image.device().is_cpu();
  return layers::observed(*this, planned ? arena_of(image.shape()).run(logits) : logits());
}

Variable Model::full_logits(const Variable& image) {
  return resize_bilinear(
      forward(image),
      {.out_h = image.dim(1), .out_w = image.dim(2), .align_corners = convention_->align_corners});
}

std::vector<TrainingLogits> Model::training_logits(const Variable& image) {
  if (extras_.auxiliary) {
    const Features features = backbone_->features(image);
    return {{"logits", head_->forward(features), 1},
            {"auxiliary", extras_.auxiliary->forward(features.middle), 0.5}};
  }
  const RecycledVector<Variable> each = scale_logits(image);
  std::vector<TrainingLogits> all = {{"logits", fused(each), 1}};
  for (std::size_t i = 0; each.size() > 1 && i < each.size(); ++i) {
    std::ostringstream name;
    name << "logits at scale " << extras_.scales[i];
    all.push_back({name.str(), each[i], 1});
  }
  return all;
}

Shape Model::trace(const Shape& image, const std::string& name, layers::Summary& summary) const {
  Shape logits;
  for (std::size_t i = 0; i < extras_.scales.size(); ++i) {
    const double scale = extras_.scales[i];
    const Shape x = image.with(1, scaled_side(image[1], scale)).with(2, scaled_side(image[2], scale));
    const std::size_t before = summary.rows.size();
    const FeatureShapes features = backbone_->trace(x, layers::join_names(name, "backbone"), summary);
    if (extras_.auxiliary)
      extras_.auxiliary->trace(features.middle, layers::join_names(name, "auxiliary"), summary);
    const Shape y = head_->trace(features, layers::join_names(name, "head"), summary);
    if (i == 0) logits = y;
    for (std::size_t k = before; i > 0 && k < summary.rows.size(); ++k) {
      std::ostringstream row;
      row << summary.rows[k].name << " x" << scale;
      summary.rows[k].name = row.str();
      summary.rows[k].parameters = 0;  // the same
    }
  }
  if (extras_.scales.size() > 1)
    summary.rows.push_back({layers::join_names(name, "fused"), "maximum over the scales", logits, 0, 0});
  return logits;
}

bool depends_on_classes(const std::string& tensor) {
  return tensor.starts_with("head.logits.") || tensor.starts_with("auxiliary.logits.");
}

}  // namespace atrous::models
