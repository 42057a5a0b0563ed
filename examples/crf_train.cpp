#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "atrous/autograd/softmax.h"
#include "atrous/io/file.h"
#include "atrous/io/loader.h"
#include "atrous/layers/adamw.h"
#include "atrous/layers/poly_lr.h"
#include "atrous/layers/sgd.h"
#include "atrous/models/crf_file.h"
#include "atrous/models/crf_layer.h"
#include "atrous/models/segment.h"
#include "atrous/models/weights.h"
#include "examples/support/crf_flags.h"
#include "examples/support/evaluation.h"
#include "examples/support/progress.h"

// crf_train: a trained network and a dense CRF behind it, trained on together, as CRF-RNN is. The gradient of
// the loss goes through all iterations of mean field into the CRF's weights, deviations and compatibilities
// and on into the network.

using namespace atrous;
using namespace atrous::examples;

namespace {

struct Flags {
  CommonFlags common;
  CrfFlags crf;
  std::string weights, data = "synthetic", out = "out/crf_train", learning = "potts";
  std::int64_t crop = 161, batch = 4, steps = 200, val = 0;
  double lr = 5e-4, crf_lr = 0.005;
  bool compare = false;
};

models::CrfLearning learning_of(const std::string& name) {
  for (const auto learning :
       {models::CrfLearning::potts, models::CrfLearning::diagonal, models::CrfLearning::matrix})
    if (name == models::crf_learning_name(learning)) return learning;
  return models::CrfLearning::factored;
}

// The first images of a data set.
class FirstOf : public io::Dataset {
 public:
  FirstOf(const io::Dataset& all, std::int64_t most)
      : io::Dataset(all.colormap()), all_(all), size_(most > 0 ? std::min(most, all.size()) : all.size()) {}
  std::int64_t size() const override { return size_; }
  io::Sample sample(std::int64_t i) const override { return all_.sample(i); }
  std::string name(std::int64_t i) const override { return all_.name(i); }

 private:
  const io::Dataset& all_;
  std::int64_t size_;
};

class Experiment {
 public:
  explicit Experiment(const Flags& flags) : flags_(flags) {
    device_ = flags.common.apply();
    parameters_ = flags.crf.parameters();
    if (flags.crf.preset.empty() && flags.crf.iterations < 0) parameters_.iterations = 5;
    const models::LoadedModel first = models::load_model(flags.weights);
    classes_ = first.model->config().classes;
    const io::DatasetOptions wanted{.classes = classes_,
                                    .ignore_label = parse_ignore_label(flags.common.ignore_label),
                                    .seed = flags.common.seed};
    train_ = io::make_dataset(flags.data, io::Split::train, wanted);
    all_of_val_ = io::make_dataset(flags.data, io::Split::val, wanted);
    val_ = std::make_unique<FirstOf>(*all_of_val_, flags.val);
  }

  void run() {
    using Json = nlohmann::ordered_json;
    Json scores;
    const auto say = [&](const char* key, const char* what, double miou) {
      scores[key] = miou;
      std::printf("%-46s mIoU %.4f\n", what, miou);
      std::fflush(stdout);
    };
    {
      models::LoadedModel start = models::load_model(flags_.weights);
      say("network", "the network as it came", score(*start.model, nullptr));
      models::CrfLayer published(settings());
      say("network_crf", "with the CRF it starts from", score(*start.model, &published));
    }
    if (flags_.compare) {
      models::LoadedModel alone = models::load_model(flags_.weights);
      fit(*alone.model, nullptr);
      say("network_trained", "the network, trained on alone", score(*alone.model, nullptr));
      models::CrfLayer published(settings());
      say("network_trained_crf", "with the CRF it starts from", score(*alone.model, &published));
    }
    models::LoadedModel loaded = models::load_model(flags_.weights);
    models::CrfLayer crf(settings());
    fit(*loaded.model, &crf);
    say("joint", "network and CRF, trained on together", score(*loaded.model, &crf));
    const models::CrfParameters p = crf.learned();
    std::printf("learned: %s\n", p.describe().c_str());

    std::filesystem::create_directories(flags_.out);
    models::save(*loaded.model, flags_.out + "/checkpoint.safetensors", loaded.info.colormap);
    Json json;
    json["miou"] = scores;
    json["start"] = parameters_.describe();
    json["learned"] = p.describe();
    for (const layers::Parameter& parameter : crf.named_parameters()) {
      const Tensor values = parameter.variable.value().to(kCpu).to(Dtype::f64);
      json["parameters"][parameter.name] =
          std::vector<double>(values.span<double>().begin(), values.span<double>().end());
    }
    models::save_crf(crf, flags_.out + "/crf.safetensors");
    io::write_text(flags_.out + "/crf.json", json.dump(1) + "\n", "crf_train");
    if (!flags_.common.json.empty()) io::write_text(flags_.common.json, json.dump(1) + "\n", "crf_train");
    std::printf("wrote %s/{checkpoint.safetensors,crf.safetensors,crf.json}\n", flags_.out.c_str());
  }

 private:
  models::CrfLayerSettings settings() const {
    return {.classes = classes_, .learning = learning_of(flags_.learning), .start = parameters_};
  }

  // Mean IoU on the validation images, at their size.
  double score(models::Model& model, models::CrfLayer* crf) const {
    model.to(device_);
    const auto confusion = evaluate(*val_, classes_, [&](const io::Sample& sample) {
      const Tensor p = models::segment_probabilities(model, sample.image);
      models::ConfusionMatrix counts(classes_, io::kIgnore);
      if (!crf) {
        counts.add(sample.labels, argmax_channels(p));
      } else {
        models::DenseCrf field = crf->dense_crf(models::unary_from_probabilities(p), sample.image);
        field.inference({.iterations = parameters_.iterations});
        counts.add(sample.labels, field.map());
      }
      return counts;
    });
    return confusion.mean_iou();
  }

  // The published order: the network has been trained; its batch norms stay as they are.
  void fit(models::Model& model, models::CrfLayer* crf) const {
    model.to(device_);
    if (crf) crf->to(device_);
    model.train();
    model.freeze_batch_norm();
    layers::Sgd network(model.named_parameters(), {.lr = flags_.lr, .weight_decay = 4e-5});
    std::unique_ptr<layers::AdamW> of_crf;
    if (crf)
      of_crf =
          std::make_unique<layers::AdamW>(crf->named_parameters(), layers::AdamWOptions{.lr = flags_.crf_lr});
    // Images come as they are, in 0..255: the CRF compares colours.
    io::Loader loader(
        *train_,
        {.batch = flags_.batch,
         .seed = flags_.common.seed,
         .augment = {.crop_h = flags_.crop, .crop_w = flags_.crop, .scale_min = 0.75, .scale_max = 1.5},
         .preprocessing = {.mean = {0, 0, 0}, .deviation = {1, 1, 1}}});
    Progress progress(crf ? "with CRF" : "alone", "steps", flags_.steps);
    double smooth = 0;
    for (std::int64_t step = 0; step < flags_.steps; ++step) {
      const io::Batch batch = loader.next();
      const Tensor input = io::preprocess(batch.images, model.preprocessing());
      Variable logits = model.full_logits(Variable(input.to(device_)));
      if (crf) logits = crf->forward(logits, Variable(batch.images.to(device_)));
      const Variable loss =
          softmax_cross_entropy(logits, batch.labels.to(device_), {.ignore_label = io::kIgnore});
      loss.backward();
      const double share = layers::poly_lr(1, step, flags_.steps);
      network.set_lr(flags_.lr * share);
      layers::StepReport report = network.step();
      if (report && of_crf) {
        of_crf->set_lr(flags_.crf_lr * share);
        report = of_crf->step();
      }
      if (!report)
        fail<ValueError>("crf_train", "step ", step + 1, ": the gradient of ", report.non_finite,
                         " is not finite (loss ", loss.item(), "). A smaller --lr or --crf-lr may help");
      model.zero_grad();
      if (crf) crf->zero_grad();
      smooth = step == 0 ? loss.item() : 0.95 * smooth + 0.05 * loss.item();
      char note[32];
      std::snprintf(note, sizeof note, "loss %.4f", smooth);
      progress.update(step + 1, note);
    }
  }

  const Flags& flags_;
  models::CrfParameters parameters_;
  Device device_;
  std::int64_t classes_ = 0;
  std::unique_ptr<io::Dataset> train_, all_of_val_, val_;
};

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Trains a network and a dense CRF behind it together, by gradients through mean field. Writes "
      "checkpoint.safetensors (the network), crf.safetensors (the CRF, for --crf of `segment`, `evaluate` "
      "and `crf_refine`) and crf.json (what it has learned, to read).");
  app.add_option("--weights", flags.weights, "Checkpoint that `train` wrote: the network to start from")
      ->required();
  add_data(app, flags.data);
  app.add_option("--learning", flags.learning,
                 "What is learned of the labels, beside weights and deviations: potts (nothing), diagonal, "
                 "matrix (for each term) or factored (CRF-RNN's)")
      ->capture_default_str()
      ->check(CLI::IsMember({"potts", "diagonal", "matrix", "factored"}));
  app.add_option("--crop", flags.crop, "Pixels a side of a training image")
      ->capture_default_str()
      ->check(CLI::Range(9, 4096));
  app.add_option("--batch", flags.batch, "Images a step")->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--steps", flags.steps, "Steps")->capture_default_str()->check(CLI::Range(1, 1000000));
  app.add_option("--lr", flags.lr, "Learning rate of the network (SGD)")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--crf-lr", flags.crf_lr, "Learning rate of the CRF (AdamW)")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--val-images", flags.val, "Score the first N validation images (default: all)")
      ->check(CLI::Range(1, 1000000));
  app.add_flag("--compare", flags.compare, "Also train the network alone as long, and score it");
  app.add_option("--out", flags.out, "Folder for the results")->capture_default_str();
  flags.crf.add_presets_to(app, "where the CRF starts; default: demo with 5 iterations");
  flags.common.add_run(app);
  flags.common.add_json(app);
  flags.common.add_ignore_label(app);
  return run(app, argc, argv, [&] { Experiment(flags).run(); });
}
