#pragma once

#include <cstdint>
#include <optional>

#include "atrous/core/tensor.h"

namespace atrous::models {

/// The axes of a convolution's weight in a file. Ours are [R, S, C, K], depthwise [R, S, C, M].
enum class WeightLayout {
  hwio,  ///< ours (TensorFlow)
  oihw,  ///< [K, C, R, S], depthwise [C * M, 1, R, S] (PyTorch, Caffe)
  ohwi   ///< [K, R, S, C], depthwise [1, R, S, C * M] (TFLite)
};

/// The shape that a weight of a file has in our layout; nothing if it has not four axes, or cannot be a
/// depthwise one of `depthwise_channels` input channels (0 for a dense one).
std::optional<Shape> shape_in_our_layout(const Shape& shape, WeightLayout layout,
                                         std::int64_t depthwise_channels);

/// A weight of a file in our layout.
///   x        f32, of a shape that shape_in_our_layout() takes
Tensor in_our_layout(const Tensor& x, WeightLayout layout, std::int64_t depthwise_channels);

/// A weight with its input channels in another order: those from `first` on, then those before.
///   x        [R, S, C, K], f32; 0 <= first <= C
Tensor with_inputs_from(const Tensor& x, std::int64_t first);

/// A weight that sees the image, for images of another number of channels: one channel gets the sum of all,
/// more get the old ones in turn, times old / new, so that grey images give what they gave.
///   x        [R, S, C, K], f32
Tensor with_input_channels(const Tensor& x, std::int64_t channels);

}  // namespace atrous::models
