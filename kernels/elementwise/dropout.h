#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// Dropout: which elements survive is a function of (seed, call, index) alone (core/random.h), so no mask is
// stored: backward draws it again. It is the same on every device and for every number of threads.

namespace atrous::kernels {

/// Element i is dropped if uniform(seed, call, i) < probability; one that is kept is multiplied by
/// 1 / (1 - probability), so that the expected value stays.
struct DropoutRule {
  double probability;  ///< in [0, 1]
  std::uint64_t seed;
  std::uint64_t call;  ///< the stream of random numbers: another mask for each value
};

/// Sizes for whole channels: x is [batch, pixels, channels].
struct ChannelDropoutDims {
  std::int64_t batch, pixels, channels;
};

/// y[i] = x[i] / (1 - probability) where i is kept, else 0 (even if x[i] is not finite). Its own backward.
ATROUS_KERNEL(dropout_forward, const DropoutRule& rule, Span<const T> x, Span<T> y);

/// Drops whole channels of a sample: y[n,p,c] = mask[n,c] * x[n,p,c], the mask drawn at index n*channels + c.
/// Its own backward.
///   factors  [batch, channels], scratch
ATROUS_KERNEL(channel_dropout_forward, const DropoutRule& rule, const ChannelDropoutDims& dims,
              Span<const T> x, Span<Accumulator<T>> factors, Span<T> y);

}  // namespace atrous::kernels
