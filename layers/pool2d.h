#pragma once

#include "atrous/autograd/pool2d.h"
#include "atrous/layers/layer.h"

// Pooling as layers; the formulas are in autograd/pool2d.h. They have no parameters and count no
// multiply-adds.

namespace atrous::layers {

class MaxPool2d : public Layer {
 public:
  /// By PaddingRule::same the padding of the options gives way to TensorFlow's for the size of x.
  explicit MaxPool2d(const MaxPool2dOptions& options, PaddingRule rule = PaddingRule::symmetric)
      : options_(options), rule_(rule) {}
  Variable forward(const Variable& x) override { return max_pool2d(x, options_for(x.shape())); }
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;

 private:
  MaxPool2dOptions options_for(const Shape& x) const;

  MaxPool2dOptions options_;
  PaddingRule rule_;
};

class AvgPool2d : public Layer {
 public:
  explicit AvgPool2d(const AvgPool2dOptions& options) : options_(options) {}
  Variable forward(const Variable& x) override { return avg_pool2d(x, options_); }
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;

 private:
  AvgPool2dOptions options_;
};

/// The mean of every channel: [N, 1, 1, C].
class GlobalAvgPool2d : public Layer {
 public:
  Variable forward(const Variable& x) override { return global_avg_pool2d(x); }
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;
};

}  // namespace atrous::layers
