#include "atrous/models/xception.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/core/error.h"
#include "atrous/layers/observer.h"

namespace atrous::models {
namespace {

using layers::Activation;
using layers::Conv2dSettings;
using layers::ConvBn;
using layers::join_names;
using Shortcut = XceptionUnit::Shortcut;

// Channels of the three convolutions, stride.
struct Row {
  std::int64_t channels[3];
  std::int64_t stride;
};

std::vector<Row> entry_of(int depth) {
  if (depth == 41 || depth == 65) return {{{128, 128, 128}, 2}, {{256, 256, 256}, 2}, {{728, 728, 728}, 2}};
  if (depth == 71)
    return {{{128, 128, 128}, 2},
            {{256, 256, 256}, 1},
            {{256, 256, 256}, 2},
            {{728, 728, 728}, 1},
            {{728, 728, 728}, 2}};
  fail<ValueError>("models", "Xception of depth ", depth, " is not 41, 65 or 71");
}

}  // namespace

XceptionUnit::XceptionUnit(const Settings& s, const layers::BatchNormConstants& constants)
    : relu_behind_(s.relu_behind),
      relu_first_(!s.relu_behind && !s.rectified),
      adds_input_(s.shortcut == Shortcut::input) {
  const Activation activation = s.relu_behind ? Activation::relu : Activation::none;
  std::int64_t in = s.in_channels;
  for (std::size_t i = 0; i < 3; ++i) {
    const Conv2dSettings conv = {.in_channels = in,
                                 .out_channels = s.channels[i],
                                 .taps = 3,
                                 .stride = i == 2 ? s.stride : 1,
                                 .rate = s.rate,
                                 .init = s.init};
    convs_.push_back(std::make_unique<layers::SeparableConvBn>(conv, activation, constants));
    add_child("conv" + std::to_string(i + 1), *convs_.back());
    in = s.channels[i];
  }
  if (s.shortcut == Shortcut::convolution) {
    shortcut_ = std::make_unique<ConvBn>(
        Conv2dSettings{.in_channels = s.in_channels, .out_channels = in, .stride = s.stride, .init = s.init},
        Activation::none, constants);
    add_child("shortcut", *shortcut_);
  }
}

Variable XceptionUnit::first_two(const Variable& x, Activation then) {
  const Activation between = relu_behind_ ? Activation::none : Activation::relu;
  return convs_[1]->forward(convs_[0]->forward(relu_first_ ? relu(x) : x, {}, between), {}, then);
}

Variable XceptionUnit::last(const Variable& x, const Variable& y) {
  const Variable beside = shortcut_ ? shortcut_->forward(x) : adds_input_ ? x : Variable();
  return layers::observed(*this, convs_[2]->forward(y, beside));
}

Variable XceptionUnit::unstrided(const Variable& x) { return first_two(x, Activation::none); }

Variable XceptionUnit::finish(const Variable& x, const Variable& unstrided) {
  return last(x, relu_behind_ ? unstrided : relu(unstrided));
}

Variable XceptionUnit::forward(const Variable& x) {
  return last(x, first_two(x, relu_behind_ ? Activation::none : Activation::relu));
}

Shape XceptionUnit::trace(const Shape& x, const std::string& name, layers::Summary& summary) const {
  Shape y = x;
  for (std::size_t i = 0; i < convs_.size(); ++i)
    y = convs_[i]->trace(y, join_names(name, "conv" + std::to_string(i + 1)), summary);
  if (shortcut_) shortcut_->trace(x, join_names(name, "shortcut"), summary);
  return y;
}

Xception::Xception(int depth, const BackboneOptions& options)
    : batch_norm_(options.convention->xception_batch_norm) {
  const Convention& convention = *options.convention;
  const auto scaled = [&](std::int64_t c) {
    return scaled_channels(c, options.width, convention.width_rounding);
  };
  const std::vector<Row> entry = entry_of(depth);
  const auto stem = [&](std::int64_t from, std::int64_t to, std::int64_t stride) {
    return std::make_unique<ConvBn>(Conv2dSettings{.in_channels = from,
                                                   .out_channels = to,
                                                   .taps = 3,
                                                   .stride = stride,
                                                   .init = convention.xception_init},
                                    Activation::relu, batch_norm_);
  };
  conv1_1_ = stem(options.in_channels, scaled(32), 2);
  conv1_2_ = stem(scaled(32), scaled(64), 1);
  add_child("conv1_1", *conv1_1_);
  add_child("conv1_2", *conv1_2_);

  std::int64_t in = scaled(64);
  StrideWalk walk(options.output_stride, 2);
  const auto add_unit = [&](const std::string& name, const Row& row, Shortcut shortcut, bool relu_behind) {
    const auto step = walk.next(row.stride);
    XceptionUnit::Settings settings{.in_channels = in,
                                    .channels = {},
                                    .shortcut = shortcut,
                                    .stride = step.stride,
                                    .rate = step.rate,
                                    .relu_behind = relu_behind,
                                    .rectified = units_.empty(),  // by the stem
                                    .init = convention.xception_init};
    for (std::size_t i = 0; i < 3; ++i) settings.channels[i] = scaled(row.channels[i]);
    in = settings.channels[2];
    units_.push_back({name, std::make_unique<XceptionUnit>(settings, batch_norm_)});
    add_child(name, *units_.back().unit);
  };
  std::int64_t stride = 2;
  for (std::size_t i = 0; i < entry.size(); ++i) {
    if (stride == 4 && entry[i].stride == 2) {
      low_unit_ = units_.size();
      low_channels_ = scaled(entry[i].channels[1]);
    }
    stride *= entry[i].stride;
    add_unit("entry" + std::to_string(i + 1), entry[i], Shortcut::convolution, false);
  }
  for (int i = 1; i <= (depth == 41 ? 8 : 16); ++i)
    add_unit("middle" + std::to_string(i), {{728, 728, 728}, 1}, Shortcut::input, false);
  add_unit("exit1", {{728, 1024, 1024}, 2}, Shortcut::convolution, false);
  add_unit("exit2", {{1536, 1536, 2048}, 1}, Shortcut::none, true);
  high_channels_ = in;
}

Features Xception::features(const Variable& image) {
  Features features;
  Variable x = conv1_2_->forward(conv1_1_->forward(image));
  for (std::size_t i = 0; i < units_.size(); ++i) {
    if (i == low_unit_) {
      features.low = units_[i].unit->unstrided(x);
      x = units_[i].unit->finish(x, features.low);
    } else {
      x = units_[i].unit->forward(x);
    }
  }
  features.high = x;
  return features;
}

FeatureShapes Xception::trace(const Shape& image, const std::string& name, layers::Summary& summary) const {
  FeatureShapes shapes;
  Shape x = conv1_1_->trace(image, join_names(name, "conv1_1"), summary);
  x = conv1_2_->trace(x, join_names(name, "conv1_2"), summary);
  for (std::size_t i = 0; i < units_.size(); ++i) {
    if (i == low_unit_) shapes.low = x.with(3, low_channels_);
    x = units_[i].unit->trace(x, join_names(name, units_[i].name), summary);
  }
  shapes.high = x;
  return shapes;
}

}  // namespace atrous::models
