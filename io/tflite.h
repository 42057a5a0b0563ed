#pragma once

#include <memory>
#include <string>

#include "atrous/io/weight_file.h"

namespace atrous::io {

/// The constants of a TFLite model (a FlatBuffer with the identifier "TFL3") in floating point. A
/// convolution's weight keeps its name ("aspp0/weights", [K, R, S, C]; depthwise "depthwise_weights", [1, R,
/// S, C * M]); its bias is called after it, "aspp0/biases". The metadata hold the heights and widths of the
/// graph's input ("input") and of each convolution's output (under the weight's name).
///
/// Throws IoError for a quantised model too, with the first weight that is.
/// Source: tensorflow/lite/schema/schema.fbs, version 3.
std::unique_ptr<WeightFile> open_tflite(const std::string& path);

}  // namespace atrous::io
