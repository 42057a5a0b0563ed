#include "atrous/layers/step_lr.h"

#include <cmath>

#include "atrous/core/error.h"

namespace atrous::layers {

double step_lr(double base, std::int64_t step, std::int64_t every, double factor) {
  ATROUS_CHECK(ValueError, step >= 0 && every >= 1, "step_lr", "step ", step, ", a fall every ", every);
  return base * std::pow(factor, double(step / every));
}

}  // namespace atrous::layers
