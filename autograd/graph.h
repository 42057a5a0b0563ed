#pragma once

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "atrous/autograd/op.h"
#include "atrous/autograd/variable.h"

// The record of a computation, and its run in reverse. graph.cpp is the only place that adds gradients up: a
// backward function overwrites fresh tensors and need not know whether an input is used elsewhere.

namespace atrous {

/// What a backward function hands its results to: one gradient for each input of the operation.
class Gradients {
 public:
  explicit Gradients(const detail::Node& node);

  /// Whether anybody wants the gradient of input i: it was wanted when the operation was recorded, and still
  /// is. False for absent inputs.
  bool needed(int i) const;
  /// A tensor shaped like input i, elements undefined, to be overwritten with its gradient: it is handed on
  /// after the call.
  Tensor empty(int i);
  /// Hands on an existing tensor as the gradient of input i (its shape and dtype, not to be changed
  /// afterwards).
  void set(int i, Tensor gradient);

 private:
  friend class BackwardPass;
  detail::GradientSlot& slot(int i) const;

  const detail::Node& node_;
  std::vector<Tensor> results_;
};

/// Computes the gradients of an operation's inputs from dy, the gradient of its output.
using Backward = std::function<void(const Tensor& dy, Gradients& grads)>;

/// The variables that an operation takes, for the length of a call: in braces, or a vector of them.
class Inputs {
 public:
  Inputs(std::initializer_list<Variable> list) { begin_ = list.begin(), size_ = list.size(); }
  template <class Allocator>
  Inputs(const std::vector<Variable, Allocator>& list) : begin_(list.data()), size_(list.size()) {}

  const Variable* begin() const { return begin_; }
  const Variable* end() const { return begin_ + size_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const Variable& operator[](std::size_t i) const { return begin_[i]; }

 private:
  const Variable* begin_;
  std::size_t size_;
};

/// Whether an operation on these inputs will be recorded: an op asks this before it keeps or computes what
/// only backward needs.
bool wants_grad(const Inputs& inputs);

/// record() where wants_grad(inputs).
Variable record_node(Op op, Tensor y, const Inputs& inputs, Backward backward);

/// The result of an operation as a variable. If gradients are being recorded and some input requires one,
/// `backward` is kept and called by Variable::backward(). `inputs` lists the variables by the roles of
/// ops.inc; an undefined one is an absent input. The lambda should capture only what it reads: everything it
/// holds stays alive until then.
template <class Function>
Variable record(Op op, Tensor y, const Inputs& inputs, Function&& backward) {
  if (!wants_grad(inputs)) return Variable(std::move(y));
  return record_node(op, std::move(y), inputs, std::forward<Function>(backward));
}

/// Whether operations are being recorded in this thread.
bool grad_enabled();

/// While one lives, operations of this thread record nothing: for inference and for updates of parameters.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

}  // namespace atrous
