#include "examples/support/training.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "atrous/core/error.h"
#include "atrous/io/file.h"
#include "atrous/io/safetensors.h"
#include "atrous/layers/adamw.h"
#include "atrous/layers/sgd.h"
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
  if (o.optimizer == "adamw")
    return std::make_unique<layers::AdamW>(model.named_parameters(),
                                           layers::AdamWOptions{.lr = o.lr, .weight_decay = o.weight_decay});
  return std::make_unique<layers::Sgd>(
      model.named_parameters(),
      layers::SgdOptions{.lr = o.lr, .momentum = o.momentum, .weight_decay = o.weight_decay});
}

}  // namespace atrous::examples
