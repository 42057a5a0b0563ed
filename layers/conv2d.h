#pragma once

#include <optional>

#include "atrous/kernels/window.h"
#include "atrous/layers/layer.h"

namespace atrous::layers {

/// How a convolution layer is made. Sizes have no defaults. `padding` left out is the symmetric
/// rate * (taps - 1) / 2 on every side, which keeps the size at stride 1 and aligns corners at stride 2.
struct Conv2dSettings {
  std::int64_t in_channels;
  std::int64_t out_channels;  ///< a depthwise convolution has in_channels * multiplier
  PerAxis taps = 1;
  PerAxis stride = 1;
  PerAxis rate = 1;
  std::optional<Padding> padding = {};
  bool depthwise = false;
  Initialiser init = Initialiser::he_fan_out();

  Padding resolved_padding() const { return padding ? *padding : same_padding(taps, rate); }
  /// [R, S, C, K], or [R, S, C, M] if depthwise.
  Shape weight_shape() const;
  ParameterKind weight_kind() const;
  /// Shape of the output for x [N, H, W, in_channels]; throws ShapeError with `name` in the text.
  Shape output_shape(const Shape& x, const std::string& name) const;
  /// Multiply-adds for an output of this shape.
  std::int64_t macs(const Shape& output) const;
  /// "conv 3x3 /2 rate 4"
  std::string describe() const;
};

/// The function itself, dense or depthwise; `bias` may be undefined.
Variable apply_conv2d(const Variable& x, const Variable& weight, const Variable& bias,
                      const Conv2dSettings& settings);

/// A convolution with a bias and nothing behind it: logits. Parameters: weight, bias.
class Conv2d : public Layer {
 public:
  explicit Conv2d(const Conv2dSettings& settings);

  Variable forward(const Variable& x) override;
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;
  const Conv2dSettings& settings() const { return settings_; }

 private:
  Conv2dSettings settings_;
  Variable& weight_;
  Variable& bias_;
};

}  // namespace atrous::layers
