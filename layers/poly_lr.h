#pragma once

#include <cstdint>

namespace atrous::layers {

/// The "poly" policy of DeepLab: base * (1 - step / steps)^power. `step` counts from 0; from `steps` on the
/// rate is 0. Throws ValueError for a negative step or steps < 1.
/// Source: Chen et al., "DeepLab", TPAMI 2018, section 4.1.2.
double poly_lr(double base, std::int64_t step, std::int64_t steps, double power = 0.9);

}  // namespace atrous::layers
