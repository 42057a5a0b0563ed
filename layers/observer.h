#pragma once

#include <functional>

#include "atrous/layers/module.h"

// A look at what every layer gives, without changing the model: for comparing a network with another one
// layer by layer.

namespace atrous::layers {

/// Sees the output of every layer that runs in this thread while it lives. One that is made within another's
/// life takes its place until it goes.
class ForwardObserver {
 public:
  using Callback = std::function<void(const Module& layer, const Variable& output)>;
  explicit ForwardObserver(Callback callback);
  ~ForwardObserver();
  ForwardObserver(const ForwardObserver&) = delete;
  ForwardObserver& operator=(const ForwardObserver&) = delete;

 private:
  friend Variable observed(const Module& layer, Variable output);
  Callback callback_;
  ForwardObserver* before_;
};

/// Whether anybody looks: then no two layers are run as one.
bool observing();

/// What a layer returns from forward(): the output, after the observer has seen it.
Variable observed(const Module& layer, Variable output);

}  // namespace atrous::layers
