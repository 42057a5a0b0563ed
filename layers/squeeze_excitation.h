#pragma once

#include "atrous/layers/conv2d.h"

namespace atrous::layers {

/// Squeeze and excitation: each channel times a factor that is a function of the whole image.
///
///   y = x * hard_sigmoid(fc2(relu(fc1(mean of x))))
///
/// fc1 and fc2 are 1x1 convolutions with bias, from C channels to `squeezed` and back. Children: fc1, fc2.
/// Source: Hu et al., "Squeeze-and-excitation networks", CVPR 2018; the hard sigmoid of Howard et al.,
/// "Searching for MobileNetV3", ICCV 2019.
class SqueezeExcitation : public Layer {
 public:
  SqueezeExcitation(std::int64_t channels, std::int64_t squeezed, const Initialiser& init);

  Variable forward(const Variable& x) override;
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;

 private:
  Conv2d fc1_, fc2_;
};

}  // namespace atrous::layers
