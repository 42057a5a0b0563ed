#pragma once

#include <memory>

#include "atrous/layers/layer.h"

namespace atrous::layers {

/// Layers one after the other. Names are "0", "1", ... unless given.
class Sequential : public Layer {
 public:
  /// Makes a layer of type L behind the others and returns it.
  template <class L, class... Args>
  L& add(Args&&... args) {
    return add_named<L>(std::to_string(steps_.size()), std::forward<Args>(args)...);
  }
  template <class L, class... Args>
  L& add_named(std::string name, Args&&... args) {
    auto layer = std::make_unique<L>(std::forward<Args>(args)...);
    L& result = *layer;
    append(std::move(name), std::move(layer));
    return result;
  }
  void append(std::string name, std::unique_ptr<Layer> layer);

  std::size_t size() const { return steps_.size(); }
  Layer& operator[](std::size_t i) { return *steps_.at(i).layer; }

  Variable forward(const Variable& x) override;
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;

 private:
  struct Step {
    std::string name;
    std::unique_ptr<Layer> layer;
  };
  std::vector<Step> steps_;
};

}  // namespace atrous::layers
