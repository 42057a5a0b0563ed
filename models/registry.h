#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "atrous/models/model.h"

// Models by name: <head>_<backbone>, "_msc" behind those that work at several scales, and after a colon the
// convention ("deeplab_v3_resnet50:torchvision"). Where papers or other programs spell one otherwise
// ("deeplab_v1_largefov_vgg16", "deeplab_v3plus_xception_65"), that name stands for the same. A new backbone
// or head is its own file and a line in registry.cpp.

namespace atrous::models {

struct ModelOptions {
  std::int64_t classes = 21;
  std::int64_t output_stride = 0;  ///< 0 for the published one: of v1 and v2 8, else the convention's
  double width = 1;                ///< channel multiplier of the backbone
  double head_width = 1;           ///< of the head
  std::vector<std::int64_t> multi_grid = {};  ///< of ResNet's last stages; empty: the convention's, {1}: none
  std::optional<bool> auxiliary = {};         ///< with the auxiliary classifier; empty: by the convention
  std::int64_t in_channels = 3;               ///< of the images; from 3 on, red, green and blue come first
  std::uint64_t seed = 1;                     ///< of the initial weights
};

/// What a name and options stand for, with the convention's own where they say nothing. Throws ValueError for
/// an unknown model or convention; the rest is build()'s to refuse.
ModelConfig resolve(std::string_view name, const ModelOptions& options = {});

/// A model with initial weights, in training mode. Throws ValueError for an unknown name (with the near ones
/// listed), classes outside 1..256, and options that the parts refuse.
std::unique_ptr<Model> make(std::string_view name, const ModelOptions& options = {});

/// The same without initial weights: convolutions are 0 and batch norms the identity. For weights from a
/// file.
std::unique_ptr<Model> build(const ModelConfig& config);

/// Every name without a convention, each once, in our spelling, sorted.
std::vector<std::string> names();

}  // namespace atrous::models
