#pragma once

#include <functional>
#include <memory>
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

/// The result of an operation as a variable. If gradients are being recorded and some input requires one,
/// `backward` is kept and called by Variable::backward(). `inputs` lists the variables by the roles of
/// ops.inc; an undefined one is an absent input. The lambda should capture only what it reads: everything it
/// holds stays alive until then.
Variable record(Op op, Tensor y, const std::vector<Variable>& inputs, Backward backward);

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

/// Whether an operation on these inputs will be recorded: an op asks this before it keeps or computes what
/// only backward needs.
bool wants_grad(const std::vector<Variable>& inputs);

}  // namespace atrous
