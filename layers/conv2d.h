#pragma once

#include <optional>

#include "atrous/autograd/conv2d_options.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/layers/folded_conv.h"
#include "atrous/layers/layer.h"

namespace atrous::layers {

/// How a convolution layer is made. Sizes have no defaults. `padding` left out follows `padding_rule`; the
/// symmetric one keeps the size at stride 1 and aligns corners at stride 2.
struct Conv2dSettings {
  std::int64_t in_channels;
  std::int64_t out_channels;  ///< a depthwise convolution has in_channels * multiplier
  PerAxis taps = 1;
  PerAxis stride = 1;
  PerAxis rate = 1;
  std::optional<Padding> padding = {};
  PaddingRule padding_rule = PaddingRule::symmetric;
  bool depthwise = false;
  bool bias = true;  ///< of Conv2d; in front of a batch norm there is none
  Initialiser init = Initialiser::he_fan_out();

  /// For x [N, H, W, C].
  Padding resolved_padding(const Shape& x) const;
  Conv2dOptions options(const Shape& x) const {
    return {.stride = stride, .padding = resolved_padding(x), .rate = rate};
  }
  /// Sizes of the kernels for x [N, H, W, in_channels] and its output; not depthwise.
  kernels::Conv2dDims dims(const Shape& x, const Shape& output) const;
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

/// A convolution with nothing behind it: logits. Parameters: weight and, unless the settings say otherwise,
/// bias.
class Conv2d : public Layer {
 public:
  explicit Conv2d(const Conv2dSettings& settings);

  Variable forward(const Variable& x) override;
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;
  const Conv2dSettings& settings() const { return settings_; }

 protected:
  void set_prepared(const InferenceOptions& options) override { folded_.keep(options); }

 private:
  Conv2dSettings settings_;
  Variable& weight_;
  Variable* bias_;  // null for none
  FoldedConv folded_;
};

}  // namespace atrous::layers
