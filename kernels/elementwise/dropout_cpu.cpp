#include "atrous/kernels/elementwise/dropout.h"

#include <algorithm>

#include "atrous/kernels/elementwise/dropout_body.h"
#include "atrous/kernels/for_each.h"

namespace atrous::kernels::cpu {

template <class T>
void dropout_forward(Stream, const DropoutRule& rule, Span<const T> x, Span<T> y) {
  for_each((y.size() + 3) / 4, DropoutFour<T>{DropoutFactor<T>(rule), rule.seed, rule.call, x, y});
}
ATROUS_INSTANTIATE(dropout_forward);

template <class T>
void channel_dropout_forward(Stream, const DropoutRule& rule, const ChannelDropoutDims& dims, Span<const T> x,
                             Span<T> factors, Span<T> y) {
  const DropoutFactor<T> factor(rule);
  for (std::int64_t i = 0; i < factors.size(); ++i)
    factors[i] = factor(random_bits(rule.seed, rule.call, std::uint64_t(i)));
  for_each_row(dims.batch * dims.pixels, dims.channels, ChannelDropoutPixel<T>{dims, x, factors, y});
}
ATROUS_INSTANTIATE(channel_dropout_forward);

}  // namespace atrous::kernels::cpu
