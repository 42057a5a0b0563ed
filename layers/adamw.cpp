#include "atrous/layers/adamw.h"

#include "atrous/core/error.h"
#include "atrous/kernels/optimizer/optimizer.h"

namespace atrous::layers {

AdamW::AdamW(const std::vector<Parameter>& parameters, const AdamWOptions& options, const ParameterRule& rule)
    : Optimizer(parameters, options.lr, rule), options_(options), step_(Tensor::zeros({1}, Dtype::i64)) {
  ATROUS_CHECK(ValueError,
               options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1 &&
                   options.epsilon > 0,
               "adamw", "beta1 ", options.beta1, ", beta2 ", options.beta2, ", epsilon ", options.epsilon);
  for (const Slot& slot : slots()) {
    const Dtype dtype = accumulator_dtype(slot.variable.dtype());
    m_.push_back(Tensor::zeros(slot.variable.shape(), dtype, slot.variable.device()));
    v_.push_back(Tensor::zeros(slot.variable.shape(), dtype, slot.variable.device()));
  }
}

NamedState AdamW::state() const {
  NamedState all = {{"adamw.step", step_}};
  for (std::size_t i = 0; i < slots().size(); ++i) {
    all.emplace_back("adamw.m." + slots()[i].name, m_[i]);
    all.emplace_back("adamw.v." + slots()[i].name, v_[i]);
  }
  append_masters(all);
  return all;
}

void AdamW::update(std::size_t i, const Slot& slot, const Tensor& gradient) {
  Variable w = slot.variable;
  visit_float(w.dtype(), [&]<class T>() {
    kernels::adamw_step<T>(w.stream(),
                           {.learning_rate = lr() * slot.settings.lr_multiplier,
                            .beta1 = options_.beta1,
                            .beta2 = options_.beta2,
                            .epsilon = options_.epsilon,
                            .weight_decay = slot.settings.weight_decay,
                            .step = step_.span<std::int64_t>()[0]},
                           gradient.span<T>(), m_[i].span<Accumulator<T>>(), v_[i].span<Accumulator<T>>(),
                           master<Accumulator<T>>(i), w.mutable_value().span<T>());
  });
}

}  // namespace atrous::layers
