#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "atrous/io/preprocessing.h"
#include "atrous/kernels/window.h"
#include "atrous/layers/batch_norm.h"
#include "atrous/layers/init.h"

// Published DeepLabs differ in choices that their weight files do not record: padding, where strides sit,
// resizing, the order of concatenations, normalisation constants, preprocessing. Here each choice is a named
// field, and a source of weights is a row of the table in convention.cpp. A model name's suffix picks the row
// ("deeplab_v3_resnet50:torchvision"); no suffix is our own row.

namespace atrous::models {

using io::Preprocessing;

/// How channel counts follow the width multiplier: to the nearest multiple of `divisor`, at least `minimum`,
/// a step up where that loses more than a tenth. TensorFlow's DeepLab uses
/// {1, 1}. MobileNetV2's expanded widths always go to multiples of 8.
struct WidthRounding {
  std::int64_t divisor = 8, minimum = 8;
};
std::int64_t scaled_channels(std::int64_t channels, double width, const WidthRounding& rounding);

/// Which unit of a ResNet's stage halves the resolution, and which of its convolutions does so in a
/// bottleneck. A unit that has lost its stride to the output stride keeps the rate before it up to the place
/// of the stride; what lies behind sees the new one. So the function is that of the strided network, and with
/// the stride on the 1x1 every 3x3 of the stage has the new rate.
enum class StridedUnit { first, last };
enum class StridedConv { reduce, spatial };  ///< the leading 1x1, or the 3x3

/// Where the decoder of v3+ takes its low-level features.
enum class LowLevel {
  unit_output,  ///< the last unit's output at stride 4, after the addition and its relu
  inside_unit   ///< TensorFlow's: ResNet block1/unit_2/conv3 before the addition, MobileNetV2's third
                ///< depthwise convolution
};

/// The padding of MobileNetV2.
enum class MobilePadding {
  symmetric,
  same,             ///< TensorFlow's SAME
  before_expansion  ///< VainF's: zeros around a block's input, before the 1x1 that expands it, so that the
                    ///< depthwise convolution reads relu6(beta') there; none around the image
};

struct Convention {
  std::string name;    ///< "atrous" for our own
  std::string source;  ///< whose weights these are

  // Geometry of the backbones.
  MobilePadding mobilenet_padding = MobilePadding::symmetric;
  PaddingRule pool_padding = PaddingRule::symmetric;  ///< of the 3x3 max pooling of ResNet
  bool ceil_pooling = false;                          ///< a last, ragged window counts (Caffe)
  StridedUnit strided_unit = StridedUnit::first;
  StridedConv strided_conv = StridedConv::spatial;
  LowLevel low_level = LowLevel::unit_output;
  /// Of MobileNetV3: whether a depthwise convolution that has lost its stride already has the new rate, as in
  /// torchvision, which is another function than the strided network's.
  bool mobilenet_v3_new_rate_at_once = false;
  /// Factors on the rates of a stage's units: of the last stage, and of stages 4 to 7 of the cascade. Empty:
  /// all 1.
  std::vector<std::int64_t> multi_grid = {}, cascade_multi_grid = {};

  // The heads.
  bool align_corners = true;         ///< of every resize; false: half-pixel centres
  bool image_pooling_first = false;  ///< of ASPP's branches: image pooling, 1x1, rates; else it is the last
  bool low_level_first = false;      ///< in the decoder: low-level features, then the pyramid's
  std::vector<std::int64_t> aspp_rates = {};  ///< whatever the output stride; empty: 6, 12, 18 at 16
  bool mobile_branches = false;  ///< v3 on MobileNets has the atrous branches, not just 1x1 and pooling
  bool refined = false;          ///< v3 has one more 3x3 between pyramid and logits
  int decoder_convs = 2;         ///< 3x3 convolutions of the decoder of v3+
  bool auxiliary = false;        ///< a second classifier on the middle features, for the loss alone
  double dropout = 0.1;          ///< behind the projection of ASPP
  /// Of v3 and v3+ where none is asked for, and of those on MobileNets.
  std::int64_t output_stride = 16, mobile_output_stride = 16;

  // Numbers.
  layers::BatchNormConstants mobilenet_batch_norm, resnet_batch_norm, xception_batch_norm, head_batch_norm;
  layers::Initialiser mobilenet_init, xception_init, head_init;  ///< of the convolutions, but for the logits
  WidthRounding width_rounding;
  Preprocessing preprocessing;
  std::optional<Preprocessing> resnet_preprocessing = {};  ///< of ResNets with the 7x7 stem, if another
};

/// All of them, our own first.
const std::vector<Convention>& conventions();
/// By name; "" is our own. Throws ValueError that lists the names for any other.
const Convention& convention(std::string_view name);

}  // namespace atrous::models
