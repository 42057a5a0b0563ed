#pragma once

#include <cstdint>
#include <string_view>

#include "atrous/core/tensor.h"

// How parameters start. Every element is a function of the seed, the parameter's name and the element's index
// alone, so a layer that is added elsewhere, the order of construction and the number of threads change
// nothing.

namespace atrous::layers {

enum class InitKind {
  constant,          ///< `value` everywhere
  truncated_normal,  ///< normal with deviation `value`, drawn again beyond 2 deviations (TensorFlow's
                     ///< DeepLab)
  he_fan_in,         ///< normal with variance 2 / fan_in (He et al., ICCV 2015)
  he_fan_out,        ///< normal with variance 2 / fan_out (torchvision's ResNet)
  fan_in_uniform,    ///< uniform in +-1 / sqrt(fan_in), the scale of LeCun et al., "Efficient BackProp", 1998
                     ///< (PyTorch's default)
  xavier_uniform     ///< uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010)
};

/// Fans count the taps of one output or input: a convolution [R, S, C, K] has fan_in R S C and fan_out R S K;
/// a depthwise one [R, S, C, M] has fan_in R S and fan_out R S M (`depthwise`).
struct Initialiser {
  InitKind kind = InitKind::constant;
  double value = 0;
  bool depthwise = false;

  static Initialiser constant(double v) { return {InitKind::constant, v}; }
  static Initialiser truncated_normal(double deviation) { return {InitKind::truncated_normal, deviation}; }
  static Initialiser he_fan_in() { return {InitKind::he_fan_in}; }
  static Initialiser he_fan_out() { return {InitKind::he_fan_out}; }
  static Initialiser fan_in_uniform() { return {InitKind::fan_in_uniform}; }
  static Initialiser xavier_uniform() { return {InitKind::xavier_uniform}; }
};

/// Overwrites `t` (f32 or f64). Throws ShapeError if the kind needs fans and t has not four axes.
void initialise(Tensor& t, const Initialiser& init, std::uint64_t seed, std::string_view name);

/// A stream of random.h for a name: its FNV-1a hash.
std::uint64_t stream_of(std::string_view name);

}  // namespace atrous::layers
