#pragma once

#include <memory>

#include "atrous/core/tensor.h"

namespace atrous {

namespace detail {
struct Node;
struct GradientSlot;
}  // namespace detail

/// A tensor in a computation that can be differentiated: its value, its gradient, and the operation that made
/// it. Copies share all three. Operations on variables record themselves while gradients are wanted (see
/// NoGrad); backward() runs the record in reverse and releases it as it goes.
class Variable {
 public:
  Variable() = default;
  /// A leaf. With `requires_grad` it is a parameter or an input whose gradient is wanted; its dtype must be
  /// f32, f64 or bf16.
  explicit Variable(Tensor value, bool requires_grad = false);

  bool defined() const { return value_ != nullptr; }
  const Tensor& value() const;
  /// The value to be overwritten in place: for optimisers and loaders. Not while a graph that used it waits
  /// for backward().
  Tensor& mutable_value();
  const Shape& shape() const { return value().shape(); }
  std::int64_t dim(int axis) const { return value().dim(axis); }
  Dtype dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }
  Stream stream() const { return value().stream(); }
  double item() const { return value().item(); }

  bool requires_grad() const;
  /// Starts or stops asking for this leaf's gradient (a frozen layer). Throws ValueError on the result of an
  /// operation, DtypeError unless the leaf is f32, f64 or bf16.
  void set_requires_grad(bool wanted);
  /// The sum of the gradients of all backward() calls since zero_grad(); undefined before the first. Leaves
  /// keep it, and results of operations for which keep_grad() was called.
  const Tensor& grad() const;
  void keep_grad();
  void zero_grad();
  /// Overwrites the gradient, for tests and for clipping.
  void set_grad(Tensor grad);

  /// Adds d(this)/d(leaf) to the gradient of every leaf that this variable depends on. It must hold one
  /// element, or `seed`, of its shape, weighs its elements. The record is released: a second call throws
  /// ValueError unless `retain_graph`. If anything throws on the way, no gradient has changed, and the record
  /// is spent. Two threads may run backward() at once if their graphs share no variable that requires a
  /// gradient.
  void backward(const Tensor& seed = {}, bool retain_graph = false) const;
  /// The same value without the record.
  Variable detach() const;

 private:
  friend struct detail::Node;
  friend Variable record_result(Tensor value, std::shared_ptr<detail::Node> node);
  friend const std::shared_ptr<detail::GradientSlot>& slot_of(const Variable& v);

  std::shared_ptr<Tensor> value_;
  std::shared_ptr<detail::GradientSlot> slot_;
};

}  // namespace atrous
