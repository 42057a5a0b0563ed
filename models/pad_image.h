#pragma once

#include <cstdint>

#include "atrous/core/tensor.h"
#include "atrous/models/convention.h"

namespace atrous::models {

/// The smallest size of the form k * output_stride + 1 that holds `size` pixels: the corners of the image and
/// of the feature grid lie on each other.
std::int64_t padded_size(std::int64_t size, std::int64_t output_stride);

/// Adds rows at the bottom and columns at the right, up to h x w, in the pad colour (0 after preprocessing by
/// a mean that is the pad colour).
///   image    [N, H, W, 3], f32, preprocessed; H <= h, W <= w
Tensor pad_image(const Tensor& image, std::int64_t h, std::int64_t w, const Preprocessing& how);

}  // namespace atrous::models
