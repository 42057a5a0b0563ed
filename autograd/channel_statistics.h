#pragma once

#include "atrous/core/tensor.h"

namespace atrous {

/// Mean and variance of each channel over all pixels of a tensor [N, H, W, C]: what batch_norm in training
/// computes of its x, unless what made x has them already (conv2d_with_statistics).
struct ChannelStatistics {
  Tensor mean, var;  ///< [C], f64; var divided by the number of pixels. Undefined: not known

  bool known() const { return mean.defined(); }
};

}  // namespace atrous
