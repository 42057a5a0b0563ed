#include "atrous/layers/optimizer.h"

#include <cmath>
#include <unordered_map>

#include "atrous/core/error.h"
#include "atrous/kernels/reduce/reduce.h"

namespace atrous::layers {
namespace {

bool all_finite(const Tensor& t) {
  Tensor result = Tensor::empty({1}, Dtype::f64);
  Tensor scratch = Tensor::empty({kernels::reduce_workspace_size(t.numel())}, Dtype::f64);
  visit_float(t.dtype(), [&]<class T>() {
    kernels::all_finite<T>(t.stream(), t.span<T>(), scratch.span<double>(), result.span<double>());
  });
  return result.item() != 0;
}

}  // namespace

ParameterRule decay_conv_weights(double weight_decay) {
  return [weight_decay](const Parameter& p) {
    return ParameterSettings{.weight_decay = p.kind == ParameterKind::conv_weight ? weight_decay : 0};
  };
}

Optimizer::Optimizer(const std::vector<Parameter>& parameters, double lr, const ParameterRule& rule) {
  set_lr(lr);
  for (const Parameter& p : parameters) slots_.push_back({p.name, p.variable, rule(p)});
}

void Optimizer::set_lr(double lr) {
  ATROUS_CHECK(ValueError, std::isfinite(lr) && lr >= 0, "optimizer", "a learning rate of ", lr);
  lr_ = lr;
}

StepReport Optimizer::step() {
  const auto moves = [](const Slot& slot) {
    return slot.variable.requires_grad() && slot.variable.grad().defined();
  };
  for (const Slot& slot : slots_)
    if (moves(slot) && !all_finite(slot.variable.grad())) return {.applied = false, .non_finite = slot.name};
  begin_step();
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (moves(slots_[i])) update(i, slots_[i], slots_[i].variable.grad());
  return {};
}

void Optimizer::zero_grad() {
  for (Slot& slot : slots_) slot.variable.zero_grad();
}

void Optimizer::load_state(const NamedState& state) {
  NamedState own = this->state();
  std::unordered_map<std::string, const Tensor*> given;
  for (const auto& [name, tensor] : state) given[name] = &tensor;
  for (const auto& [name, tensor] : own) {
    const auto found = given.find(name);
    ATROUS_CHECK(ValueError, found != given.end(), "optimizer", "the state lacks \"", name, '"');
    ATROUS_CHECK(ShapeError, found->second->shape() == tensor.shape(), "optimizer", "wanted \"", name, "\" ",
                 tensor.shape(), ", the state has ", found->second->shape());
    ATROUS_CHECK(DtypeError, found->second->dtype() == tensor.dtype(), "optimizer", "wanted \"", name,
                 "\" of ", tensor.dtype(), ", the state has ", found->second->dtype());
  }
  ATROUS_CHECK(ValueError, given.size() == own.size(), "optimizer", "the state has ", given.size(),
               " tensors, this optimiser ", own.size());
  for (auto& [name, tensor] : own) tensor.copy_from(*given.at(name));
}

}  // namespace atrous::layers
