#include "atrous/layers/sequential.h"

namespace atrous::layers {

void Sequential::append(std::string name, std::unique_ptr<Layer> layer) {
  add_child(name, *layer);
  steps_.push_back({std::move(name), std::move(layer)});
}

Variable Sequential::forward(const Variable& x) {
  Variable y = x;
  for (const Step& step : steps_) y = step.layer->forward(y);
  return y;
}

Shape Sequential::trace(const Shape& x, const std::string& name, Summary& summary) const {
  Shape y = x;
  for (const Step& step : steps_) y = step.layer->trace(y, join_names(name, step.name), summary);
  return y;
}

}  // namespace atrous::layers
