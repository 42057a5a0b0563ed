#pragma once

#include <array>
#include <string>

#include "atrous/core/tensor.h"

namespace atrous::io {

/// What happens to an image before the network: y = (x - mean) / deviation for red, green, blue, x in 0..255,
/// in that order or, for networks from Caffe, with blue first. Weights are worth nothing without it, so
/// checkpoints carry it.
struct Preprocessing {
  std::string name = "x/127.5-1";
  std::array<double, 3> mean{127.5, 127.5, 127.5}, deviation{127.5, 127.5, 127.5};
  std::array<double, 3> pad_color{127.5, 127.5, 127.5};  ///< of pixels added to reach a size, in 0..255
  bool bgr = false;  ///< the network's channels are blue, green, red; the numbers above stay red, green, blue
  bool operator==(const Preprocessing&) const = default;
};

/// Images in 0..255 as a network takes them.
///   image    [N, H, W, 3], u8, or f32 in 0..255
///   returns  [N, H, W, 3], f32
/// Throws ShapeError for another shape, DtypeError for another type.
Tensor preprocess(const Tensor& image, const Preprocessing& how);

}  // namespace atrous::io
