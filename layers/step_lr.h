#pragma once

#include <cstdint>

namespace atrous::layers {

/// The "step" policy of DeepLab v1: base * factor^floor(step / every). `step` counts from 0. Throws
/// ValueError for a negative step or every < 1. Source: Chen et al., "Semantic Image Segmentation with Deep
/// Convolutional Nets and Fully Connected CRFs", ICLR 2015, section 4.
double step_lr(double base, std::int64_t step, std::int64_t every, double factor = 0.1);

}  // namespace atrous::layers
