#include "atrous/models/weights.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/error.h"
#include "atrous/core/random.h"
#include "atrous/io/safetensors.h"
#include "atrous/layers/adamw.h"
#include "atrous/layers/sgd.h"
#include "atrous/models/registry.h"
#include "tests/support/catch.h"

namespace atrous::models {
namespace {

// A path that is removed at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name)
      : path_((std::filesystem::temp_directory_path() /
               (name + std::to_string(reinterpret_cast<std::uintptr_t>(this)) + ".safetensors"))
                  .string()) {}
  ~TemporaryFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::unique_ptr<Model> small(std::int64_t classes = 4, std::uint64_t seed = 1, double width = 0.25) {
  return make("deeplab_v3_mobilenet_v2", {.classes = classes, .width = width, .seed = seed});
}

Tensor noise(const Shape& shape) {
  Tensor t = Tensor::empty(shape);
  Random random(2);
  for (float& v : t.span<float>()) v = float(random.uniform(-1, 1));
  return t;
}

Variable loss_of(Model& model) {
  return softmax_cross_entropy(model.full_logits(Variable(noise({2, 17, 17, 3}))),
                               Tensor::full({2, 17, 17}, 1, Dtype::u8));
}

// Trained a little, so that statistics differ from their start.
void train_step(Model& model, layers::Optimizer& optimizer) {
  optimizer.zero_grad();
  loss_of(model).backward();
  REQUIRE(optimizer.step());
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::map<std::string, Tensor> state_of(const Model& model) {
  std::map<std::string, Tensor> all;
  for (const auto& p : model.named_parameters()) all[p.name] = p.variable.value().clone();
  for (const auto& b : model.named_buffers()) all[b.name] = b.tensor->clone();
  return all;
}

bool same(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a)
    if (!identical(tensor, b.at(name))) return false;
  return true;
}

}  // namespace

TEST_CASE("weights: a file rebuilds the model that was saved", "[models][weights]") {
  TemporaryFile file("atrous_weights");
  const auto model = small();
  layers::Sgd sgd(model->named_parameters(), {.lr = 0.1});
  train_step(*model, sgd);
  save(*model, file.path(), io::colormap(4), {{"note", "kept"}});
  const LoadedModel loaded = load_model(file.path());
  CHECK(loaded.model->config().name == "deeplab_v3_mobilenet_v2");
  CHECK(loaded.model->config().classes == 4);
  CHECK(loaded.model->config().width == 0.25);
  CHECK(loaded.info.colormap.names() == io::colormap(4).names());
  CHECK(loaded.info.extra.at("note") == "kept");
  CHECK(loaded.info.preprocessing.mean[0] == 127.5);
  CHECK(loaded.info.batch_norm.at("backbone").epsilon == 1e-3);
  CHECK_FALSE(loaded.model->training());
  model->eval();
  const NoGrad no_grad;
  const Variable x(noise({1, 33, 33, 3}));
  CHECK(identical(loaded.model->forward(x).value(), model->forward(x).value()));

  // Neither the dropout counter nor anything else that a run leaves behind is in the file.
  const std::string before = bytes_of(file.path());
  model->train();
  model->freeze_batch_norm();
  model->forward(x);
  save(*model, file.path(), io::colormap(4), {{"note", "kept"}});
  CHECK(bytes_of(file.path()) == before);
}

TEST_CASE("weights: the same file serves other output strides", "[models][weights]") {
  TemporaryFile file("atrous_stride");
  save(*small(), file.path());
  const LoadedModel dense = load_model(file.path(), 8);
  CHECK(dense.model->config().output_stride == 8);
  const NoGrad no_grad;
  CHECK(dense.model->forward(Variable(noise({1, 33, 33, 3}))).shape() == Shape{1, 5, 5, 4});
}

TEST_CASE("weights: another number of classes keeps the new logits, and says so", "[models][weights]") {
  TemporaryFile file("atrous_classes");
  const auto from = small(4, 1);
  save(*from, file.path());
  const auto to = small(7, 2);
  auto expected = state_of(*to);
  CHECK_THROWS_AS(load(*to, file.path()), IoError);
  CHECK(same(state_of(*to), expected));
  const LoadReport report = load(*to, file.path(), LoadMode::new_classes);
  CHECK(report.kept == std::vector<std::string>{"head.logits.bias", "head.logits.weight"});
  CHECK(report.unexpected.empty());
  CHECK(report.changes.size() == 2);
  CHECK(report.text().find("head.logits.weight") != std::string::npos);
  for (const auto& p : from->named_parameters())
    if (!p.name.starts_with("head.logits.")) expected[p.name] = p.variable.value();
  CHECK(same(state_of(*to), expected));
}

TEST_CASE("weights: images of other channels, and another output stride, are told of", "[models][weights]") {
  TemporaryFile file("atrous_channels");
  const auto from = small(4, 1);
  save(*from, file.path());
  const Tensor old = state_of(*from).at("backbone.stem.weight");
  for (const std::int64_t channels : {1, 5}) {
    INFO(channels);
    const auto to =
        make("deeplab_v3_mobilenet_v2",
             {.classes = 4, .output_stride = 8, .width = 0.25, .in_channels = channels, .seed = 2});
    CHECK_THROWS_AS(load(*to, file.path()), IoError);
    const LoadReport report = load(*to, file.path(), LoadMode::new_classes);
    REQUIRE(report.changes.size() == 2);
    CHECK(report.changes[0].find("backbone.stem.weight") != std::string::npos);
    CHECK(report.changes[1].find("output stride is 16 in the file, 8 here") != std::string::npos);
    CHECK(report.kept.empty());
    // One channel has the sum of three, so that grey images give what they gave.
    const Tensor now = state_of(*to).at("backbone.stem.weight");
    const std::int64_t k = now.dim(3);
    for (std::int64_t tap = 0; tap < 9; ++tap)
      for (std::int64_t j = 0; j < k; ++j) {
        double before = 0, after = 0;
        for (std::int64_t c = 0; c < 3; ++c) before += old.span<float>()[(tap * 3 + c) * k + j];
        for (std::int64_t c = 0; c < channels; ++c) after += now.span<float>()[(tap * channels + c) * k + j];
        if (channels == 1) CHECK(std::abs(before - after) < 1e-5);
      }
    if (channels == 5) CHECK(now.span<float>()[3 * k] == 0.6f * old.span<float>()[0]);
    // And the file of such a model rebuilds it.
    TemporaryFile again("atrous_channels_again");
    save(*to, again.path());
    const LoadedModel loaded = load_model(again.path());
    const NoGrad no_grad;
    CHECK(loaded.model->forward(Variable(noise({1, 17, 17, channels}))).shape() == Shape{1, 3, 3, 4});
  }
}

TEST_CASE("weights: a file that does not fit changes nothing", "[models][weights]") {
  TemporaryFile file("atrous_errors");
  const auto model = small();
  const auto before = state_of(*model);
  const auto refused = [&](LoadMode mode) {
    CHECK_THROWS_AS(load(*model, file.path(), mode), IoError);
    CHECK(same(state_of(*model), before));
  };
  CHECK_THROWS_AS(load(*model, file.path()), IoError);  // no such file

  save(*small(4, 5, 0.5), file.path());
  refused(LoadMode::strict);
  refused(LoadMode::new_classes);

  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : state_of(*small(4, 5)))
    if (tensor.dtype() == Dtype::f32) tensors[name] = tensor;
  tensors["stray"] = Tensor::zeros({1});
  io::write_safetensors(file.path(), tensors);
  refused(LoadMode::strict);
  tensors.erase("stray");
  const Tensor bias = tensors.at("head.logits.bias");
  tensors["head.logits.bias"] = bias.to(Dtype::f64);
  io::write_safetensors(file.path(), tensors);
  refused(LoadMode::strict);
  tensors.erase("head.logits.bias");
  io::write_safetensors(file.path(), tensors);
  refused(LoadMode::strict);
  CHECK(load(*model, file.path(), LoadMode::lenient).kept == std::vector<std::string>{"head.logits.bias"});
  CHECK_FALSE(same(state_of(*model), before));
}

TEST_CASE("weights: a lenient load of nothing is an error", "[models][weights]") {
  TemporaryFile file("atrous_nothing");
  io::write_safetensors(file.path(), {{"stray", Tensor::zeros({1})}});
  CHECK_THROWS_AS(load(*small(), file.path(), LoadMode::lenient), IoError);
}

TEST_CASE("weights: other batch norm constants or conventions are refused", "[models][weights]") {
  TemporaryFile file("atrous_constants");
  const auto model = small();
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : state_of(*model))
    if (tensor.dtype() == Dtype::f32) tensors[name] = tensor;
  io::CheckpointInfo info = checkpoint_info(*model);
  info.batch_norm["backbone"].epsilon = 1e-5;
  io::write_checkpoint(file.path(), info, tensors);
  CHECK_THROWS_AS(load(*model, file.path()), IoError);
  info = checkpoint_info(*model);
  io::write_checkpoint(file.path(), info, tensors);
  CHECK_NOTHROW(load(*model, file.path()));
  info.convention = "torchvision";
  io::write_checkpoint(file.path(), info, tensors);
  CHECK_THROWS_AS(load(*model, file.path(), LoadMode::lenient), IoError);
}

TEST_CASE("weights: a resumed run has the bits of the uninterrupted one", "[models][weights]") {
  const bool adam = GENERATE(false, true);
  const auto optimizer_of = [&](const Model& model) -> std::unique_ptr<layers::Optimizer> {
    if (adam)
      return std::make_unique<layers::AdamW>(model.named_parameters(), layers::AdamWOptions{.lr = 0.01});
    return std::make_unique<layers::Sgd>(model.named_parameters(), layers::SgdOptions{.lr = 0.05});
  };
  TemporaryFile file("atrous_resume");
  const auto model = small();
  const auto optimizer = optimizer_of(*model);
  for (int i = 0; i < 4; ++i) {
    if (i == 2) save_training_state(file.path(), *model, *optimizer, {{"step", "2"}});
    train_step(*model, *optimizer);
  }
  const auto resumed = small(4, 99);
  const auto other = optimizer_of(*resumed);
  CHECK(load_training_state(file.path(), *resumed, *other).at("step") == "2");
  for (int i = 2; i < 4; ++i) train_step(*resumed, *other);
  CHECK(same(state_of(*resumed), state_of(*model)));

  // Of another model, nothing is taken.
  const auto wide = small(5);
  const auto wide_optimizer = optimizer_of(*wide);
  const auto before = state_of(*wide);
  CHECK_THROWS_AS(load_training_state(file.path(), *wide, *wide_optimizer), IoError);
  CHECK(same(state_of(*wide), before));
}

}  // namespace atrous::models
