#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// A factor for each channel of each image: how squeeze-and-excitation and LR-ASPP weigh feature maps.

namespace atrous::kernels {

/// x and y are [batch, pixels, channels], a factor is [batch, channels].
struct ScaleChannelsDims {
  std::int64_t batch, pixels, channels;
};

/// y[n,p,c] = factors[n,c] * x[n,p,c]. With dy for x: dx.
ATROUS_KERNEL(scale_channels_forward, const ScaleChannelsDims& dims, Span<const T> x, Span<const T> factors,
              Span<T> y);

/// dfactors[n,c] = sum over p of dy[n,p,c] * x[n,p,c], in the order of p, in double.
ATROUS_KERNEL(scale_channels_backward_factors, const ScaleChannelsDims& dims, Span<const T> x,
              Span<const T> dy, Span<T> dfactors);

}  // namespace atrous::kernels
