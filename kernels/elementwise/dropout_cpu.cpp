#include "atrous/kernels/elementwise/dropout.h"

#include <algorithm>
#include <type_traits>

#include "atrous/kernels/elementwise/dropout_body.h"
#include "atrous/kernels/elementwise/elementwise_simd.h"
#include "atrous/kernels/for_each.h"

namespace atrous::kernels::cpu {

template <class T>
void dropout_forward(Stream, const DropoutRule& rule, Span<const T> x, Span<T> y) {
  const DropoutFactor<Accumulator<T>> factor(rule);
  const std::int64_t groups = (y.size() + 3) / 4;
  if constexpr (std::is_same_v<T, float>)
    parallel_for(groups, kElementGrain / 16, [&](std::int64_t begin, std::int64_t end) {
      simd::dropout_forward(factor.threshold, factor.kept, rule.seed, rule.call, begin, x.data(), y.data(),
                            std::min(4 * end, y.size()) - 4 * begin);
    });
  else
    for_each(groups, DropoutFour<T>{factor, rule.seed, rule.call, x, y});
}
ATROUS_INSTANTIATE(dropout_forward);

template <class T>
void channel_dropout_forward(Stream, const DropoutRule& rule, const ChannelDropoutDims& dims, Span<const T> x,
                             Span<Accumulator<T>> factors, Span<T> y) {
  const DropoutFactor<Accumulator<T>> factor(rule);
  for (std::int64_t i = 0; i < factors.size(); ++i)
    factors[i] = factor(random_bits(rule.seed, rule.call, std::uint64_t(i)));
  for_each_row(dims.batch * dims.pixels, dims.channels, ChannelDropoutPixel<T>{dims, x, factors, y});
}
ATROUS_INSTANTIATE(channel_dropout_forward);

}  // namespace atrous::kernels::cpu
