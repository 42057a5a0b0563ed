#include "atrous/models/resnet.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/pool2d.h"
#include "atrous/core/error.h"
#include "atrous/layers/observer.h"

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

// The convolutions of a unit's branch.
std::vector<Conv2dSettings> branch_of(const ResidualUnit::Settings& s) {
  const std::int64_t stride = s.walk.stride, rate = s.walk.rate * s.grid, after = s.walk.rate_after * s.grid;
  if (!s.bottleneck)
    return {conv(s.in_channels, s.channels, 3, stride, rate), conv(s.channels, s.channels, 3, 1, after)};
  const bool reduce = s.strided == StridedConv::reduce;
  return {conv(s.in_channels, s.channels, 1, reduce ? stride : 1),
          conv(s.channels, s.channels, 3, reduce ? 1 : stride, reduce ? after : rate),
          conv(s.channels, 4 * s.channels, 1)};
}

std::vector<int> units_of(int depth) {
  if (depth == 18) return {2, 2, 2, 2};
  if (depth == 50) return {3, 4, 6, 3};
  if (depth == 101) return {3, 4, 23, 3};
  fail<ValueError>("models", "ResNet of depth ", depth, " is not 18, 50 or 101");
}

// The factor on the rates of unit u of stage 0, 1, ...
std::int64_t grid_of(const std::vector<std::int64_t>& multi_grid, std::size_t stage, int u) {
  if (stage < 3 || multi_grid.empty()) return 1;
  const std::int64_t factor = multi_grid[std::size_t(u) % multi_grid.size()];
  ATROUS_CHECK(ValueError, factor >= 1, "models", "a multi-grid factor of ", factor);
  return factor;
}

}  // namespace

ResidualUnit::ResidualUnit(const Settings& s, const layers::BatchNormConstants& constants)
    : stride_(s.walk.stride), tapped_(s.tapped) {
  const auto convs = branch_of(s);
  for (std::size_t i = 0; i < convs.size(); ++i) {
    const bool bare = tapped_ && i + 1 == convs.size();
    branch_.push_back(
        std::make_unique<ConvBn>(convs[i], bare ? Activation::none : Activation::relu, constants));
    add_child("conv" + std::to_string(i + 1), *branch_.back());
  }
  const std::int64_t out = convs.back().out_channels;
  if (s.in_channels != out) {
    downsample_ = std::make_unique<ConvBn>(conv(s.in_channels, out, 1, stride_), Activation::none, constants);
    add_child("downsample", *downsample_);
  }
}

Variable ResidualUnit::shortcut(const Variable& x) {
  if (downsample_) return downsample_->forward(x);
  if (stride_ == 1) return x;
  return max_pool2d(x, {.window = 1, .stride = stride_});  // every second pixel
}

Variable ResidualUnit::forward(const Variable& x, Variable* tap) {
  Variable y = x;
  for (std::size_t i = 0; i + 1 < branch_.size(); ++i) y = branch_[i]->forward(y);
  if (!tapped_) return layers::observed(*this, branch_.back()->forward(y, shortcut(x)));
  y = branch_.back()->forward(y);
  if (tap) *tap = y;
  return layers::observed(*this, relu(add(y, shortcut(x))));
}

Shape ResidualUnit::trace(const Shape& x, const std::string& name, layers::Summary& summary) const {
  Shape y = x;
  for (std::size_t i = 0; i < branch_.size(); ++i)
    y = branch_[i]->trace(y, join_names(name, "conv" + std::to_string(i + 1)), summary);
  if (downsample_) downsample_->trace(x, join_names(name, "downsample"), summary);
  return y;
}

ResNet::ResNet(int depth, bool beta, const BackboneOptions& options)
    : batch_norm_(options.convention->resnet_batch_norm),
      low_level_(options.convention->low_level),
      pool_({.window = 3, .stride = 2, .padding = 1, .ceil_mode = options.convention->ceil_pooling},
            options.convention->pool_padding) {
  const Convention& convention = *options.convention;
  if (!beta && convention.resnet_preprocessing) preprocessing_ = &*convention.resnet_preprocessing;
  const auto scaled = [&](std::int64_t c) {
    return scaled_channels(c, options.width, convention.width_rounding);
  };
  const auto add_stem = [&](const std::string& name, const Conv2dSettings& settings) {
    stem_.push_back(std::make_unique<ConvBn>(settings, Activation::relu, batch_norm_));
    add_child(name, *stem_.back());
  };
  std::int64_t in = scaled(64);
  if (beta) {
    add_stem("conv1_1", conv(options.in_channels, in, 3, 2));
    add_stem("conv1_2", conv(in, in, 3));
    add_stem("conv1_3", conv(in, scaled(128), 3));
    in = scaled(128);
  } else {
    add_stem("conv1", conv(options.in_channels, in, 7, 2));
  }

  std::vector<int> units = units_of(depth);
  for (int i = 0; i < options.cascade; ++i) units.push_back(units[3]);
  // A stride of 2 lies between each stage and the next, at one side of the border or the other.
  StrideWalk walk(options.output_stride, 4, std::int64_t(4) << (units.size() - 1));
  for (std::size_t stage = 0; stage < units.size(); ++stage) {
    auto& sequence = stages_.emplace_back(std::make_unique<layers::Sequential>());
    const std::int64_t channels = scaled(std::int64_t(64) << std::min<std::size_t>(stage, 3));
    for (int u = 0; u < units[stage]; ++u) {
      const bool strided = convention.strided_unit == StridedUnit::first
                               ? u == 0 && stage > 0
                               : u + 1 == units[stage] && stage + 1 < units.size();
      auto& unit =
          sequence->add<ResidualUnit>(ResidualUnit::Settings{.bottleneck = depth != 18,
                                                             .in_channels = in,
                                                             .channels = channels,
                                                             .walk = walk.next(strided ? 2 : 1),
                                                             .grid = grid_of(options.multi_grid, stage, u),
                                                             .tapped = low_level_ == LowLevel::inside_unit &&
                                                                       stage == 0 && u + 2 == units[0],
                                                             .strided = convention.strided_conv},
                                      batch_norm_);
      if (stage == 0) first_stage_.push_back(&unit);
      in = depth == 18 ? channels : 4 * channels;
    }
    add_child("layer" + std::to_string(stages_.size()), *sequence);
    if (stage == 0) low_channels_ = in;
    if (stage == 2) middle_channels_ = in;
  }
  high_channels_ = in;
}

Features ResNet::features(const Variable& image) {
  Features features;
  Variable x = image;
  for (const auto& step : stem_) x = step->forward(x);
  x = pool_.forward(x);
  for (ResidualUnit* unit : first_stage_) x = unit->forward(x, &features.low);
  if (low_level_ == LowLevel::unit_output) features.low = x;
  for (std::size_t i = 1; i < stages_.size(); ++i) {
    x = stages_[i]->forward(x);
    if (i == 2) features.middle = x;
  }
  features.high = x;
  return features;
}

FeatureShapes ResNet::trace(const Shape& image, const std::string& name, layers::Summary& summary) const {
  FeatureShapes shapes;
  Shape x = image;
  for (std::size_t i = 0; i < stem_.size(); ++i) {
    const std::string of = stem_.size() == 1 ? "conv1" : "conv1_" + std::to_string(i + 1);
    x = stem_[i]->trace(x, join_names(name, of), summary);
  }
  x = pool_.trace(x, join_names(name, "pool"), summary);
  const Shape before = x;  // of layer1, whose last unit may halve it
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    x = stages_[i]->trace(x, join_names(name, "layer" + std::to_string(i + 1)), summary);
    if (i == 0) shapes.low = before.with(3, low_channels_);
    if (i == 2) shapes.middle = x;
  }
  shapes.high = x;
  return shapes;
}

}  // namespace atrous::models
