#pragma once

#include "atrous/layers/layer.h"

namespace atrous::layers {

/// Dropout in training mode, nothing in evaluation mode: elements (or whole channels of a sample) become 0
/// with the given probability, the others are divided by 1 - probability.
///
/// The mask is a function of (seed, number of the call). Both lie in the buffer "state" (i64 [2], a counter),
/// so a training run that is saved and resumed draws the masks of the uninterrupted one. initialise() derives
/// the seed from the model's and the layer's name and starts again at call 0.
class Dropout : public Layer {
 public:
  /// Throws ValueError unless 0 <= probability < 1.
  explicit Dropout(double probability, bool channelwise = false);

  Variable forward(const Variable& x) override;
  Shape trace(const Shape& x, const std::string&, Summary&) const override { return x; }

 protected:
  void set_seed(std::uint64_t seed, const std::string& name) override;

 private:
  double probability_;
  bool channelwise_;
  Tensor& state_;
};

}  // namespace atrous::layers
