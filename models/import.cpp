#include "atrous/models/import.h"

#include <cmath>
#include <cstdio>

#include "atrous/core/error.h"
#include "atrous/models/import_tensors.h"
#include "atrous/models/registry.h"

namespace atrous::models {
namespace {

constexpr const char* kOp = "import";

/// The number in the name of the model's backbone: 101 of resnet101_beta, 65 of xception65.
std::string net_number(const std::string& model) {
  for (const std::string_view family : {"resnet", "xception"}) {
    const std::size_t at = model.rfind(family);
    if (at == std::string::npos) continue;
    const std::size_t begin = at + family.size();
    return model.substr(begin, model.find_first_not_of("0123456789", begin) - begin);
  }
  return {};
}

/// The map under which the file has most of the model.
const NameMap& best_map(const io::WeightFile& file, const std::string& name) {
  const auto model = build({.name = name});
  const NameMap* best = nullptr;
  double most = 0;
  for (const NameMap& map : name_maps()) {
    // TensorFlow and TFLite have the same names in other layouts.
    if ((std::string_view(map.name) == "tflite") != (std::string_view(file.format()) == "TFLite")) continue;
    const double share = TensorImporter(file, map, net_number(name)).share(*model);
    if (share > most) {
      most = share;
      best = &map;
    }
  }
  ATROUS_CHECK(IoError, best, kOp, file.path(), ": none of its ", file.tensors().size(),
               " tensors has a name that belongs to ", name, " in a source that is known");
  return *best;
}

/// The classes that the file's logits are for; 0 if they are not there.
std::int64_t classes_of(const TensorImporter& tensors) {
  for (const char* logits : {"head.logits", "head.logits.0", "head.logits.high"})
    if (const std::int64_t classes = tensors.channels(logits)) return classes;
  return 0;
}

/// The multiplier that gives the channels of MobileNetV2's first and last convolution.
double width_of(const TensorImporter& tensors, const Convention& convention) {
  const std::int64_t first = tensors.channels("backbone.stem"),
                     last = tensors.channels("backbone.block16.project");
  const auto fits = [&](double width) {
    return scaled_channels(32, width, convention.width_rounding) == first &&
           scaled_channels(320, width, convention.width_rounding) == last;
  };
  for (const double width : {1.0, 0.25, 0.35, 0.5, 0.75, 1.3, 1.4, double(last) / 320})
    if (width > 0 && fits(width)) return width;
  return 1;
}

/// Pixels of the input for one of the logits, where the file has a graph; else 0.
std::int64_t output_stride_of(const io::WeightFile& file, const TensorImporter& tensors) {
  const auto side = [&](const std::string& key) -> long {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? 0 : std::strtol(found->second.c_str(), nullptr, 10);
  };
  const long input = side("input"), logits = side(tensors.weight_name("head.logits"));
  return input > 1 && logits > 1 ? std::lround(double(input - 1) / double(logits - 1)) : 0;
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

std::set<std::string> logits_of(const Model& model) {
  std::set<std::string> names;
  for (const layers::Parameter& p : model.named_parameters())
    if (depends_on_classes(p.name)) names.insert(p.name);
  return names;
}

}  // namespace

ImportedModel import_model(const std::string& path, const ImportOptions& options) {
  return import_model(*io::open_weight_file(path), options);
}

ImportedModel import_model(const io::WeightFile& file, const ImportOptions& options) {
  ATROUS_CHECK(IoError, !file.metadata().count("atrous.model"), kOp, file.path(),
               ": is a checkpoint of this library already");
  const std::size_t colon = options.model.find(':');
  const std::string name = resolve(options.model.substr(0, colon)).name;
  const NameMap& map = options.from.empty() ? best_map(file, name) : name_map(options.from);
  const Convention& rules = convention(
      colon == std::string::npos ? map.convention : std::string_view(options.model).substr(colon + 1));

  ImportedModel imported;
  ImportReport& report = imported.report;
  report.format = file.format();
  report.from = map.name;
  TensorImporter tensors(file, map, net_number(name));
  const std::int64_t classes_there = classes_of(tensors), stride_there = output_stride_of(file, tensors);
  const bool scaled = name.ends_with("mobilenet_v2");
  ModelOptions wanted;
  if (classes_there > 0) wanted.classes = classes_there;
  wanted.classes = options.classes.value_or(wanted.classes);
  wanted.width = options.width.value_or(scaled ? width_of(tensors, rules) : 1);
  wanted.output_stride = options.output_stride.value_or(stride_there);
  wanted.in_channels = options.in_channels;
  // The auxiliary classifier comes along where both the file and the model have one.
  const bool auxiliary_there = tensors.channels("auxiliary.logits") > 0;
  if (!auxiliary_there) wanted.auxiliary = false;
  const bool other_task = classes_there > 0 && classes_there != wanted.classes;
  auto model = build(resolve(name + ":" + rules.name, wanted));
  if (other_task) model->initialise(wanted.seed);  // for the classifier

  if (!options.classes && classes_there > 0)
    report.notes.push_back("the file has " + std::to_string(classes_there) + " classes");
  if (!options.width && scaled) report.notes.push_back("the file has width " + number_text(wanted.width));
  if (!options.output_stride && stride_there > 0)
    report.notes.push_back("the file's graph has output stride " + std::to_string(stride_there));
  tensors.load(*model, other_task ? logits_of(*model) : std::set<std::string>(), report);
  if (!report.problems.empty()) return imported;
  model->eval();
  imported.model = std::move(model);
  return imported;
}

}  // namespace atrous::models
