#include "examples/support/training.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "atrous/autograd/softmax.h"
#include "atrous/autograd/upsample.h"
#include "atrous/core/error.h"
#include "atrous/io/dataset.h"
#include "atrous/io/file.h"
#include "atrous/io/safetensors.h"
#include "atrous/kernels/resize/resize.h"
#include "atrous/layers/adamw.h"
#include "atrous/layers/poly_lr.h"
#include "atrous/layers/sgd.h"
#include "atrous/layers/step_lr.h"
#include "atrous/models/weights.h"

namespace atrous::examples {
namespace {

std::string state_path(const std::string& dir) { return dir + "/last/state.safetensors"; }

nlohmann::json parse(const std::string& text, const std::string& what) {
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  ATROUS_CHECK(IoError, !json.is_discarded(), "train", what, " is not JSON");
  return json;
}

const std::string& entry(const std::map<std::string, std::string>& metadata, const std::string& key,
                         const std::string& path) {
  const auto found = metadata.find(key);
  ATROUS_CHECK(IoError, found != metadata.end(), "train", path, " has no \"", key,
               "\": it is not the state of a run");
  return found->second;
}

}  // namespace

Log::Log(const std::string& path, std::int64_t step) : path_(path) {
  std::ifstream old(path);
  std::string kept;
  for (std::string line; step > 0 && std::getline(old, line);) {
    const auto json = parse(line, path);
    if (json.value("step", std::int64_t(0)) > step) continue;
    kept += line + "\n";
    if (json.contains("loss"))
      steps_.push_back({json["step"], json["loss"], json["lr"], json["images_per_second"]});
    else
      evaluations_.push_back({json["step"], json["miou"], json["pixel_accuracy"]});
  }
  old.close();
  io::write_text(path, kept, "train");
}

void Log::append(const std::string& text) {
  std::ofstream file(path_, std::ios::app);
  file << text << '\n';
  ATROUS_CHECK(IoError, file.good(), "train", path_, ": cannot be written");
}

void Log::add(const LogLine& line) {
  steps_.push_back(line);
  append(nlohmann::ordered_json{{"step", line.step},
                                {"loss", line.loss},
                                {"lr", line.lr},
                                {"images_per_second", line.images_per_second}}
             .dump());
}

void Log::add(const EvalLine& line) {
  evaluations_.push_back(line);
  append(nlohmann::ordered_json{
      {"step", line.step}, {"miou", line.miou}, {"pixel_accuracy", line.pixel_accuracy}}
             .dump());
}

Recipe saved_recipe(const std::string& dir) {
  const std::string path = state_path(dir);
  ATROUS_CHECK(IoError, std::filesystem::exists(path), "train", dir, " holds no run to resume: ", path,
               " is not there");
  const auto metadata = io::read_safetensors(path).metadata;
  const nlohmann::json json = parse(entry(metadata, "train.recipe", path), path);
  Recipe recipe;
  for (const auto& [flag, value] : json.items()) recipe.emplace_back(flag, value);
  return recipe;
}

void save_run(const std::string& dir, std::int64_t step, const Recipe& recipe, const models::Model& model,
              const layers::Optimizer& optimizer) {
  nlohmann::json json;
  for (const auto& [flag, value] : recipe) json[flag] = value;
  std::filesystem::create_directories(dir + "/last");
  models::save_training_state(state_path(dir), model, optimizer,
                              {{"train.recipe", json.dump()}, {"train.step", std::to_string(step)}});
}

std::int64_t load_run(const std::string& dir, models::Model& model, layers::Optimizer& optimizer) {
  const std::string path = state_path(dir);
  return std::stoll(entry(models::load_training_state(path, model, optimizer), "train.step", path));
}

std::unique_ptr<layers::Optimizer> make_optimizer(const TrainOptions& o, models::Model& model) {
  const layers::ParameterRule decay = layers::decay_conv_weights(o.weight_decay);
  const layers::ParameterRule rule = [&](const layers::Parameter& p) {
    layers::ParameterSettings settings = decay(p);
    if (p.name.find(".logits") != std::string::npos) settings.lr_multiplier *= o.logits_lr;
    if (p.kind == layers::ParameterKind::bias) settings.lr_multiplier *= o.bias_lr;
    if (p.kind == layers::ParameterKind::batch_norm) settings.lr_multiplier *= o.bn_lr;
    return settings;
  };
  if (o.optimizer == "adamw")
    return std::make_unique<layers::AdamW>(model.named_parameters(), layers::AdamWOptions{.lr = o.lr}, rule);
  return std::make_unique<layers::Sgd>(model.named_parameters(),
                                       layers::SgdOptions{.lr = o.lr, .momentum = o.momentum}, rule);
}

double learning_rate(const TrainOptions& o, std::int64_t step) {
  return o.policy == "step" ? layers::step_lr(o.lr, step, o.step_every, o.step_factor)
                            : layers::poly_lr(o.lr, step, o.steps, o.power);
}

Variable training_loss(const TrainOptions& o, const Variable& logits, const Tensor& labels,
                       const Tensor& class_weights, bool align_corners) {
  const CrossEntropyOptions loss{
      .ignore_label = io::kIgnore, .class_weights = class_weights, .hard_fraction = o.hard_fraction};
  if (o.loss_at == "image")
    return upsample_cross_entropy(logits, labels, {.loss = loss, .align_corners = align_corners});
  const kernels::ResizeDims dims{logits.dim(0), labels.dim(1), labels.dim(2), logits.dim(1), logits.dim(2), 1,
                                 align_corners};
  Tensor small = Tensor::empty({dims.batch, dims.out_h, dims.out_w}, Dtype::u8, labels.device());
  kernels::resize_nearest<std::uint8_t>(labels.stream(), dims, labels.span<std::uint8_t>(),
                                        small.span<std::uint8_t>());
  return softmax_cross_entropy(logits, small, loss);
}

}  // namespace atrous::examples
