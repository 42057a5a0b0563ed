#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "atrous/layers/module.h"

// What all optimisers share: parameters with their own settings, state by parameter name, and the refusal of
// a step with a gradient that is not finite.

namespace atrous::layers {

/// What one parameter gets: its learning rate is the optimiser's times `lr_multiplier`; `weight_decay` is the
/// factor of w in the gradient (SGD) or of lr * w in the step (AdamW).
struct ParameterSettings {
  double lr_multiplier = 1;
  double weight_decay = 0;
};
using ParameterRule = std::function<ParameterSettings(const Parameter&)>;

/// Weight decay for dense convolutions' weights (1x1 included) and for nothing else: depthwise weights, batch
/// norms and biases shrink to no purpose (as in TensorFlow's DeepLab).
ParameterRule decay_conv_weights(double weight_decay);

/// Whether a step was taken. If not, nothing has changed: neither parameters nor state.
struct StepReport {
  bool applied = true;
  std::string non_finite;  ///< the first parameter whose gradient has an infinity or a NaN
  explicit operator bool() const { return applied; }
};

/// A tensor of an optimiser's state by name ("momentum.backbone.stem.weight").
using NamedState = std::vector<std::pair<std::string, Tensor>>;

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Moves every parameter that has a gradient and wants one. The gradients stay: see zero_grad().
  StepReport step();
  void zero_grad();

  /// The learning rate of the next step.
  double lr() const { return lr_; }
  void set_lr(double lr);

  /// Everything that the next step depends on but parameters, gradients and learning rate. The tensors are
  /// the optimiser's own: clone() what must not change.
  virtual NamedState state() const = 0;
  /// Replaces the state. Names, shapes and dtypes are checked first (ValueError, ShapeError, DtypeError).
  void load_state(const NamedState& state);

 protected:
  struct Slot {
    std::string name;
    Variable variable;
    ParameterSettings settings;
  };
  Optimizer(const std::vector<Parameter>& parameters, double lr, const ParameterRule& rule);

  /// Before any update() of a step that will be applied.
  virtual void begin_step() {}
  virtual void update(std::size_t i, const Slot& slot, const Tensor& gradient) = 0;
  const std::vector<Slot>& slots() const { return slots_; }
  /// The master of slot i's weight in Accumulator<T> (kernels/optimizer says what for); empty unless that is
  /// wider than the weight.
  template <class A>
  Span<A> master(std::size_t i) {
    return masters_[i].defined() ? masters_[i].template span<A>() : Span<A>();
  }
  /// Adds "master.<parameter>" for every weight that has one.
  void append_masters(NamedState& state) const;

 private:
  std::vector<Slot> slots_;
  std::vector<Tensor> masters_;  // one for each slot
  double lr_;
};

}  // namespace atrous::layers
