#include "atrous/models/weights.h"

#include <sstream>
#include <utility>

#include "atrous/core/error.h"
#include "atrous/io/safetensors.h"
#include "atrous/models/registry.h"
#include "atrous/models/weight_layout.h"

namespace atrous::models {
namespace {

using Tensors = std::map<std::string, Tensor>;

Tensors on_host(Tensors all) {
  for (auto& [name, tensor] : all) tensor = tensor.to(kCpu);
  return all;
}

// Handles on the model's own tensors: writing to them writes to the model.
Tensors own_tensors(const Model& model, bool counters) {
  Tensors all;
  for (const layers::Parameter& p : model.named_parameters()) all[p.name] = p.variable.value();
  for (const layers::Buffer& b : model.named_buffers())
    if (counters || b.kind == layers::BufferKind::statistic) all[b.name] = *b.tensor;
  return all;
}

struct Plan {
  std::vector<std::pair<Tensor, Tensor>> copies;  // to, from
  LoadReport report;
};

// The first convolution, whose input channels are those of the images.
std::string first_convolution(const Model& model) { return model.named_parameters().front().name; }

bool of_auxiliary(const std::string& name) { return name.starts_with("auxiliary."); }

std::string text_of(const Shape& shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

// Whether two weights [R, S, C, K] differ in C alone.
bool other_images(const Tensor& a, const Tensor& b) {
  return a.rank() == 4 && b.rank() == 4 && a.shape().with(2, b.dim(2)) == b.shape();
}

// The file's tensor as the model's `name` wants it, or undefined to keep the model's. A change is noted.
Tensor fitted(const std::string& name, const Tensor& tensor, const Tensor& from, const std::string& first,
              LoadReport& report) {
  const std::string shapes = text_of(from.shape()) + " in the file, " + text_of(tensor.shape()) + " here";
  if (name == first && other_images(from, tensor)) {
    report.changes.push_back(name + " is " + shapes + ": fitted to the channels of the images");
    return with_input_channels(from.to(Dtype::f32), tensor.dim(2)).to(from.dtype());
  }
  report.changes.push_back(name + " is " + shapes + ": keeps its values");
  report.kept.push_back(name);
  return {};
}

// Decides what to copy; throws unless the mode allows what does not fit.
Plan plan_load(const std::string& path, const Tensors& own, const Tensors& file, LoadMode mode,
               const std::string& first = {}) {
  Plan plan;
  const bool lenient = mode == LoadMode::lenient, task = mode == LoadMode::new_classes;
  for (const auto& [name, tensor] : own) {
    const auto found = file.find(name);
    if (found == file.end()) {
      ATROUS_CHECK(IoError, lenient || (task && of_auxiliary(name)), "checkpoint", path, ": wanted tensor \"",
                   name, "\" ", tensor.shape(), ", the file does not have it");
      plan.report.kept.push_back(name);
      continue;
    }
    Tensor from = found->second;
    if (from.shape() != tensor.shape()) {
      const bool may_differ =
          lenient || (task && (depends_on_classes(name) || (name == first && other_images(from, tensor))));
      ATROUS_CHECK(IoError, may_differ, "checkpoint", path, ": wanted tensor \"", name, "\" ", tensor.shape(),
                   ", file has ", from.shape());
      from = fitted(name, tensor, from, first, plan.report);
      if (!from.defined()) continue;
    }
    ATROUS_CHECK(IoError, from.dtype() == tensor.dtype(), "checkpoint", path, ": wanted tensor \"", name,
                 "\" of ", tensor.dtype(), ", file has ", from.dtype());
    plan.copies.emplace_back(tensor, from);
    plan.report.loaded.push_back(name);
  }
  for (const auto& [name, tensor] : file) {
    if (own.count(name)) continue;
    ATROUS_CHECK(IoError, lenient || (task && of_auxiliary(name)), "checkpoint", path, ": tensor \"", name,
                 "\" ", tensor.shape(), " is not in the model");
    plan.report.unexpected.push_back(name);
  }
  ATROUS_CHECK(IoError, !plan.copies.empty(), "checkpoint", path, ": none of its ", file.size(),
               " tensors fits the model");
  return plan;
}

void commit(Plan& plan) {
  for (auto& [to, from] : plan.copies) to.copy_from(from);
}

// A file that computes another function with the same tensors must not load in silence.
void check_info(const Model& model, const io::CheckpointInfo& file, const std::string& path) {
  const io::CheckpointInfo own = checkpoint_info(model);
  ATROUS_CHECK(IoError, file.convention == own.convention, "checkpoint", path, ": convention \"",
               file.convention, "\", the model's is \"", own.convention, '"');
  for (const auto& [part, constants] : own.batch_norm) {
    const auto found = file.batch_norm.find(part);
    ATROUS_CHECK(IoError, found == file.batch_norm.end() || found->second.epsilon == constants.epsilon,
                 "checkpoint", path, ": batch norms of the ", part, " have epsilon ", found->second.epsilon,
                 ", the model's have ", constants.epsilon);
  }
}

Plan plan_from_tensors(Model& model, const std::string& path, const io::CheckpointInfo* info,
                       const Tensors& tensors, LoadMode mode) {
  if (info) check_info(model, *info, path);
  Plan plan = plan_load(path, own_tensors(model, false), tensors, mode, first_convolution(model));
  const std::int64_t stride = model.config().output_stride;
  if (info && info->output_stride != stride)
    plan.report.changes.push_back("output stride is " + std::to_string(info->output_stride) +
                                  " in the file, " + std::to_string(stride) +
                                  " here: the same weights on another grid");
  return plan;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < 6; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > 6) text += " and " + std::to_string(names.size() - 6) + " more";
  return text;
}

}  // namespace

std::string LoadReport::text() const {
  std::string line = "loaded " + std::to_string(loaded.size()) + " tensors";
  if (!kept.empty()) line += "; kept " + joined(kept);
  if (!unexpected.empty()) line += "; not in the model: " + joined(unexpected);
  return line;
}

io::CheckpointInfo checkpoint_info(const Model& model, const io::Colormap& classes) {
  const ModelConfig& config = model.config();
  const Preprocessing& how = model.preprocessing();
  const auto constants = [](const layers::BatchNormConstants& c) {
    return io::CheckpointInfo::BatchNorm{.epsilon = c.epsilon, .decay = c.decay};
  };
  io::CheckpointInfo info;
  info.model = config.name;
  info.convention = config.convention;
  info.classes = config.classes;
  info.width = config.width;
  info.head_width = config.head_width;
  info.multi_grid = config.multi_grid;
  info.auxiliary = config.auxiliary;
  info.input_channels = config.in_channels;
  info.output_stride = config.output_stride;
  info.preprocessing = how;
  if (model.backbone().batch_norm()) info.batch_norm["backbone"] = constants(*model.backbone().batch_norm());
  info.batch_norm["head"] = constants(model.convention().head_batch_norm);
  info.colormap = classes;
  return info;
}

void save(const Model& model, const std::string& path, const io::Colormap& classes,
          const std::map<std::string, std::string>& extra) {
  ATROUS_CHECK(ValueError, classes.size() == 0 || classes.size() == model.config().classes, "checkpoint",
               path, ": names of ", classes.size(), " classes for a model of ", model.config().classes);
  io::CheckpointInfo info = checkpoint_info(model, classes);
  info.extra = extra;
  io::write_checkpoint(path, info, on_host(own_tensors(model, false)));
}

LoadReport load(Model& model, const std::string& path, LoadMode mode) {
  Plan plan;
  if (io::is_checkpoint(path)) {
    const io::Checkpoint checkpoint = io::read_checkpoint(path);
    plan = plan_from_tensors(model, path, &checkpoint.info, checkpoint.tensors, mode);
  } else {
    plan = plan_from_tensors(model, path, nullptr, io::read_safetensors(path).tensors, mode);
  }
  commit(plan);
  return plan.report;
}

LoadedModel load_model(const std::string& path, std::int64_t output_stride) {
  io::Checkpoint checkpoint = io::read_checkpoint(path);
  const io::CheckpointInfo& info = checkpoint.info;
  LoadedModel loaded;
  loaded.model = build({.name = info.model,
                        .convention = info.convention,
                        .classes = info.classes,
                        .output_stride = output_stride ? output_stride : info.output_stride,
                        .width = info.width,
                        .head_width = info.head_width,
                        .multi_grid = info.multi_grid,
                        .auxiliary = info.auxiliary,
                        .in_channels = info.input_channels});
  Plan plan = plan_from_tensors(*loaded.model, path, &info, checkpoint.tensors, LoadMode::strict);
  commit(plan);
  loaded.model->eval();
  loaded.changes = std::move(plan.report.changes);
  loaded.info = std::move(checkpoint.info);
  return loaded;
}

void save_training_state(const std::string& path, const Model& model, const layers::Optimizer& optimizer,
                         const std::map<std::string, std::string>& metadata) {
  Tensors all;
  for (const auto& [name, tensor] : own_tensors(model, true)) all["model." + name] = tensor;
  for (const auto& [name, tensor] : optimizer.state()) all["optimizer." + name] = tensor;
  io::write_safetensors(path, on_host(std::move(all)), metadata);
}

std::map<std::string, std::string> load_training_state(const std::string& path, Model& model,
                                                       layers::Optimizer& optimizer) {
  const io::SafeTensors file = io::read_safetensors(path);
  Tensors of_model;
  layers::NamedState of_optimizer;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with("model."))
      of_model[name.substr(6)] = tensor;
    else if (name.starts_with("optimizer."))
      of_optimizer.emplace_back(name.substr(10), tensor);
    else
      fail<IoError>("checkpoint", path, ": tensor \"", name, "\" belongs to no training state");
  }
  Plan plan = plan_load(path, own_tensors(model, true), of_model, LoadMode::strict);
  try {
    optimizer.load_state(of_optimizer);  // checks all, then changes
  } catch (const Error& e) {
    fail<IoError>("checkpoint", path, ": ", e.what());
  }
  commit(plan);
  return file.metadata;
}

}  // namespace atrous::models
