#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "atrous/layers/layer.h"
#include "atrous/models/convention.h"

// A backbone turns an image into feature maps. Its output stride (4, 8, 16 or 32 image pixels a feature
// pixel) is chosen when it is made: where the stride so far has reached it, units keep their resolution and
// later ones see their taps further apart, so that the same weights compute the same function on a denser
// grid.

namespace atrous::models {

/// What a head sees: `high` at the output stride, `low` at stride 4 (for the decoder of v3+).
struct Features {
  Variable high, low;
};
struct FeatureShapes {
  Shape high, low;
};

struct BackboneOptions {
  std::int64_t output_stride = 16;
  double width = 1;  ///< channel multiplier; MobileNet only
  const Convention* convention = nullptr;
};

class Backbone : public layers::Module {
 public:
  virtual Features features(const Variable& image) = 0;
  virtual FeatureShapes trace(const Shape& image, const std::string& name,
                              layers::Summary& summary) const = 0;

  virtual std::int64_t high_channels() const = 0;
  virtual std::int64_t low_channels() const = 0;
  virtual const layers::BatchNormConstants& batch_norm() const = 0;
  /// Whether DeepLab v3 on it is the published mobile form: image pooling and 1x1 without atrous branches.
  virtual bool mobile() const { return false; }
};

/// The walk that turns strides into rates. Call next() for each unit in order with its nominal stride.
class StrideWalk {
 public:
  struct Unit {
    std::int64_t stride;      ///< to be used
    std::int64_t rate;        ///< of the convolution that has the stride
    std::int64_t rate_after;  ///< of what comes behind the stride, in this unit and later
  };
  /// `so_far` is the stride of what lies before the first unit. Throws ValueError unless output_stride is 4,
  /// 8, 16 or 32.
  StrideWalk(std::int64_t output_stride, std::int64_t so_far);
  Unit next(std::int64_t stride);

 private:
  std::int64_t output_stride_, current_, rate_ = 1;
};

}  // namespace atrous::models
