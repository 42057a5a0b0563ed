#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "atrous/io/preprocessing.h"
#include "atrous/layers/batch_norm.h"
#include "atrous/layers/init.h"

// Published DeepLabs differ in choices that their weight files do not record: padding, resizing,
// normalisation constants, preprocessing. Here each choice is a named field, and a source of weights is a row
// of the table in convention.cpp. A model name's suffix picks the row ("deeplab_v3_resnet50:torchvision");
// no suffix is our own row.

namespace atrous::models {

using io::Preprocessing;

/// How MobileNet's channel counts follow the width multiplier: to the nearest multiple of `divisor`, at least
/// `minimum`, a step up where that loses more than a tenth. TensorFlow's DeepLab uses {1, 1} for widths other
/// than 1. Expanded widths always go to multiples of 8.
struct WidthRounding {
  std::int64_t divisor = 8, minimum = 8;
};
std::int64_t scaled_channels(std::int64_t channels, double width, const WidthRounding& rounding);

struct Convention {
  std::string name;            ///< "atrous" for our own
  std::string padding;         ///< "symmetric": rate * (taps - 1) / 2 on every side
  bool align_corners;          ///< of every resize
  std::string branch_order;    ///< of the concatenation in ASPP
  std::int64_t output_stride;  ///< where none is asked for
  double dropout;              ///< behind the projection of ASPP
  layers::BatchNormConstants mobilenet_batch_norm, resnet_batch_norm, head_batch_norm;
  layers::Initialiser mobilenet_init, head_init;  ///< of the convolutions, but for the logits
  WidthRounding width_rounding;
  Preprocessing preprocessing;
};

/// All of them, our own first.
const std::vector<Convention>& conventions();
/// By name; "" is our own. Throws ValueError that lists the names for any other.
const Convention& convention(std::string_view name);

}  // namespace atrous::models
