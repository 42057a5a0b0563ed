#include "atrous/kernels/optimizer/optimizer.h"

#include <type_traits>

#include "atrous/kernels/for_each.h"
#include "atrous/kernels/optimizer/optimizer_body.h"
#include "atrous/kernels/optimizer/optimizer_simd.h"

namespace atrous::kernels::cpu {

template <class T>
void sgd_step(Stream, const SgdRule& r, Span<const T> gradient, Span<Accumulator<T>> velocity,
              Span<Accumulator<T>> master, Span<T> weight) {
  const SgdStep<T> step(r, gradient, velocity, master, weight);
  if constexpr (std::is_same_v<T, float>)  // is its own master
    parallel_for(weight.size(), kElementGrain, [&](std::int64_t begin, std::int64_t end) {
      simd::sgd_step(step.learning_rate, step.momentum, step.weight_decay, step.nesterov,
                     gradient.data() + begin, velocity.empty() ? nullptr : velocity.data() + begin,
                     weight.data() + begin, end - begin);
    });
  else
    for_each(weight.size(), step);
}
ATROUS_INSTANTIATE(sgd_step);

template <class T>
void adamw_step(Stream, const AdamwRule& rule, Span<const T> gradient, Span<Accumulator<T>> mean,
                Span<Accumulator<T>> square, Span<Accumulator<T>> master, Span<T> weight) {
  const AdamwFactors<Accumulator<T>> f(rule);
  if constexpr (std::is_same_v<T, float>) {
    const float factors[] = {f.shrink, f.beta1, f.beta2, f.rest1, f.rest2, f.rate, f.root, f.epsilon};
    parallel_for(weight.size(), kElementGrain, [&](std::int64_t begin, std::int64_t end) {
      simd::adamw_step(factors, gradient.data() + begin, mean.data() + begin, square.data() + begin,
                       weight.data() + begin, end - begin);
    });
  } else {
    for_each(weight.size(), AdamwStep<T>{f, gradient, mean, square, {master, weight}});
  }
}
ATROUS_INSTANTIATE(adamw_step);

}  // namespace atrous::kernels::cpu
