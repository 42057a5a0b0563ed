#include "atrous/models/registry.h"

#include <algorithm>

#include "atrous/core/error.h"
#include "atrous/models/deeplab_v3.h"
#include "atrous/models/deeplab_v3plus.h"
#include "atrous/models/mobilenet_v2.h"
#include "atrous/models/resnet.h"

namespace atrous::models {
namespace {

template <class T, class... Args>
std::unique_ptr<Backbone> backbone(Args... args) {
  return std::make_unique<T>(args...);
}
template <class T>
std::unique_ptr<Head> head(const Backbone& on, const HeadOptions& options) {
  return std::make_unique<T>(on, options);
}

struct BackboneEntry {
  const char* name;
  std::unique_ptr<Backbone> (*make)(const BackboneOptions&);
};
constexpr BackboneEntry kBackbones[] = {
    {"mobilenet_v2", [](const BackboneOptions& o) { return backbone<MobileNetV2>(o); }},
    {"resnet18", [](const BackboneOptions& o) { return backbone<ResNet>(18, o); }},
    {"resnet50", [](const BackboneOptions& o) { return backbone<ResNet>(50, o); }},
};

struct HeadEntry {
  const char* name;
  std::unique_ptr<Head> (*make)(const Backbone&, const HeadOptions&);
};
constexpr HeadEntry kHeads[] = {
    {"deeplab_v3", head<DeepLabV3>},
    {"deeplab_v3plus", head<DeepLabV3Plus>},
};

std::string full_name(const HeadEntry& h, const BackboneEntry& b) {
  return std::string(h.name) + "_" + b.name;
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

}  // namespace

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const HeadEntry& h : kHeads)
    for (const BackboneEntry& b : kBackbones) all.push_back(full_name(h, b));
  std::sort(all.begin(), all.end());
  return all;
}

std::unique_ptr<Model> build(const ModelConfig& config) {
  const Convention& rules = convention(config.convention);
  ATROUS_CHECK(ValueError, config.classes >= 1 && config.classes <= 256, config.name, config.classes,
               " classes; labels of 8 bits allow 1 to 256");
  for (const HeadEntry& h : kHeads) {
    for (const BackboneEntry& b : kBackbones) {
      if (full_name(h, b) != config.name) continue;
      auto features =
          b.make({.output_stride = config.output_stride, .width = config.width, .convention = &rules});
      auto classifier =
          h.make(*features,
                 {.classes = config.classes, .output_stride = config.output_stride, .convention = &rules});
      return std::make_unique<Model>(config, std::move(features), std::move(classifier));
    }
  }
  fail_unknown(config.name);
}

ModelConfig resolve(std::string_view name, const ModelOptions& options) {
  const std::size_t colon = name.find(':');
  const bool suffixed = colon != std::string_view::npos;
  const Convention& rules = convention(suffixed ? name.substr(colon + 1) : std::string_view());
  return {.name = std::string(name.substr(0, colon)),
          .convention = rules.name,
          .classes = options.classes,
          .output_stride = options.output_stride ? options.output_stride : rules.output_stride,
          .width = options.width};
}

std::unique_ptr<Model> make(std::string_view name, const ModelOptions& options) {
  auto model = build(resolve(name, options));
  model->initialise(options.seed);
  return model;
}

}  // namespace atrous::models
