#include "atrous/models/convention.h"

#include <algorithm>

#include "atrous/core/error.h"

namespace atrous::models {

const std::vector<Convention>& conventions() {
  // Other sources of weights (torchvision, Caffe) get a row here with their import.
  static const std::vector<Convention> table = {
      {.name = "atrous",
       .padding = "symmetric",
       .align_corners = true,
       .branch_order = "1x1, rates, image pooling",
       .output_stride = 16,
       .dropout = 0.1,
       .mobilenet_batch_norm = {.epsilon = 1e-3, .decay = 0.9},
       .resnet_batch_norm = {.epsilon = 1e-5, .decay = 0.9},
       .head_batch_norm = {.epsilon = 1e-5, .decay = 0.9},
       // TensorFlow's DeepLab starts MobileNet at a truncated normal of 0.09 and heads at Xavier's scale, for
       // weights that are loaded anyway. From random weights the smaller fan-in scale learns faster: a step's
       // effect on a weight in front of a batch norm goes with the inverse square of its size.
       .mobilenet_init = layers::Initialiser::fan_in_uniform(),
       .head_init = layers::Initialiser::fan_in_uniform(),
       .width_rounding = {.divisor = 8, .minimum = 8},
       .preprocessing = {.name = "x/127.5-1",
                         .mean = {127.5, 127.5, 127.5},
                         .deviation = {127.5, 127.5, 127.5},
                         .pad_color = {127.5, 127.5, 127.5}}},
      // TensorFlow's research/deeplab, "slim". Its image pooling is the first branch of ASPP; an import moves
      // the weights that see it, so that the table of branches stays one.
      {.name = "tf",
       .padding = "symmetric",
       .align_corners = true,
       .branch_order = "1x1, rates, image pooling",
       .output_stride = 16,
       .dropout = 0.1,
       .mobilenet_batch_norm = {.epsilon = 1e-3, .decay = 0.997},
       .resnet_batch_norm = {.epsilon = 1e-5, .decay = 0.95},
       .head_batch_norm = {.epsilon = 1e-5, .decay = 0.9997},
       .mobilenet_init = layers::Initialiser::truncated_normal(0.09),
       .head_init = layers::Initialiser::xavier_uniform(),
       .width_rounding = {.divisor = 1, .minimum = 1},
       .preprocessing = {.name = "x/127.5-1",
                         .mean = {127.5, 127.5, 127.5},
                         .deviation = {127.5, 127.5, 127.5},
                         .pad_color = {127.5, 127.5, 127.5}}},
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
