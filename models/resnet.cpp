#include "atrous/models/resnet.h"

#include "atrous/core/error.h"

namespace atrous::models {
namespace {

using layers::Activation;
using layers::Conv2dSettings;
using layers::ConvBn;
using layers::join_names;

Conv2dSettings conv(std::int64_t in, std::int64_t out, std::int64_t taps, std::int64_t stride = 1,
                    std::int64_t rate = 1) {
  return {.in_channels = in, .out_channels = out, .taps = taps, .stride = stride, .rate = rate};
}

std::vector<int> units_of(int depth) {
  if (depth == 18) return {2, 2, 2, 2};
  if (depth == 50) return {3, 4, 6, 3};
  fail<ValueError>("models", "ResNet of depth ", depth, " is not 18 or 50");
}

}  // namespace

ResidualUnit::ResidualUnit(const Settings& s, const layers::BatchNormConstants& constants) {
  const std::int64_t out = s.bottleneck ? 4 * s.channels : s.channels;
  std::vector<Conv2dSettings> convs;
  if (s.bottleneck)
    convs = {conv(s.in_channels, s.channels, 1), conv(s.channels, s.channels, 3, s.stride, s.rate),
             conv(s.channels, out, 1)};
  else
    convs = {conv(s.in_channels, s.channels, 3, s.stride, s.rate), conv(s.channels, out, 3, 1, s.rate_after)};
  for (std::size_t i = 0; i < convs.size(); ++i) {
    branch_.push_back(std::make_unique<ConvBn>(convs[i], Activation::relu, constants));
    add_child("conv" + std::to_string(i + 1), *branch_.back());
  }
  if (s.stride != 1 || s.in_channels != out) {
    downsample_ =
        std::make_unique<ConvBn>(conv(s.in_channels, out, 1, s.stride), Activation::none, constants);
    add_child("downsample", *downsample_);
  }
}

Variable ResidualUnit::forward(const Variable& x) {
  Variable y = x;
  for (std::size_t i = 0; i + 1 < branch_.size(); ++i) y = branch_[i]->forward(y);
  return branch_.back()->forward(y, downsample_ ? downsample_->forward(x) : x);
}

Shape ResidualUnit::trace(const Shape& x, const std::string& name, layers::Summary& summary) const {
  Shape y = x;
  for (std::size_t i = 0; i < branch_.size(); ++i)
    y = branch_[i]->trace(y, join_names(name, "conv" + std::to_string(i + 1)), summary);
  if (downsample_) downsample_->trace(x, join_names(name, "downsample"), summary);
  return y;
}

ResNet::ResNet(int depth, const BackboneOptions& options)
    : low_channels_(depth == 18 ? 64 : 256),
      batch_norm_(options.convention->resnet_batch_norm),
      conv1_(conv(3, 64, 7, 2), Activation::relu, batch_norm_),
      pool_({.window = 3, .stride = 2, .padding = 1}) {
  ATROUS_CHECK(ValueError, options.width == 1, "models", "the width multiplier is for MobileNet; ResNet-",
               depth, " was asked for width ", options.width);
  add_child("conv1", conv1_);
  const bool bottleneck = depth != 18;
  StrideWalk walk(options.output_stride, 4);
  std::int64_t in = 64, channels = 64;
  for (const int units : units_of(depth)) {
    auto& stage = stages_.emplace_back(std::make_unique<layers::Sequential>());
    for (int u = 0; u < units; ++u) {
      const auto unit = walk.next(u == 0 && stages_.size() > 1 ? 2 : 1);
      stage->add<ResidualUnit>(ResidualUnit::Settings{.bottleneck = bottleneck,
                                                      .in_channels = in,
                                                      .channels = channels,
                                                      .stride = unit.stride,
                                                      .rate = unit.rate,
                                                      .rate_after = unit.rate_after},
                               batch_norm_);
      in = bottleneck ? 4 * channels : channels;
    }
    add_child("layer" + std::to_string(stages_.size()), *stage);
    channels *= 2;
  }
}

Features ResNet::features(const Variable& image) {
  Features features;
  features.low = stages_[0]->forward(pool_.forward(conv1_.forward(image)));
  features.high = features.low;
  for (std::size_t i = 1; i < stages_.size(); ++i) features.high = stages_[i]->forward(features.high);
  return features;
}

FeatureShapes ResNet::trace(const Shape& image, const std::string& name, layers::Summary& summary) const {
  FeatureShapes shapes;
  const Shape stem = conv1_.trace(image, join_names(name, "conv1"), summary);
  const Shape pooled = pool_.trace(stem, join_names(name, "pool"), summary);
  shapes.low = stages_[0]->trace(pooled, join_names(name, "layer1"), summary);
  shapes.high = shapes.low;
  for (std::size_t i = 1; i < stages_.size(); ++i)
    shapes.high = stages_[i]->trace(shapes.high, join_names(name, "layer" + std::to_string(i + 1)), summary);
  return shapes;
}

}  // namespace atrous::models
