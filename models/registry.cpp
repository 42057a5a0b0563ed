#include "atrous/models/registry.h"

#include <algorithm>

#include "atrous/core/error.h"
#include "atrous/models/deeplab_v1.h"
#include "atrous/models/deeplab_v2.h"
#include "atrous/models/deeplab_v3.h"
#include "atrous/models/deeplab_v3plus.h"
#include "atrous/models/lraspp.h"
#include "atrous/models/mobilenet_v2.h"
#include "atrous/models/mobilenet_v3.h"
#include "atrous/models/resnet.h"
#include "atrous/models/vgg16.h"
#include "atrous/models/xception.h"

namespace atrous::models {
namespace {

// Kinds of backbones, for what a head may stand on.
enum Kind : unsigned {
  kVgg = 1,
  kBasicResNet = 2,
  kBottleneckResNet = 4,
  kXception = 8,
  kMobileNetV2 = 16,
  kMobileNetV3 = 32
};
constexpr unsigned kResNet = kBasicResNet | kBottleneckResNet;
constexpr unsigned kMobile = kMobileNetV2 | kMobileNetV3;
constexpr unsigned kModern = kResNet | kXception | kMobile;
constexpr unsigned kWithMiddle = kResNet | kMobileNetV3;  // with features for an auxiliary classifier

template <class T, class... Args>
std::unique_ptr<Backbone> backbone(Args... args) {
  return std::make_unique<T>(args...);
}
template <class T, auto... args>
std::unique_ptr<Head> head(const Backbone& on, const HeadOptions& options) {
  return std::make_unique<T>(on, options, args...);
}

struct BackboneEntry {
  const char* name;
  Kind kind;
  std::unique_ptr<Backbone> (*make)(const BackboneOptions&);
};
// clang-format off
constexpr BackboneEntry kBackbones[] = {
    {"mobilenet_v2", kMobileNetV2, [](const BackboneOptions& o) { return backbone<MobileNetV2>(o); }},
    {"mobilenet_v3_large", kMobileNetV3, [](const BackboneOptions& o) { return backbone<MobileNetV3>(o); }},
    {"resnet18", kBasicResNet, [](const BackboneOptions& o) { return backbone<ResNet>(18, false, o); }},
    {"resnet50", kBottleneckResNet, [](const BackboneOptions& o) { return backbone<ResNet>(50, false, o); }},
    {"resnet50_beta", kBottleneckResNet, [](const BackboneOptions& o) { return backbone<ResNet>(50, true, o); }},
    {"resnet101", kBottleneckResNet, [](const BackboneOptions& o) { return backbone<ResNet>(101, false, o); }},
    {"resnet101_beta", kBottleneckResNet, [](const BackboneOptions& o) { return backbone<ResNet>(101, true, o); }},
    {"vgg16", kVgg, [](const BackboneOptions& o) { return backbone<Vgg16>(o); }},
    {"xception41", kXception, [](const BackboneOptions& o) { return backbone<Xception>(41, o); }},
    {"xception65", kXception, [](const BackboneOptions& o) { return backbone<Xception>(65, o); }},
    {"xception71", kXception, [](const BackboneOptions& o) { return backbone<Xception>(71, o); }},
};
// clang-format on

struct HeadEntry {
  const char* name;
  unsigned on;  // kinds of backbones
  std::unique_ptr<Head> (*make)(const Backbone&, const HeadOptions&);
  std::int64_t output_stride = 0;  // where none is asked for; 0: the convention's
  bool auxiliary = false;          // whether the convention's auxiliary classifier belongs to it
  int cascade = 0;                 // stages that it wants behind the last
  bool skips = false;              // features of every scale of the backbone
  bool multi_scale = false;        // sees the image at three scales
  const char* ending = "";         // of the names of its models
};
// clang-format off
constexpr HeadEntry kHeads[] = {
    {.name = "deeplab_v1", .on = kVgg, .make = head<DeepLabV1, FieldOfView::large, false>, .output_stride = 8},
    {.name = "deeplab_v1", .on = kVgg, .make = head<DeepLabV1, FieldOfView::large, true>, .output_stride = 8, .skips = true, .ending = "_msc"},
    {.name = "deeplab_v1_plain", .on = kVgg, .make = head<DeepLabV1, FieldOfView::plain, false>, .output_stride = 8},
    {.name = "deeplab_v1_plain", .on = kVgg, .make = head<DeepLabV1, FieldOfView::plain, true>, .output_stride = 8, .skips = true, .ending = "_msc"},
    {.name = "deeplab_v1_4x4", .on = kVgg, .make = head<DeepLabV1, FieldOfView::four_by_four, false>, .output_stride = 8},
    {.name = "deeplab_v1_7x7", .on = kVgg, .make = head<DeepLabV1, FieldOfView::seven_by_seven, false>, .output_stride = 8},
    {.name = "deeplab_v2", .on = kVgg | kBottleneckResNet, .make = head<DeepLabV2, PyramidOfV2::large>, .output_stride = 8},
    {.name = "deeplab_v2", .on = kBottleneckResNet, .make = head<DeepLabV2, PyramidOfV2::large>, .output_stride = 8, .multi_scale = true, .ending = "_msc"},
    {.name = "deeplab_v2_aspp_s", .on = kVgg | kBottleneckResNet, .make = head<DeepLabV2, PyramidOfV2::small>, .output_stride = 8},
    {.name = "deeplab_v2_largefov", .on = kVgg | kBottleneckResNet, .make = head<DeepLabV2, PyramidOfV2::large_fov>, .output_stride = 8},
    {.name = "deeplab_v2_largefov", .on = kBottleneckResNet, .make = head<DeepLabV2, PyramidOfV2::large_fov>, .output_stride = 8, .multi_scale = true, .ending = "_msc"},
    {.name = "deeplab_v3", .on = kModern & ~kMobileNetV3, .make = head<DeepLabV3>, .auxiliary = true},
    {.name = "deeplabv3", .on = kMobileNetV3, .make = head<DeepLabV3>, .auxiliary = true},  // as torchvision has it
    {.name = "deeplab_v3_cascade", .on = kBottleneckResNet, .make = head<DeepLabV3Cascade>, .cascade = 3},
    {.name = "deeplab_v3plus", .on = kModern, .make = head<DeepLabV3Plus>},
    {.name = "deeplab_v3plus_plain", .on = kXception, .make = head<DeepLabV3Plus, false>},
    {.name = "deeplab_v3plus_separable", .on = kModern & ~kXception, .make = head<DeepLabV3Plus, true>},
    {.name = "lraspp", .on = kMobileNetV3, .make = head<LrAspp>, .output_stride = 16},
};
// clang-format on

// Pieces of names as others spell them, and ours; in this order.
constexpr std::pair<std::string_view, std::string_view> kOtherSpellings[] = {
    {"xception_", "xception"},  // TensorFlow
    {"deeplab_v3_mobilenet_v3", "deeplabv3_mobilenet_v3"},
    {"deeplab_v1_largefov_", "deeplab_v1_"},
    {"deeplab_v1_msc_largefov_vgg16", "deeplab_v1_vgg16_msc"},
    {"deeplab_v1_msc_vgg16", "deeplab_v1_vgg16_msc"},
    {"deeplab_v2_aspp_l_", "deeplab_v2_"},
    {"deeplab_v2_msc_aspp_l_resnet50", "deeplab_v2_resnet50_msc"},
    {"deeplab_v2_msc_aspp_l_resnet101", "deeplab_v2_resnet101_msc"},
    {"deeplab_v2_msc_largefov_resnet50", "deeplab_v2_largefov_resnet50_msc"},
    {"deeplab_v2_msc_largefov_resnet101", "deeplab_v2_largefov_resnet101_msc"},
};

// What a name stands for; null and null for none.
struct Entry {
  const HeadEntry* head = nullptr;
  const BackboneEntry* backbone = nullptr;
};

std::string full_name(const HeadEntry& h, const BackboneEntry& b) {
  return std::string(h.name) + "_" + b.name + h.ending;
}

// Levenshtein's distance.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

[[noreturn]] void fail_unknown(std::string_view name) {
  std::vector<std::string> near = names();
  std::stable_sort(near.begin(), near.end(), [&](const std::string& a, const std::string& b) {
    return edits(name, a) < edits(name, b);
  });
  near.resize(std::min<std::size_t>(near.size(), 3));
  std::string text;
  for (const std::string& n : near) text += (text.empty() ? "" : ", ") + n;
  fail<ValueError>("models", "unknown model \"", name, "\"; did you mean ", text, '?');
}

Entry find(std::string_view name) {
  std::string ours(name);
  for (const auto& [other, own] : kOtherSpellings)
    if (const std::size_t at = ours.find(other); at != std::string::npos) ours.replace(at, other.size(), own);
  for (const HeadEntry& h : kHeads)
    for (const BackboneEntry& b : kBackbones)
      if ((h.on & b.kind) && full_name(h, b) == ours) return {&h, &b};
  fail_unknown(name);
}

}  // namespace

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const HeadEntry& h : kHeads)
    for (const BackboneEntry& b : kBackbones)
      if (h.on & b.kind) all.push_back(full_name(h, b));
  std::sort(all.begin(), all.end());
  return all;
}

std::unique_ptr<Model> build(const ModelConfig& config) {
  const Convention& rules = convention(config.convention);
  ATROUS_CHECK(ValueError, config.classes >= 1 && config.classes <= 256, config.name, config.classes,
               " classes; labels of 8 bits allow 1 to 256");
  ATROUS_CHECK(ValueError, config.in_channels >= 1 && config.in_channels <= 1024, config.name, "images of ",
               config.in_channels, " channels; 1 to 1024 are possible");
  const auto [h, b] = find(config.name);
  const auto& grid = h->cascade ? rules.cascade_multi_grid : rules.multi_grid;
  auto features = b->make({.output_stride = config.output_stride,
                           .width = config.width,
                           .in_channels = config.in_channels,
                           .convention = &rules,
                           .multi_grid = config.multi_grid.empty() ? grid : config.multi_grid,
                           .cascade = h->cascade,
                           .skips = h->skips});
  const HeadOptions options{.classes = config.classes,
                            .output_stride = config.output_stride,
                            .width = config.head_width,
                            .convention = &rules};
  auto classifier = h->make(*features, options);
  ModelExtras extras;
  if (h->multi_scale) extras.scales = {1, 0.75, 0.5};
  if (config.auxiliary) {
    ATROUS_CHECK(ValueError, h->auxiliary && features->middle_channels() > 0, "models", config.name,
                 " has no place for an auxiliary classifier");
    extras.auxiliary = std::make_unique<AuxiliaryHead>(*features, options);
  }
  return std::make_unique<Model>(config, std::move(features), std::move(classifier), std::move(extras));
}

ModelConfig resolve(std::string_view name, const ModelOptions& options) {
  const std::size_t colon = name.find(':');
  const bool suffixed = colon != std::string_view::npos;
  const Convention& rules = convention(suffixed ? name.substr(colon + 1) : std::string_view());
  const auto [h, b] = find(name.substr(0, colon));
  const std::int64_t published = b->kind & kMobile ? rules.mobile_output_stride : rules.output_stride;
  const std::int64_t usual = h->output_stride ? h->output_stride : published;
  const bool auxiliary = rules.auxiliary && h->auxiliary && (b->kind & kWithMiddle);
  return {.name = full_name(*h, *b),
          .convention = rules.name,
          .classes = options.classes,
          .output_stride = options.output_stride ? options.output_stride : usual,
          .width = options.width,
          .head_width = options.head_width,
          .multi_grid = options.multi_grid,
          .auxiliary = options.auxiliary.value_or(auxiliary),
          .in_channels = options.in_channels};
}

std::unique_ptr<Model> make(std::string_view name, const ModelOptions& options) {
  auto model = build(resolve(name, options));
  model->initialise(options.seed);
  return model;
}

}  // namespace atrous::models
