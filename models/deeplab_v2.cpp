#include "atrous/models/deeplab_v2.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/models/deeplab_v1.h"
#include "atrous/models/deeplab_v3.h"

namespace atrous::models {
namespace {

using layers::Conv2d;
using layers::Conv2dSettings;
using layers::Dropout;
using layers::join_names;

std::vector<std::int64_t> rates_of(PyramidOfV2 pyramid) {
  if (pyramid == PyramidOfV2::large_fov) return {12};
  if (pyramid == PyramidOfV2::small) return {2, 4, 8, 12};
  return {6, 12, 18, 24};
}

}  // namespace

DeepLabV2::DeepLabV2(const Backbone& backbone, const HeadOptions& options, PyramidOfV2 pyramid) {
  const std::int64_t in = backbone.high_channels();
  const std::int64_t width = scaled_channels(1024, options.width, options.convention->width_rounding);
  const layers::Initialiser init = layers::Initialiser::he_fan_in();
  for (const std::int64_t rate_at_8 : rates_of(pyramid)) {
    const std::int64_t rate = rate_at(options.output_stride, rate_at_8);
    const std::string number = std::to_string(branches_.size());
    Branch& branch = branches_.emplace_back();
    if (backbone.fully_connected()) {
      branch.fc6 = std::make_unique<Conv2d>(
          Conv2dSettings{.in_channels = in, .out_channels = width, .taps = 3, .rate = rate, .init = init});
      branch.fc7 =
          std::make_unique<Conv2d>(Conv2dSettings{.in_channels = width, .out_channels = width, .init = init});
      branch.drop6 = std::make_unique<Dropout>(0.5);
      branch.drop7 = std::make_unique<Dropout>(0.5);
      add_child("fc6_" + number, *branch.fc6);
      add_child("drop6_" + number, *branch.drop6);
      add_child("fc7_" + number, *branch.fc7);
      add_child("drop7_" + number, *branch.drop7);
      branch.logits = &logits_.add(number, logits_settings(width, options.classes));
    } else {
      Conv2dSettings settings = logits_settings(in, options.classes);
      settings.taps = 3;
      settings.rate = rate;
      branch.logits = &logits_.add(number, settings);
    }
  }
  add_child("logits", logits_);
}

Variable DeepLabV2::forward(const Features& features) {
  Variable sum;
  for (const Branch& branch : branches_) {
    Variable x = features.high;
    if (branch.fc6) {
      x = branch.drop6->forward(relu(branch.fc6->forward(x)));
      x = branch.drop7->forward(relu(branch.fc7->forward(x)));
    }
    x = branch.logits->forward(x);
    sum = sum.defined() ? add(sum, x) : x;
  }
  return sum;
}

Shape DeepLabV2::trace(const FeatureShapes& features, const std::string& name,
                       layers::Summary& summary) const {
  Shape logits;
  for (std::size_t i = 0; i < branches_.size(); ++i) {
    const Branch& branch = branches_[i];
    const std::string number = std::to_string(i);
    Shape x = features.high;
    if (branch.fc6) {
      x = branch.fc6->trace(x, join_names(name, "fc6_" + number), summary);
      x = branch.fc7->trace(x, join_names(name, "fc7_" + number), summary);
    }
    logits = branch.logits->trace(x, join_names(name, "logits." + number), summary);
  }
  return logits;
}

}  // namespace atrous::models
