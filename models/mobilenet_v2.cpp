#include "atrous/models/mobilenet_v2.h"

#include "atrous/autograd/layout.h"
#include "atrous/layers/observer.h"

namespace atrous::models {
namespace {

using layers::Activation;
using layers::Conv2dSettings;
using layers::ConvBn;
using layers::join_names;

constexpr std::size_t kLowLevelBlock = 2;

Conv2dSettings pointwise(std::int64_t in, std::int64_t out, const layers::Initialiser& init) {
  return {.in_channels = in, .out_channels = out, .init = init};
}

Conv2dSettings depthwise(const InvertedResidual::Settings& s) {
  Conv2dSettings conv = {.in_channels = s.expanded_channels,
                         .out_channels = s.expanded_channels,
                         .taps = 3,
                         .stride = s.stride,
                         .rate = s.rate,
                         .depthwise = true,
                         .init = s.init};
  if (s.padding == MobilePadding::same) conv.padding_rule = PaddingRule::same;
  if (s.padding == MobilePadding::before_expansion) conv.padding = 0;
  return conv;
}

// Expansion factor, channels at width 1, repetitions, stride of the first.
struct Group {
  std::int64_t expansion, channels, count, stride;
};
constexpr Group kGroups[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

}  // namespace

InvertedResidual::InvertedResidual(const Settings& s, const layers::BatchNormConstants& constants)
    : residual_(s.residual),
      border_(s.padding == MobilePadding::before_expansion ? s.rate : 0),
      expand_(s.expanded_channels == s.in_channels
                  ? nullptr
                  : std::make_unique<ConvBn>(pointwise(s.in_channels, s.expanded_channels, s.init),
                                             Activation::relu6, constants)),
      depthwise_(depthwise(s), Activation::relu6, constants),
      project_(pointwise(s.expanded_channels, s.out_channels, s.init), Activation::none, constants) {
  if (expand_) add_child("expand", *expand_);
  add_child("depthwise", depthwise_);
  add_child("project", project_);
}

Variable InvertedResidual::widened(const Variable& x) {
  const Variable in = border_ == Padding(0) ? x : pad(x, border_);
  return expand_ ? expand_->forward(in) : in;
}

Variable InvertedResidual::forward(const Variable& x) {
  return layers::forward_separable(depthwise_, project_, widened(x), residual_ ? x : Variable());
}

Variable InvertedResidual::expanded(const Variable& x) { return depthwise_.forward(widened(x)); }

Variable InvertedResidual::projected(const Variable& x, const Variable& expanded) {
  return layers::observed(*this, project_.forward(expanded, residual_ ? x : Variable()));
}

Shape InvertedResidual::trace(const Shape& x, const std::string& name, layers::Summary& summary) const {
  const Shape in = x.with(1, x[1] + 2 * border_.top).with(2, x[2] + 2 * border_.left);
  const Shape wide = expand_ ? expand_->trace(in, join_names(name, "expand"), summary) : in;
  return project_.trace(depthwise_.trace(wide, join_names(name, "depthwise"), summary),
                        join_names(name, "project"), summary);
}

MobileNetV2::MobileNetV2(const BackboneOptions& options)
    : batch_norm_(options.convention->mobilenet_batch_norm), low_level_(options.convention->low_level) {
  const Convention& convention = *options.convention;
  const auto scaled = [&](std::int64_t channels) {
    return scaled_channels(channels, options.width, convention.width_rounding);
  };
  std::int64_t channels = scaled(32);
  const MobilePadding padding = convention.mobilenet_padding;
  Conv2dSettings stem = {.in_channels = options.in_channels,
                         .out_channels = channels,
                         .taps = 3,
                         .stride = 2,
                         .init = convention.mobilenet_init};
  if (padding == MobilePadding::same) stem.padding_rule = PaddingRule::same;
  if (padding == MobilePadding::before_expansion) stem.padding = 0;
  stem_ = std::make_unique<ConvBn>(stem, Activation::relu6, batch_norm_);
  add_child("stem", *stem_);

  StrideWalk walk(options.output_stride, 2);
  for (const Group& group : kGroups) {
    for (std::int64_t i = 0; i < group.count; ++i) {
      const StrideWalk::Unit unit = walk.next(i == 0 ? group.stride : 1);
      const std::int64_t out = scaled(group.channels);
      // The one depthwise convolution has the stride, so a unit that lost it runs at the rate before it. The
      // shortcut is nominal: losing a stride makes none (blocks 6 and 13 change their channels anyway, and at
      // small widths they must not gain one).
      blocks_.push_back(std::make_unique<InvertedResidual>(
          InvertedResidual::Settings{
              .in_channels = channels,
              .expanded_channels =
                  group.expansion == 1 ? channels : scaled_channels(channels * group.expansion, 1, {8, 8}),
              .out_channels = out,
              .stride = unit.stride,
              .rate = unit.rate,
              .residual = i > 0 && channels == out,
              .padding = padding,
              .init = convention.mobilenet_init},
          batch_norm_));
      add_child("block" + std::to_string(blocks_.size() - 1), *blocks_.back());
      channels = out;
      if (blocks_.size() == kLowLevelBlock + 1)
        low_channels_ = low_level_ == LowLevel::inside_unit ? blocks_.back()->expanded_channels() : out;
    }
  }
  high_channels_ = channels;
}

Features MobileNetV2::features(const Variable& image) {
  Features features;
  Variable x = stem_->forward(image);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (i == kLowLevelBlock && low_level_ == LowLevel::inside_unit) {
      features.low = blocks_[i]->expanded(x);
      x = blocks_[i]->projected(x, features.low);
      continue;
    }
    x = blocks_[i]->forward(x);
    if (i == kLowLevelBlock) features.low = x;
  }
  features.high = x;
  return features;
}

FeatureShapes MobileNetV2::trace(const Shape& image, const std::string& name,
                                 layers::Summary& summary) const {
  FeatureShapes shapes;
  shapes.high = stem_->trace(image, join_names(name, "stem"), summary);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    shapes.high = blocks_[i]->trace(shapes.high, join_names(name, "block" + std::to_string(i)), summary);
    if (i == kLowLevelBlock) shapes.low = shapes.high.with(3, low_channels_);
  }
  return shapes;
}

}  // namespace atrous::models
