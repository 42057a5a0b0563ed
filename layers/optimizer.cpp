#include "atrous/layers/optimizer.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "atrous/core/dry_run.h"
#include "atrous/core/error.h"
#include "atrous/kernels/reduce/reduce.h"

namespace atrous::layers {
namespace {

// The number of the first tensor that holds an infinity or a NaN, or -1. The answers of a device are read at
// once: on a CUDA device that is the step's only wait.
std::int64_t first_not_finite(const std::vector<Tensor>& tensors) {
  const auto count = std::int64_t(tensors.size());
  std::int64_t scratch_size = 0;
  for (const Tensor& t : tensors)
    scratch_size = std::max(scratch_size, kernels::reduce_workspace_size(t.numel()));
  struct OfDevice {
    Tensor finite, scratch;
    std::vector<std::int64_t> tensors;  // those that lie there
  };
  std::vector<OfDevice> devices;
  const auto of = [&](Device device) -> OfDevice& {
    for (OfDevice& d : devices)
      if (d.finite.device() == device) return d;
    devices.push_back(
        {Tensor::empty({count}, Dtype::f64, device), Tensor::empty({scratch_size}, Dtype::f64, device), {}});
    return devices.back();
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const Tensor& t = tensors[std::size_t(i)];
    OfDevice& own = of(t.device());
    own.tensors.push_back(i);
    visit_float(t.dtype(), [&]<class T>() {
      kernels::all_finite<T>(t.stream(), t.span<T>(), own.scratch.span<double>(),
                             own.finite.span<double>().part(i, 1));
    });
  }
  if (in_dry_run()) return -1;
  std::int64_t first = count;
  for (const OfDevice& d : devices) {
    const Tensor answers = d.finite.to(kCpu);
    for (const std::int64_t i : d.tensors)
      if (answers.span<double>()[i] == 0) first = std::min(first, i);
  }
  return first < count ? first : -1;
}

}  // namespace

ParameterRule decay_conv_weights(double weight_decay) {
  return [weight_decay](const Parameter& p) {
    return ParameterSettings{.weight_decay = p.kind == ParameterKind::conv_weight ? weight_decay : 0};
  };
}

Optimizer::Optimizer(const std::vector<Parameter>& parameters, double lr, const ParameterRule& rule) {
  set_lr(lr);
  for (const Parameter& p : parameters) {
    const Tensor& weight = p.variable.value();
    const Dtype wide = accumulator_dtype(weight.dtype());
    slots_.push_back({p.name, p.variable, rule(p)});
    masters_.push_back(wide == weight.dtype() ? Tensor() : weight.to(wide));
  }
}

void Optimizer::append_masters(NamedState& state) const {
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (masters_[i].defined()) state.emplace_back("master." + slots_[i].name, masters_[i]);
}

void Optimizer::set_lr(double lr) {
  ATROUS_CHECK(ValueError, std::isfinite(lr) && lr >= 0, "optimizer", "a learning rate of ", lr);
  lr_ = lr;
}

StepReport Optimizer::step() {
  const auto moves = [](const Slot& slot) {
    return slot.variable.requires_grad() && slot.variable.grad().defined();
  };
  std::vector<std::size_t> moving;
  std::vector<Tensor> gradients;
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (moves(slots_[i])) {
      moving.push_back(i);
      gradients.push_back(slots_[i].variable.grad());
    }
  if (const std::int64_t bad = first_not_finite(gradients); bad >= 0)
    return {.applied = false, .non_finite = slots_[moving[std::size_t(bad)]].name};
  begin_step();
  for (std::size_t k = 0; k < moving.size(); ++k) update(moving[k], slots_[moving[k]], gradients[k]);
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
