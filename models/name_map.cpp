#include "atrous/models/name_map.h"

#include <cctype>
#include <map>
#include <optional>

#include "atrous/core/error.h"

namespace atrous::models {
namespace {

using Numbers = std::map<std::string, std::string, std::less<>>;

constexpr TensorSuffixes kTorch = {".weight", ".weight",       ".bias",       ".weight",
                                   ".bias",   ".running_mean", ".running_var"};
constexpr TensorSuffixes kSlim = {"/weights",
                                  "/depthwise_weights",
                                  "/biases",
                                  "/BatchNorm/gamma",
                                  "/BatchNorm/beta",
                                  "/BatchNorm/moving_mean",
                                  "/BatchNorm/moving_variance"};
constexpr TensorSuffixes kBlobs = {"/0", "/0", "/1", "/0", "/1", "/0", "/1", "/2"};

// torchvision's ResNet, in many other repositories too.
#define ATROUS_TORCH_RESNET                                                                                \
  {"backbone.conv1", "backbone.conv1", "backbone.bn1"},                                                    \
      {"backbone.layer{s}.{u}.conv{c}", "backbone.layer{s}.{u}.conv{c}", "backbone.layer{s}.{u}.bn{c}"}, { \
    "backbone.layer{s}.{u}.downsample", "backbone.layer{s}.{u}.downsample.0",                              \
        "backbone.layer{s}.{u}.downsample.1"                                                               \
  }

// The pyramid of torchvision and its relatives, below `at`.
#define ATROUS_TORCH_ASPP(at)                                        \
  {"head.aspp.conv1x1", at "convs.0.0", at "convs.0.1"},             \
      {"head.aspp.rate{k}", at "convs.{k+1}.0", at "convs.{k+1}.1"}, \
      {"head.aspp.image_pool", at "convs.4.1", at "convs.4.2"}, {    \
    "head.aspp.project", at "project.0", at "project.1"              \
  }

constexpr LeftOut kCounters = {"*.num_batches_tracked", "num_batches_tracked"};
constexpr const char* kShared = "the branches of other scales, which share the weights";

// clang-format off
const std::vector<NameRule> kTorchvisionRules = {
    ATROUS_TORCH_RESNET,
    // MobileNetV3: the first block expands nothing; those with squeeze and excitation have it third.
    {"backbone.stem", "backbone.0.0", "backbone.0.1"},
    {"backbone.block0.depthwise", "backbone.1.block.0.0", "backbone.1.block.0.1"},
    {"backbone.block0.project", "backbone.1.block.1.0", "backbone.1.block.1.1"},
    {"backbone.block{b}.expand", "backbone.{b+1}.block.0.0", "backbone.{b+1}.block.0.1"},
    {"backbone.block{b}.depthwise", "backbone.{b+1}.block.1.0", "backbone.{b+1}.block.1.1"},
    {"backbone.block{b}.excite.fc{i}", "backbone.{b+1}.block.2.fc{i}"},
    {"backbone.block{b}.project", "backbone.{b+1}.block.3.0", "backbone.{b+1}.block.3.1"},
    {"backbone.block{b}.project", "backbone.{b+1}.block.2.0", "backbone.{b+1}.block.2.1"},
    {"backbone.last", "backbone.16.0", "backbone.16.1"},
    ATROUS_TORCH_ASPP("classifier.0."),
    {"head.refine", "classifier.1", "classifier.2"},
    {"head.logits", "classifier.4"},
    {"head.project", "classifier.cbr.0", "classifier.cbr.1"},
    {"head.gate", "classifier.scale.1"},
    {"head.logits.low", "classifier.low_classifier"},
    {"head.logits.high", "classifier.high_classifier"},
    {"auxiliary.conv", "aux_classifier.0", "aux_classifier.1"},
    {"auxiliary.logits", "aux_classifier.4"},
};

const std::vector<NameRule> kSlimRules = {
    {"backbone.stem", "MobilenetV2/Conv"},
    {"backbone.block0.{part}", "MobilenetV2/expanded_conv/{part}"},
    {"backbone.block{b}.{part}", "MobilenetV2/expanded_conv_{b}/{part}"},
    {"backbone.conv1", "resnet_v1_{net}/conv1"},
    {"backbone.conv1_{i}", "resnet_v1_{net}/conv1_{i}"},
    {"backbone.layer{s}.{u}.conv{c}", "resnet_v1_{net}/block{s}/unit_{u+1}/bottleneck_v1/conv{c}"},
    {"backbone.layer{s}.{u}.downsample", "resnet_v1_{net}/block{s}/unit_{u+1}/bottleneck_v1/shortcut"},
    {"backbone.conv1_{i}", "xception_{net}/entry_flow/conv1_{i}"},
    {"backbone.entry{i}.conv{c}.{part}", "xception_{net}/entry_flow/block{i}/unit_1/xception_module/separable_conv{c}_{part}"},
    {"backbone.entry{i}.shortcut", "xception_{net}/entry_flow/block{i}/unit_1/xception_module/shortcut"},
    {"backbone.middle{i}.conv{c}.{part}", "xception_{net}/middle_flow/block1/unit_{i}/xception_module/separable_conv{c}_{part}"},
    {"backbone.exit{i}.conv{c}.{part}", "xception_{net}/exit_flow/block{i}/unit_1/xception_module/separable_conv{c}_{part}"},
    {"backbone.exit{i}.shortcut", "xception_{net}/exit_flow/block{i}/unit_1/xception_module/shortcut"},
    {"head.aspp.image_pool", "image_pooling"},
    {"head.aspp.conv1x1", "aspp0"},
    {"head.aspp.rate{k}", "aspp{k+1}"},
    {"head.aspp.rate{k}.{part}", "aspp{k+1}_{part}"},
    {"head.aspp.project", "concat_projection"},
    {"head.low", "decoder/feature_projection0"},
    {"head.decoder{i}.{part}", "decoder/decoder_conv{i}_{part}"},
    {"head.decoder{i}", "decoder/decoder_conv0/decoder_conv0_{i+1}"},
    {"head.logits", "logits/semantic"},
};

// Blocks are called a, b, c, or in the long stages of ResNet-101 a, b1, b2, ...
const std::vector<NameRule> kCaffeRules = {
    {"backbone.conv1", "conv1", "bn_conv1", "scale_conv1"},
    {"backbone.layer{s}.{u}.conv{c}", "res{s+1}{u:a}_branch2{c-1:a}", "bn{s+1}{u:a}_branch2{c-1:a}", "scale{s+1}{u:a}_branch2{c-1:a}"},
    {"backbone.layer{s}.{u}.conv{c}", "res{s+1}b{u}_branch2{c-1:a}", "bn{s+1}b{u}_branch2{c-1:a}", "scale{s+1}b{u}_branch2{c-1:a}"},
    {"backbone.layer{s}.{u}.downsample", "res{s+1}{u:a}_branch1", "bn{s+1}{u:a}_branch1", "scale{s+1}{u:a}_branch1"},
    {"backbone.conv{s}_{i}", "conv{s}_{i}"},
    {"head.fc{n}", "fc{n}"},
    {"head.fc{n}_{b}", "fc{n}_{b+1}"},
    {"head.logits", "fc8_voc12"},
    {"head.logits", "fc8"},
    {"head.logits.{b}", "fc1_voc12_c{b}"},
    {"head.logits.{b}", "fc8_voc12_c{b}"},
    {"head.logits.{b}", "fc8_voc12_{b+1}"},
    {"head.logits.{b}", "fc8_{b+1}"},
    {"head.logits.0", "fc1_voc12"},
    {"head.logits.0", "fc8_voc12"},
    {"head.fc{n}_0", "fc{n}"},
};

const std::vector<NameRule> kKazutoRules = {
    {"backbone.conv1", "layer1.conv1.conv", "layer1.conv1.bn"},
    {"backbone.layer{s}.{u}.conv1", "layer{s+1}.block{u+1}.reduce.conv", "layer{s+1}.block{u+1}.reduce.bn"},
    {"backbone.layer{s}.{u}.conv2", "layer{s+1}.block{u+1}.conv3x3.conv", "layer{s+1}.block{u+1}.conv3x3.bn"},
    {"backbone.layer{s}.{u}.conv3", "layer{s+1}.block{u+1}.increase.conv", "layer{s+1}.block{u+1}.increase.bn"},
    {"backbone.layer{s}.{u}.downsample", "layer{s+1}.block{u+1}.shortcut.conv", "layer{s+1}.block{u+1}.shortcut.bn"},
    {"head.logits.{b}", "aspp.c{b}"},
    {"head.aspp.conv1x1", "aspp.stages.c0.conv", "aspp.stages.c0.bn"},
    {"head.aspp.rate{k}", "aspp.stages.c{k+1}.conv", "aspp.stages.c{k+1}.bn"},
    {"head.aspp.image_pool", "aspp.stages.imagepool.conv.conv", "aspp.stages.imagepool.conv.bn"},
    {"head.aspp.project", "fc1.conv", "fc1.bn"},
    {"head.low", "reduce.conv", "reduce.bn"},
    {"head.decoder{i}", "fc2.conv{i+1}.conv", "fc2.conv{i+1}.bn"},
    {"head.logits", "fc2"},
    {"head.logits", "fc2.conv3"},
    // isht7/pytorch-deeplab-resnet, the same network under "Scale."
    {"backbone.conv1", "conv1", "bn1"},
    {"backbone.layer{s}.{u}.conv{c}", "layer{s}.{u}.conv{c}", "layer{s}.{u}.bn{c}"},
    {"backbone.layer{s}.{u}.downsample", "layer{s}.{u}.downsample.0", "layer{s}.{u}.downsample.1"},
    {"head.logits.{b}", "layer5.conv2d_list.{b}"},
};

const std::vector<NameRule> kVainfRules = {
    ATROUS_TORCH_RESNET,
    {"backbone.stem", "backbone.low_level_features.0.0", "backbone.low_level_features.0.1"},
    // The first block expands nothing; blocks 0 to 2 are low-level features.
    {"backbone.block0.depthwise", "backbone.low_level_features.1.conv.0.0", "backbone.low_level_features.1.conv.0.1"},
    {"backbone.block0.project", "backbone.low_level_features.1.conv.1", "backbone.low_level_features.1.conv.2"},
    {"backbone.block{b}.expand", "backbone.low_level_features.{b+1}.conv.0.0", "backbone.low_level_features.{b+1}.conv.0.1"},
    {"backbone.block{b}.depthwise", "backbone.low_level_features.{b+1}.conv.1.0", "backbone.low_level_features.{b+1}.conv.1.1"},
    {"backbone.block{b}.project", "backbone.low_level_features.{b+1}.conv.2", "backbone.low_level_features.{b+1}.conv.3"},
    {"backbone.block{b}.expand", "backbone.high_level_features.{b+1}.conv.0.0", "backbone.high_level_features.{b+1}.conv.0.1"},
    {"backbone.block{b}.depthwise", "backbone.high_level_features.{b+1}.conv.1.0", "backbone.high_level_features.{b+1}.conv.1.1"},
    {"backbone.block{b}.project", "backbone.high_level_features.{b+1}.conv.2", "backbone.high_level_features.{b+1}.conv.3"},
    // v3+ has its pyramid in "classifier.aspp", v3 in a sequence.
    ATROUS_TORCH_ASPP("classifier.aspp."),
    {"head.low", "classifier.project.0", "classifier.project.1"},
    {"head.decoder0", "classifier.classifier.0", "classifier.classifier.1"},
    {"head.logits", "classifier.classifier.3"},
    ATROUS_TORCH_ASPP("classifier.classifier.0."),
    {"head.refine", "classifier.classifier.1", "classifier.classifier.2"},
    {"head.logits", "classifier.classifier.4"},
};
// clang-format on

#undef ATROUS_TORCH_RESNET
#undef ATROUS_TORCH_ASPP

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

/// The values of the placeholders if the text is of the pattern's form: {part} takes letters, others digits.
std::optional<Numbers> matched(std::string_view pattern, std::string_view text) {
  Numbers numbers;
  while (!pattern.empty()) {
    if (pattern.front() != '{') {
      if (text.empty() || text.front() != pattern.front()) return std::nullopt;
      pattern.remove_prefix(1);
      text.remove_prefix(1);
      continue;
    }
    const std::size_t close = pattern.find('}');
    const std::string key(pattern.substr(1, close - 1));
    pattern.remove_prefix(close + 1);
    std::size_t length = 0;
    while (length < text.size() &&
           (key == "part" ? std::isalpha(static_cast<unsigned char>(text[length])) != 0
                          : is_digit(text[length])))
      ++length;
    if (length == 0) return std::nullopt;
    numbers[key] = text.substr(0, length);
    text.remove_prefix(length);
  }
  return text.empty() ? std::optional(numbers) : std::nullopt;
}

/// The pattern with its placeholders replaced; nothing where a letter does not exist (z is the last).
std::optional<std::string> filled(std::string_view pattern, const Numbers& numbers) {
  std::string text;
  while (!pattern.empty()) {
    if (pattern.front() != '{') {
      text += pattern.front();
      pattern.remove_prefix(1);
      continue;
    }
    const std::size_t close = pattern.find('}');
    std::string key(pattern.substr(1, close - 1));
    pattern.remove_prefix(close + 1);
    const bool letter = key.ends_with(":a");
    if (letter) key.resize(key.size() - 2);
    int change = 0;
    if (key.size() > 2 && (key[key.size() - 2] == '+' || key[key.size() - 2] == '-')) {
      change = (key[key.size() - 2] == '+' ? 1 : -1) * (key.back() - '0');
      key.resize(key.size() - 2);
    }
    const std::string& value = numbers.at(key);
    if (!letter && change == 0) {
      text += value;
      continue;
    }
    const int number = std::stoi(value) + change;
    if (letter && (number < 0 || number > 25)) return std::nullopt;
    text += letter ? std::string(1, char('a' + number)) : std::to_string(number);
  }
  return text;
}

}  // namespace

const std::vector<NameMap>& name_maps() {
  static const std::vector<NameMap> maps = {
      {.name = "torchvision",
       .convention = "torchvision",
       .layout = WeightLayout::oihw,
       .image_pooling_first = false,
       .low_level_first = false,
       .prefixes = {"module."},
       .suffixes = kTorch,
       .rules = kTorchvisionRules,
       .left_out = {kCounters, {"aux_classifier.", "aux_classifier, which is for training"}}},
      {.name = "tf",
       .convention = "tf",
       .layout = WeightLayout::hwio,
       .image_pooling_first = true,
       .low_level_first = false,
       .prefixes = {},
       .suffixes = kSlim,
       .rules = kSlimRules,
       .left_out = {{"global_step", "global_step"},
                    {"*/Momentum", "the optimiser's momentum"},
                    {"*/ExponentialMovingAverage", "moving averages of the weights"}}},
      {.name = "tflite",
       .convention = "tf",
       .layout = WeightLayout::ohwi,
       .image_pooling_first = true,
       .low_level_first = false,
       .prefixes = {},
       .suffixes = kSlim,
       .rules = kSlimRules,
       .left_out = {{"*/size", "sizes of resizes"}, {"strided_slice", "sizes of resizes"}}},
      {.name = "caffe",
       .convention = "caffe",
       .layout = WeightLayout::oihw,
       .image_pooling_first = false,
       .low_level_first = false,
       .prefixes = {},
       .suffixes = kBlobs,
       .rules = kCaffeRules,
       .left_out = {{"*_res075/0", kShared},
                    {"*_res075/1", kShared},
                    {"*_res075/2", kShared},
                    {"*_res05/0", kShared},
                    {"*_res05/1", kShared},
                    {"*_res05/2", kShared}}},
      {.name = "kazuto1011",
       .convention = "caffe",
       .layout = WeightLayout::oihw,
       .image_pooling_first = false,
       .low_level_first = false,
       .prefixes = {"base.", "module.base.", "module.", "Scale."},
       .suffixes = kTorch,
       .rules = kKazutoRules,
       .left_out = {kCounters}},
      {.name = "vainf",
       .convention = "vainf",
       .layout = WeightLayout::oihw,
       .image_pooling_first = false,
       .low_level_first = true,
       .prefixes = {"module."},
       .suffixes = kTorch,
       .rules = kVainfRules,
       .left_out = {kCounters}},
  };
  return maps;
}

const NameMap& name_map(std::string_view name) {
  std::string known;
  for (const NameMap& map : name_maps()) {
    if (name == map.name) return map;
    known += (known.empty() ? "" : ", ") + std::string(map.name);
  }
  fail<ValueError>("models", "no table of names is called \"", name, "\"; known: ", known);
}

std::vector<SourceNames> source_names(const NameMap& map, std::string_view ours, const std::string& net) {
  std::vector<SourceNames> found;
  for (const NameRule& rule : map.rules) {
    auto numbers = matched(rule.ours, ours);
    if (!numbers) continue;
    (*numbers)["net"] = net;
    const auto conv = filled(rule.conv, *numbers), norm = filled(rule.norm, *numbers),
               scale = filled(rule.scale, *numbers);
    if (!conv || !norm || !scale) continue;
    SourceNames names{*conv, norm->empty() ? *conv : *norm, *scale};
    if (names.scale.empty()) names.scale = names.norm;
    found.push_back(std::move(names));
  }
  return found;
}

std::string left_out_as(const NameMap& map, std::string_view name) {
  for (const LeftOut& entry : map.left_out) {
    const std::string_view pattern = entry.name;
    if (pattern.starts_with('*') ? name.ends_with(pattern.substr(1)) : name.starts_with(pattern))
      return entry.what;
  }
  return {};
}

}  // namespace atrous::models
