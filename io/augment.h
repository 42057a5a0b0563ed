#pragma once

#include <array>
#include <cstdint>

#include "atrous/core/random.h"
#include "atrous/io/dataset.h"

namespace atrous::io {

struct AugmentOptions {
  std::int64_t crop_h = 0, crop_w = 0;      ///< pixels of the result
  double scale_min = 0.5, scale_max = 2.0;  ///< the image's scale is drawn uniformly between them,
  double scale_step = 0;                    ///< or, above 0, from scale_min, scale_min + scale_step, ...
  bool flip = true;                         ///< mirrored with probability 1/2
  std::array<double, 3> pad_color{127.5, 127.5, 127.5};
};

/// One training crop: scaled (a side of n pixels becomes int((n - 1) s + 1); image bilinear, labels nearest,
/// corners on corners), padded at the bottom and right to the crop with the pad colour and label 255, cropped
/// at a uniform position, mirrored or not. What comes out depends on the sample, the options and the random
/// stream alone.
///
///   image    f32 [crop_h, crop_w, 3] in 0..255, overwritten
///   labels   u8 [crop_h, crop_w], overwritten
///
/// Source: the order of TensorFlow's DeepLab (input_preprocess.py): scale, pad, crop, flip.
void augment(const Sample& sample, const AugmentOptions& options, Random random, Span<float> image,
             Span<std::uint8_t> labels);

}  // namespace atrous::io
