#pragma once

#include <string>

#include "atrous/core/dtype.h"
#include "atrous/core/verbose.h"
#include "atrous/kernels/conv2d/direct.h"

// What ATROUS_VERBOSE=dispatch tells of convolutions.

namespace atrous::kernels {

/// Says once: "conv2d forward f32 [1, 65, 65, 512], window 3x3x512, stride 1x1, rate 4x4: winograd".
void say_dispatch(const char* direction, Dtype dtype, const Conv2dDims& dims, const std::string& chosen);

inline const char* name_of(Gather direction) {
  return direction == Gather::forward ? "forward" : "backward_input";
}

}  // namespace atrous::kernels
