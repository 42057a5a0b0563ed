#include "atrous/models/auxiliary.h"

#include "atrous/models/deeplab_v3.h"

namespace atrous::models {

using layers::join_names;

AuxiliaryHead::AuxiliaryHead(const Backbone& backbone, const HeadOptions& options)
    : conv_({.in_channels = backbone.middle_channels(),
             .out_channels = backbone.middle_channels() / 4,
             .taps = 3,
             .init = options.convention->head_init},
            layers::Activation::relu, options.convention->head_batch_norm),
      dropout_(0.1),
      logits_(logits_settings(backbone.middle_channels() / 4, options.classes)) {
  add_child("conv", conv_);
  add_child("dropout", dropout_);
  add_child("logits", logits_);
}

Variable AuxiliaryHead::forward(const Variable& middle) {
  return logits_.forward(dropout_.forward(conv_.forward(middle)));
}

Shape AuxiliaryHead::trace(const Shape& middle, const std::string& name, layers::Summary& summary) const {
  return logits_.trace(conv_.trace(middle, join_names(name, "conv"), summary), join_names(name, "logits"),
                       summary);
}

}  // namespace atrous::models
