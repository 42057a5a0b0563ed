#include "atrous/layers/sgd.h"

#include "atrous/core/error.h"
#include "atrous/kernels/optimizer/optimizer.h"

namespace atrous::layers {

Sgd::Sgd(const std::vector<Parameter>& parameters, const SgdOptions& options, const ParameterRule& rule)
    : Optimizer(parameters, options.lr, rule), options_(options) {
  ATROUS_CHECK(ValueError, options.momentum >= 0 && options.momentum < 1, "sgd", "a momentum of ",
               options.momentum, " is not in [0, 1)");
  for (const Slot& slot : slots())
    momentum_.push_back(Tensor::zeros(slot.variable.shape(), accumulator_dtype(slot.variable.dtype()),
                                      slot.variable.device()));
}

NamedState Sgd::state() const {
  NamedState all;
  for (std::size_t i = 0; i < slots().size(); ++i)
    all.emplace_back("momentum." + slots()[i].name, momentum_[i]);
  append_masters(all);
  return all;
}

void Sgd::update(std::size_t i, const Slot& slot, const Tensor& gradient) {
  Variable w = slot.variable;
  visit_float(w.dtype(), [&]<class T>() {
    kernels::sgd_step<T>(w.stream(),
                         {.learning_rate = lr() * slot.settings.lr_multiplier,
                          .momentum = options_.momentum,
                          .weight_decay = slot.settings.weight_decay,
                          .nesterov = options_.nesterov},
                         gradient.span<T>(), momentum_[i].span<Accumulator<T>>(), master<Accumulator<T>>(i),
                         w.mutable_value().span<T>());
  });
}

}  // namespace atrous::layers
