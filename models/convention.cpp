#include "atrous/models/convention.h"

#include <algorithm>

#include "atrous/core/error.h"

namespace atrous::models {

const std::vector<Convention>& conventions() {
  using layers::Initialiser;
  const Preprocessing signed_unit = {.name = "x/127.5-1",
                                     .mean = {127.5, 127.5, 127.5},
                                     .deviation = {127.5, 127.5, 127.5},
                                     .pad_color = {127.5, 127.5, 127.5}};
  // x / 255, less (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225); padding is black before that.
  const Preprocessing imagenet = {.name = "imagenet",
                                  .mean = {123.675, 116.28, 103.53},
                                  .deviation = {58.395, 57.12, 57.375},
                                  .pad_color = {0, 0, 0}};
  static const std::vector<Convention> table = {
      {.name = "atrous",
       .source = "this library: TensorFlow's geometry where every size is k * output_stride + 1",
       .mobilenet_batch_norm = {.epsilon = 1e-3, .decay = 0.9},
       .resnet_batch_norm = {.epsilon = 1e-5, .decay = 0.9},
       .xception_batch_norm = {.epsilon = 1e-3, .decay = 0.9},
       .head_batch_norm = {.epsilon = 1e-5, .decay = 0.9},
       // TensorFlow's DeepLab starts MobileNet at a truncated normal of 0.09 and heads at Xavier's scale, for
       // weights that are loaded anyway. From random weights the smaller fan-in scale learns faster: a step's
       // effect on a weight in front of a batch norm goes with the inverse square of its size.
       .mobilenet_init = Initialiser::fan_in_uniform(),
       .xception_init = Initialiser::fan_in_uniform(),
       .head_init = Initialiser::fan_in_uniform(),
       .width_rounding = {.divisor = 8, .minimum = 8},
       .preprocessing = signed_unit},

      {.name = "tf",
       .source = "github.com/tensorflow/models, research/deeplab: v3, v3+ and Mobile DeepLabv3",
       .mobilenet_padding = MobilePadding::same,
       .pool_padding = PaddingRule::same,
       .strided_unit = StridedUnit::last,
       .low_level = LowLevel::inside_unit,
       .multi_grid = {1, 2, 4},
       .cascade_multi_grid = {1, 2, 1},
       .image_pooling_first = true,
       .mobilenet_batch_norm = {.epsilon = 1e-3, .decay = 0.997},
       .resnet_batch_norm = {.epsilon = 1e-5, .decay = 0.95},
       .xception_batch_norm = {.epsilon = 1e-3, .decay = 0.9997},
       .head_batch_norm = {.epsilon = 1e-5, .decay = 0.9997},
       .mobilenet_init = Initialiser::truncated_normal(0.09),
       .xception_init = Initialiser::truncated_normal(0.09),
       .head_init = Initialiser::xavier_uniform(),
       .width_rounding = {.divisor = 1, .minimum = 1},
       .preprocessing = signed_unit,
       .resnet_preprocessing = Preprocessing{.name = "imagenet mean",
                                             .mean = {123.15, 115.90, 103.06},
                                             .deviation = {1, 1, 1},
                                             .pad_color = {123.15, 115.90, 103.06}}},

      {.name = "torchvision",
       .source = "github.com/pytorch/vision, torchvision/models/segmentation",
       .mobilenet_v3_new_rate_at_once = true,
       .align_corners = false,
       .aspp_rates = {12, 24, 36},
       .mobile_branches = true,
       .refined = true,
       .auxiliary = true,
       .dropout = 0.5,
       .output_stride = 8,
       .mobilenet_batch_norm = {.epsilon = 1e-3, .decay = 0.99},
       .resnet_batch_norm = {.epsilon = 1e-5, .decay = 0.9},
       .xception_batch_norm = {.epsilon = 1e-5, .decay = 0.9},
       .head_batch_norm = {.epsilon = 1e-5, .decay = 0.9},
       .mobilenet_init = Initialiser::he_fan_out(),
       .xception_init = Initialiser::he_fan_out(),
       .head_init = Initialiser::fan_in_uniform(),
       .width_rounding = {.divisor = 8, .minimum = 8},
       .preprocessing = imagenet},

      {.name = "caffe",
       .source = "the authors' Caffe of v1 and v2, and its port github.com/kazuto1011/deeplab-pytorch",
       .ceil_pooling = true,
       .strided_conv = StridedConv::reduce,
       .dropout = 0,
       .output_stride = 8,
       .mobilenet_batch_norm = {.epsilon = 1e-5, .decay = 0.999},
       .resnet_batch_norm = {.epsilon = 1e-5, .decay = 0.999},
       .xception_batch_norm = {.epsilon = 1e-5, .decay = 0.999},
       .head_batch_norm = {.epsilon = 1e-5, .decay = 0.999},
       .mobilenet_init = Initialiser::he_fan_in(),
       .xception_init = Initialiser::he_fan_in(),
       .head_init = Initialiser::he_fan_in(),
       .width_rounding = {.divisor = 1, .minimum = 1},
       .preprocessing = {.name = "caffe mean",
                         .mean = {122.675, 116.669, 104.008},
                         .deviation = {1, 1, 1},
                         .pad_color = {122.675, 116.669, 104.008},
                         .bgr = true}},

      {.name = "vainf",
       .source = "github.com/VainF/DeepLabV3Plus-Pytorch",
       .mobilenet_padding = MobilePadding::before_expansion,
       .align_corners = false,
       .low_level_first = true,
       .mobile_branches = true,
       .refined = true,
       .decoder_convs = 1,
       .mobilenet_batch_norm = {.epsilon = 1e-5, .decay = 0.99},
       .resnet_batch_norm = {.epsilon = 1e-5, .decay = 0.99},
       .xception_batch_norm = {.epsilon = 1e-5, .decay = 0.99},
       .head_batch_norm = {.epsilon = 1e-5, .decay = 0.9},
       .mobilenet_init = Initialiser::he_fan_out(),
       .xception_init = Initialiser::he_fan_in(),
       .head_init = Initialiser::he_fan_in(),
       .width_rounding = {.divisor = 8, .minimum = 8},
       .preprocessing = imagenet},
  };
  return table;
}

const Convention& convention(std::string_view name) {
  const auto& table = conventions();
  if (name.empty()) return table.front();
  std::string known;
  for (const Convention& row : table) {
    if (row.name == name) return row;
    known += (known.empty() ? "" : ", ") + row.name;
  }
  fail<ValueError>("models", "unknown convention \"", name, "\"; known: ", known);
}

std::int64_t scaled_channels(std::int64_t channels, double width, const WidthRounding& rounding) {
  ATROUS_CHECK(ValueError, width > 0 && width <= 16, "models", "width multiplier ", width,
               " is not in (0, 16]");
  const double wanted = double(channels) * width;
  const auto steps = std::int64_t(wanted + double(rounding.divisor) / 2) / rounding.divisor;
  const std::int64_t rounded = std::max(rounding.minimum, steps * rounding.divisor);
  return double(rounded) < 0.9 * wanted ? rounded + rounding.divisor : rounded;
}

}  // namespace atrous::models
