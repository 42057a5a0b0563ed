#pragma once

#include <cstdint>

#include "atrous/models/backbone.h"

namespace atrous::models {

struct HeadOptions {
  std::int64_t classes = 21;
  std::int64_t output_stride = 16;
  const Convention* convention = nullptr;
};

/// The part of a model behind the backbone: features to logits. Its last layer is the child "logits", the
/// only one whose size depends on the number of classes.
class Head : public layers::Module {
 public:
  virtual Variable forward(const Features& features) = 0;
  virtual Shape trace(const FeatureShapes& features, const std::string& name,
                      layers::Summary& summary) const = 0;
};

}  // namespace atrous::models
