#include "atrous/models/vgg16.h"

#include "atrous/autograd/elementwise.h"

namespace atrous::models {
namespace {

std::string conv_name(std::size_t stage, std::size_t i) {
  return "conv" + std::to_string(stage + 1) + "_" + std::to_string(i + 1);
}

}  // namespace

Vgg16::Vgg16(const BackboneOptions& options) : skips_(options.skips) {
  const Convention& convention = *options.convention;
  StrideWalk walk(options.output_stride, 1);
  std::int64_t in = options.in_channels, rate = 1;
  for (const auto& [channels, count] : {std::pair{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}}) {
    const std::int64_t out = scaled_channels(channels, options.width, convention.width_rounding);
    Stage& stage = stages_.emplace_back();
    for (int i = 0; i < count; ++i) {
      stage.convs.push_back(
          std::make_unique<layers::Conv2d>(layers::Conv2dSettings{.in_channels = in,
                                                                  .out_channels = out,
                                                                  .taps = 3,
                                                                  .rate = rate,
                                                                  .init = layers::Initialiser::he_fan_in()}));
      add_child(conv_name(stages_.size() - 1, std::size_t(i)), *stage.convs.back());
      in = out;
    }
    const auto step = walk.next(2);
    stage.pool = std::make_unique<layers::MaxPool2d>(MaxPool2dOptions{
        .window = 3, .stride = step.stride, .padding = 1, .ceil_mode = convention.ceil_pooling});
    rate = step.rate_after;
    channels_.push_back(out);
  }
}

std::vector<std::int64_t> Vgg16::skip_channels() const {
  return {stages_[0].convs[0]->settings().in_channels, channels_[0], channels_[1], channels_[2],
          channels_[3]};
}

Features Vgg16::features(const Variable& image) {
  Features features;
  Variable x = image;
  for (const Stage& stage : stages_) {
    if (skips_) features.skips.push_back(x);
    for (const auto& conv : stage.convs) x = relu(conv->forward(x));
    x = stage.pool->forward(x);
  }
  features.high = x;
  return features;
}

FeatureShapes Vgg16::trace(const Shape& image, const std::string& name, layers::Summary& summary) const {
  FeatureShapes shapes;
  Shape x = image;
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    if (skips_) shapes.skips.push_back(x);
    for (std::size_t i = 0; i < stages_[s].convs.size(); ++i)
      x = stages_[s].convs[i]->trace(x, layers::join_names(name, conv_name(s, i)), summary);
    x = stages_[s].pool->trace(x, layers::join_names(name, "pool" + std::to_string(s + 1)), summary);
  }
  shapes.high = x;
  return shapes;
}

}  // namespace atrous::models
