#include "atrous/models/lraspp.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/pool2d.h"
#include "atrous/autograd/resize.h"
#include "atrous/models/deeplab_v3.h"

namespace atrous::models {
namespace {

using layers::join_names;

layers::Conv2dSettings to_inner(const Backbone& backbone, const HeadOptions& o) {
  return {.in_channels = backbone.high_channels(),
          .out_channels = scaled_channels(128, o.width, o.convention->width_rounding),
          .bias = false,
          .init = o.convention->head_init};
}

}  // namespace

LrAspp::LrAspp(const Backbone& backbone, const HeadOptions& options)
    : align_corners_(options.convention->align_corners),
      project_(to_inner(backbone, options), layers::Activation::relu, options.convention->head_batch_norm),
      gate_(to_inner(backbone, options)),
      low_(logits_.add("low", logits_settings(backbone.middle_channels(), options.classes))),
      high_(logits_.add("high", logits_settings(project_.settings().out_channels, options.classes))) {
  add_child("project", project_);
  add_child("gate", gate_);
  add_child("logits", logits_);
}

Variable LrAspp::forward(const Features& features) {
  const Variable mean =
      features.image_mean.defined() ? features.image_mean : global_avg_pool2d(features.high);
  const Variable gate = sigmoid(gate_.forward(mean));
  const Variable y = scale_channels(project_.forward(features.high), gate);
  const Variable at_middle = resize_bilinear(
      y, {.out_h = features.middle.dim(1), .out_w = features.middle.dim(2), .align_corners = align_corners_});
  return add(low_.forward(features.middle), high_.forward(at_middle));
}

Shape LrAspp::trace(const FeatureShapes& features, const std::string& name, layers::Summary& summary) const {
  const Shape& high = features.high;
  project_.trace(high, join_names(name, "project"), summary);
  gate_.trace(high.with(1, 1).with(2, 1), join_names(name, "gate"), summary);
  high_.trace(features.middle.with(3, high_.settings().in_channels), join_names(name, "logits.high"),
              summary);
  return low_.trace(features.middle, join_names(name, "logits.low"), summary);
}

}  // namespace atrous::models
