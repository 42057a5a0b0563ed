#include "atrous/models/deeplab_v1.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/layout.h"
#include "atrous/autograd/resize.h"
#include "atrous/core/error.h"
#include "atrous/core/recycled.h"
#include "atrous/models/deeplab_v3.h"

namespace atrous::models {
namespace {

using layers::Conv2d;
using layers::Conv2dSettings;
using layers::join_names;

struct Field {
  std::int64_t taps, rate, channels;
};
Field field_of(FieldOfView view) {
  switch (view) {
    case FieldOfView::plain:
      return {4, 4, 4096};
    case FieldOfView::four_by_four:
      return {4, 8, 4096};
    case FieldOfView::seven_by_seven:
      return {7, 4, 4096};
    case FieldOfView::large:
      return {3, 12, 1024};
  }
  fail<ValueError>("deeplab_v1", "unknown field of view ", int(view));
}

Conv2dSettings conv(std::int64_t in, std::int64_t out, std::int64_t taps = 1, std::int64_t stride = 1,
                    std::int64_t rate = 1) {
  return {.in_channels = in,
          .out_channels = out,
          .taps = taps,
          .stride = stride,
          .rate = rate,
          .init = layers::Initialiser::he_fan_in()};
}

}  // namespace

std::int64_t rate_at(std::int64_t output_stride, std::int64_t rate_at_8) {
  ATROUS_CHECK(ValueError, 8 * rate_at_8 % output_stride == 0, "models", "a rate of ", rate_at_8,
               " at output stride 8 is no whole number of pixels at ", output_stride);
  return 8 * rate_at_8 / output_stride;
}

DeepLabV1::Skip::Skip(std::int64_t in_channels, std::int64_t channels, std::int64_t stride)
    : conv1(conv(in_channels, channels, 3, stride)), conv2(conv(channels, channels)) {
  add_child("conv1", conv1);
  add_child("conv2", conv2);
}

DeepLabV1::DeepLabV1(const Backbone& backbone, const HeadOptions& options, FieldOfView view, bool skips)
    : align_corners_(options.convention->align_corners),
      pool_({.window = 3, .stride = 1, .padding = 1}),
      drop6_(0.5),
      drop7_(0.5) {
  const auto scaled = [&](std::int64_t c) {
    return scaled_channels(c, options.width, options.convention->width_rounding);
  };
  const Field field = field_of(view);
  const std::int64_t width = scaled(field.channels);
  fc6_ = std::make_unique<Conv2d>(
      conv(backbone.high_channels(), width, field.taps, 1, rate_at(options.output_stride, field.rate)));
  fc7_ = std::make_unique<Conv2d>(conv(width, width));
  add_child("fc6", *fc6_);
  add_child("drop6", drop6_);
  add_child("fc7", *fc7_);
  add_child("drop7", drop7_);
  std::int64_t seen = width;
  if (skips) {
    const auto channels = backbone.skip_channels();
    for (std::size_t i = 0; i < channels.size(); ++i) {
      const std::int64_t stride =
          std::max<std::int64_t>(1, options.output_stride / (std::int64_t(1) << i));  // to the last grid
      skips_.push_back(std::make_unique<Skip>(channels[i], scaled(128), stride));
      add_child("skip" + std::to_string(i), *skips_.back());
      seen += scaled(128);
    }
  }
  logits_ = std::make_unique<Conv2d>(logits_settings(seen, options.classes));
  add_child("logits", *logits_);
}

Variable DeepLabV1::forward(const Features& features) {
  Variable x = drop6_.forward(relu(fc6_->forward(pool_.forward(features.high))));
  x = drop7_.forward(relu(fc7_->forward(x)));
  if (skips_.empty()) return logits_->forward(x);
  RecycledVector<Variable> parts = {x};
  for (std::size_t i = 0; i < skips_.size(); ++i) {
    Variable y = relu(skips_[i]->conv2.forward(relu(skips_[i]->conv1.forward(features.skips[i]))));
    if (y.dim(1) != x.dim(1) || y.dim(2) != x.dim(2))
      y = resize_bilinear(y, {.out_h = x.dim(1), .out_w = x.dim(2), .align_corners = align_corners_});
    parts.push_back(y);
  }
  return logits_->forward(concat_channels(parts));
}

Shape DeepLabV1::trace(const FeatureShapes& features, const std::string& name,
                       layers::Summary& summary) const {
  Shape x = pool_.trace(features.high, join_names(name, "pool5a"), summary);
  x = fc6_->trace(x, join_names(name, "fc6"), summary);
  x = fc7_->trace(x, join_names(name, "fc7"), summary);
  std::int64_t channels = x[3];
  for (std::size_t i = 0; i < skips_.size(); ++i) {
    const std::string skip = join_names(name, "skip" + std::to_string(i));
    const Shape y = skips_[i]->conv1.trace(features.skips[i], join_names(skip, "conv1"), summary);
    channels += skips_[i]->conv2.trace(y, join_names(skip, "conv2"), summary)[3];
  }
  return logits_->trace(x.with(3, channels), join_names(name, "logits"), summary);
}

}  // namespace atrous::models
