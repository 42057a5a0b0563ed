#include "atrous/models/mobilenet_v3.h"

#include "atrous/layers/observer.h"

namespace atrous::models {
namespace {

using layers::Activation;
using layers::Conv2dSettings;
using layers::ConvBn;
using layers::join_names;

constexpr std::size_t kLowBlock = 2, kMiddleBlock = 3;

struct Row {
  std::int64_t taps, expanded, out;
  bool excite, hard_swish;
  std::int64_t stride;
};
constexpr Row kRows[] = {
    {3, 16, 16, false, false, 1}, {3, 64, 24, false, false, 2}, {3, 72, 24, false, false, 1},
    {5, 72, 40, true, false, 2},  {5, 120, 40, true, false, 1}, {5, 120, 40, true, false, 1},
    {3, 240, 80, false, true, 2}, {3, 200, 80, false, true, 1}, {3, 184, 80, false, true, 1},
    {3, 184, 80, false, true, 1}, {3, 480, 112, true, true, 1}, {3, 672, 112, true, true, 1},
    {5, 672, 160, true, true, 2}, {5, 960, 160, true, true, 1}, {5, 960, 160, true, true, 1},
};
constexpr std::int64_t kStemChannels = 16, kLastChannels = 960;

Activation activation(bool hard_swish) { return hard_swish ? Activation::hard_swish : Activation::relu; }

}  // namespace

MobileNetV3Unit::MobileNetV3Unit(const Settings& s, const layers::BatchNormConstants& constants)
    : residual_(s.residual),
      expand_(s.expanded_channels == s.in_channels
                  ? nullptr
                  : std::make_unique<ConvBn>(Conv2dSettings{.in_channels = s.in_channels,
                                                            .out_channels = s.expanded_channels,
                                                            .init = s.init},
                                             activation(s.hard_swish), constants)),
      depthwise_({.in_channels = s.expanded_channels,
                  .out_channels = s.expanded_channels,
                  .taps = s.taps,
                  .stride = s.stride,
                  .rate = s.rate,
                  .depthwise = true,
                  .init = s.init},
                 activation(s.hard_swish), constants),
      excite_(s.excite
                  ? std::make_unique<layers::SqueezeExcitation>(
                        s.expanded_channels,
                        scaled_channels(s.expanded_channels / 4, 1, {.divisor = 8, .minimum = 8}), s.init)
                  : nullptr),
      project_({.in_channels = s.expanded_channels, .out_channels = s.out_channels, .init = s.init},
               Activation::none, constants) {
  if (expand_) add_child("expand", *expand_);
  add_child("depthwise", depthwise_);
  if (excite_) add_child("excite", *excite_);
  add_child("project", project_);
}

Variable MobileNetV3Unit::forward(const Variable& x) {
  Variable y = depthwise_.forward(expand_ ? expand_->forward(x) : x);
  if (excite_) y = excite_->forward(y);
  return layers::observed(*this, project_.forward(y, residual_ ? x : Variable()));
}

Shape MobileNetV3Unit::trace(const Shape& x, const std::string& name, layers::Summary& summary) const {
  const Shape wide = expand_ ? expand_->trace(x, join_names(name, "expand"), summary) : x;
  Shape y = depthwise_.trace(wide, join_names(name, "depthwise"), summary);
  if (excite_) y = excite_->trace(y, join_names(name, "excite"), summary);
  return project_.trace(y, join_names(name, "project"), summary);
}

MobileNetV3::MobileNetV3(const BackboneOptions& options)
    : batch_norm_(options.convention->mobilenet_batch_norm) {
  const Convention& convention = *options.convention;
  const auto scaled = [&](std::int64_t channels) {
    return scaled_channels(channels, options.width, {.divisor = 8, .minimum = 8});
  };
  std::int64_t channels = scaled(kStemChannels);
  stem_ = std::make_unique<ConvBn>(Conv2dSettings{.in_channels = options.in_channels,
                                                  .out_channels = channels,
                                                  .taps = 3,
                                                  .stride = 2,
                                                  .init = convention.mobilenet_init},
                                   Activation::hard_swish, batch_norm_);
  add_child("stem", *stem_);
  StrideWalk walk(options.output_stride, 2);
  for (const Row& row : kRows) {
    const StrideWalk::Unit unit = walk.next(row.stride);
    const std::int64_t out = scaled(row.out);
    blocks_.push_back(std::make_unique<MobileNetV3Unit>(
        MobileNetV3Unit::Settings{
            .in_channels = channels,
            .expanded_channels = scaled(row.expanded),
            .out_channels = out,
            .taps = row.taps,
            .stride = unit.stride,
            .rate = convention.mobilenet_v3_new_rate_at_once ? unit.rate_after : unit.rate,
            .excite = row.excite,
            .hard_swish = row.hard_swish,
            .residual = row.stride == 1 && channels == out,
            .init = convention.mobilenet_init},
        batch_norm_));
    add_child("block" + std::to_string(blocks_.size() - 1), *blocks_.back());
    channels = out;
    if (blocks_.size() == kLowBlock + 1) low_channels_ = out;
    if (blocks_.size() == kMiddleBlock + 1) middle_channels_ = out;
  }
  last_ = std::make_unique<ConvBn>(
      Conv2dSettings{
          .in_channels = channels, .out_channels = scaled(kLastChannels), .init = convention.mobilenet_init},
      Activation::hard_swish, batch_norm_);
  add_child("last", *last_);
}

Features MobileNetV3::features(const Variable& image) {
  Features features;
  Variable x = stem_->forward(image);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    x = blocks_[i]->forward(x);
    if (i == kLowBlock) features.low = x;
    if (i == kMiddleBlock) features.middle = x;
  }
  features.high = last_->forward(x);
  return features;
}

FeatureShapes MobileNetV3::trace(const Shape& image, const std::string& name,
                                 layers::Summary& summary) const {
  FeatureShapes shapes;
  Shape x = stem_->trace(image, join_names(name, "stem"), summary);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    x = blocks_[i]->trace(x, join_names(name, "block" + std::to_string(i)), summary);
    if (i == kLowBlock) shapes.low = x;
    if (i == kMiddleBlock) shapes.middle = x;
  }
  shapes.high = last_->trace(x, join_names(name, "last"), summary);
  return shapes;
}

}  // namespace atrous::models
