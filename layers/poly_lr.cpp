#include "atrous/layers/poly_lr.h"

#include <cmath>

#include "atrous/core/error.h"

namespace atrous::layers {

double poly_lr(double base, std::int64_t step, std::int64_t steps, double power) {
  ATROUS_CHECK(ValueError, step >= 0 && steps >= 1, "poly_lr", "step ", step, " of ", steps);
  if (step >= steps) return 0;
  return base * std::pow(1.0 - double(step) / double(steps), power);
}

}  // namespace atrous::layers
