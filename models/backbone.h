#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "atrous/layers/layer.h"
#include "atrous/models/convention.h"

// A backbone turns an image into feature maps. Its output stride (4 to 32 image pixels a feature pixel) is
// chosen when it is made: where the stride so far has reached it, units keep their resolution and later ones
// see their taps further apart, so that the same weights compute the same function on a denser grid.

namespace atrous::models {

/// What a head sees.
template <class T>
struct FeaturesOf {
  T high;                ///< at the output stride
  T low;                 ///< at stride 4, for the decoder of v3+; VGG has none
  T middle;              ///< for an auxiliary classifier and LR-ASPP: ResNet's third stage; MobileNetV3's
                         ///< first unit at stride 8. Others have none
  std::vector<T> skips;  ///< where asked for: the image and the outputs of VGG's pools 1 to 4
  T image_mean;          ///< of `high` over the whole image, [N, 1, 1, C], where these are features of a part
                         ///< of it (models/tiling.h); else left out
};
using Features = FeaturesOf<Variable>;
using FeatureShapes = FeaturesOf<Shape>;

struct BackboneOptions {
  std::int64_t output_stride = 16;
  double width = 1;              ///< channel multiplier
  std::int64_t in_channels = 3;  ///< of the images
  const Convention* convention = nullptr;
  /// Factors on the rates of the units of ResNet's last stages; empty: all 1.
  std::vector<std::int64_t> multi_grid = {};
  int cascade = 0;     ///< copies of ResNet's last stage behind it, each with a stride of 2 to lose
  bool skips = false;  ///< VGG: whether features() gives them
};

class Backbone : public layers::Module {
 public:
  virtual Features features(const Variable& image) = 0;
  virtual FeatureShapes trace(const Shape& image, const std::string& name,
                              layers::Summary& summary) const = 0;

  virtual std::int64_t high_channels() const = 0;
  virtual std::int64_t low_channels() const { return 0; }
  virtual std::int64_t middle_channels() const { return 0; }
  virtual std::vector<std::int64_t> skip_channels() const { return {}; }
  /// The constants of its batch norms; null where it has none.
  virtual const layers::BatchNormConstants* batch_norm() const = 0;
  /// Of the images that it takes; null for the convention's.
  virtual const Preprocessing* preprocessing() const { return nullptr; }
  /// Whether DeepLab v3 on it is the published mobile form: image pooling and 1x1 without atrous branches.
  virtual bool mobile() const { return false; }
  /// Whether the published DeepLabs on it have separable convolutions in pyramid and decoder.
  virtual bool separable() const { return false; }
  /// Whether a branch of v2 on it is fc6, fc7, fc8, as in VGG-16; else it is a single 3x3 convolution.
  virtual bool fully_connected() const { return false; }
};

/// The walk that turns strides into rates. Call next() for each unit in order with its nominal stride.
class StrideWalk {
 public:
  struct Unit {
    std::int64_t stride;      ///< to be used
    std::int64_t rate;        ///< of the convolution that has the stride, and of what lies before it
    std::int64_t rate_after;  ///< of what comes behind the stride, in this unit and later
  };
  /// `so_far` is the stride of what lies before the first unit, `whole` that of the network with all its
  /// strides. Throws ValueError unless output_stride is a power of two from 4 to `whole`.
  StrideWalk(std::int64_t output_stride, std::int64_t so_far, std::int64_t whole = 32);
  Unit next(std::int64_t stride);

 private:
  std::int64_t output_stride_, current_, rate_ = 1;
};

}  // namespace atrous::models
