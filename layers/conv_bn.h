#pragma once

#include "atrous/layers/batch_norm.h"
#include "atrous/layers/conv2d.h"

namespace atrous::layers {

/// x, max(x, 0), min(max(x, 0), 6) or hard_swish(x).
Variable activate(const Variable& x, Activation activation);
/// "", ", relu", ", relu6", ", hard swish"
const char* describe(Activation activation);

/// The step that these networks are made of: a convolution without bias (dense or depthwise), batch norm,
/// activation. Parameters: weight, bn.gamma, bn.beta; buffers: bn.running_mean, bn.running_var.
///
/// In evaluation mode while nothing is recorded (NoGrad) it is one convolution (FoldedConv).
class ConvBn : public Layer {
 public:
  ConvBn(const Conv2dSettings& conv, Activation activation, const BatchNormConstants& constants);

  Variable forward(const Variable& x) override { return forward(x, {}); }
  /// activation(bn(conv(x)) + residual), the residual of the output's shape or undefined: the last step of a
  /// residual branch. `then`, of a layer without an activation, is one that belongs to what reads the result.
  Variable forward(const Variable& x, const Variable& residual, Activation then = Activation::none);

  /// forward(x) as channels [first, first + out_channels) of y, in evaluation mode while nothing is recorded.
  /// On the CPU; dense.
  void evaluate_into(const Tensor& x, std::int64_t first, Tensor& y) {
    folded_.forward_into(x, activation_, first, y);
  }
  /// Whether the layers can run side by side: dense, stride 1, one activation, batch norms of one kind.
  static bool side_by_side(const std::vector<ConvBn*>& layers);
  /// concat_channels of what each layer makes of x: one launch on CUDA where each by itself is one
  /// (conv2d_branches), one batch norm for all.
  static Variable forward_side_by_side(const std::vector<ConvBn*>& layers, const Variable& x);
  /// The same in evaluation mode, while nothing is recorded, into the channels of y from `first` on.
  static void evaluate_side_by_side(const std::vector<ConvBn*>& layers, const Tensor& x, std::int64_t first,
                                    Tensor& y);

  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;

  const Conv2dSettings& settings() const { return conv_; }
  const Variable& weight() const { return weight_; }
  const BatchNorm& bn() const { return bn_; }
  Activation activation() const { return activation_; }
  FoldedConv& folded() { return folded_; }

 protected:
  void set_prepared(const InferenceOptions& options) override { folded_.keep(options); }

 private:
  Conv2dSettings conv_;
  Activation activation_;
  Variable& weight_;
  BatchNorm bn_;
  FoldedConv folded_;
};

/// pointwise.forward(depthwise.forward(x), residual, then). In evaluation mode while nothing is recorded, and
/// where that pays (kernels::separable_conv2d_pays), through one kernel that never stores what lies between.
Variable forward_separable(ConvBn& depthwise, ConvBn& pointwise, const Variable& x,
                           const Variable& residual = {}, Activation then = Activation::none);

/// Depthwise convolution, batch norm, activation; then 1x1 convolution, batch norm, activation: the separable
/// convolution of DeepLab v3+. Parameters under "depthwise" and "pointwise". The stride is the depthwise
/// one's.
class SeparableConvBn : public Layer {
 public:
  /// `conv` describes the whole: from in_channels to out_channels, taps, stride and rate.
  SeparableConvBn(const Conv2dSettings& conv, Activation activation, const BatchNormConstants& constants);

  Variable forward(const Variable& x) override { return forward(x, {}); }
  /// With a residual before the last activation and one behind it, as ConvBn.
  Variable forward(const Variable& x, const Variable& residual, Activation then = Activation::none);
  /// As ConvBn::evaluate_into.
  void evaluate_into(const Tensor& x, std::int64_t first, Tensor& y);
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;

 private:
  ConvBn depthwise_, pointwise_;
};

}  // namespace atrous::layers
