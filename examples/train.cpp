#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "atrous/autograd/elementwise.h"
#include "atrous/core/memory.h"
#include "atrous/io/dataset.h"
#include "atrous/io/file.h"
#include "atrous/io/loader.h"
#include "atrous/models/registry.h"
#include "atrous/models/segment.h"
#include "atrous/models/weights.h"
#include "examples/support/evaluation.h"
#include "examples/support/progress.h"
#include "examples/support/run_report.h"
#include "examples/support/training.h"

// train: fits a DeepLab to a data set, evaluates it, and leaves a checkpoint, a log, scores and a report in
// the run's folder.

using namespace atrous;
using namespace atrous::examples;

namespace {

using Clock = std::chrono::steady_clock;

// A number a line, one for each class.
Tensor read_class_weights(const std::string& path, std::int64_t classes) {
  std::ifstream file(path);
  ATROUS_CHECK(IoError, file.good(), "train", path, ": cannot be read");
  std::vector<float> weights;
  for (std::string word; file >> word;) {
    char* end = nullptr;
    weights.push_back(std::strtof(word.c_str(), &end));
    ATROUS_CHECK(IoError, !*end && std::isfinite(weights.back()) && weights.back() >= 0, "train", path,
                 ": \"", word, "\" is not a weight");
  }
  ATROUS_CHECK(IoError, std::int64_t(weights.size()) == classes, "train", path, " has ", weights.size(),
               " weights for ", classes, " classes");
  return Tensor::from({classes}, weights);
}

// Everything of a run that lives in memory.
class Run {
 public:
  explicit Run(TrainOptions options) : options_(std::move(options)) {
    options_.check();
    device_ = options_.common.apply();
    const auto ignore = parse_ignore_label(options_.common.ignore_label);
    const io::DatasetOptions wanted{
        .classes = options_.common.classes, .ignore_label = ignore, .seed = options_.common.seed};
    train_ = io::make_dataset(options_.data, io::Split::train, wanted);
    val_ = io::make_dataset(options_.data, io::Split::val, wanted);
    classes_ = train_->classes();

    std::printf("%s: %ld training and %ld validation images, %ld classes\n", options_.data.c_str(),
                long(train_->size()), long(val_->size()), long(classes_));
    const io::LabelReport labels = io::check_labels(*train_, options_.data == "synthetic" ? 200 : 0);
    for (const auto& warning : labels.warnings) std::cout << "warning: " << warning << '\n';
    if (options_.class_weights == "auto")
      class_weights_ = labels.median_frequency_weights;
    else if (!options_.class_weights.empty())
      class_weights_ = read_class_weights(options_.class_weights, classes_);

    model_ = models::make(options_.common.model, {.classes = classes_,
                                                  .output_stride = options_.common.output_stride,
                                                  .width = options_.common.width,
                                                  .seed = options_.common.seed});
    if (options_.freeze_bn) model_->freeze_batch_norm();
    if (options_.bn_decay > 0) model_->set_batch_norm_decay(options_.bn_decay);
    std::printf("%s, output stride %ld: %ld parameters\n", model_->config().name.c_str(),
                long(model_->config().output_stride), long(model_->parameter_count()));
    if (!options_.init.empty() && options_.resume.empty()) {
      const models::LoadReport report = models::load(*model_, options_.init, models::LoadMode::new_classes);
      std::cout << report.text() << '\n';
      for (const std::string& change : report.changes) std::cout << change << '\n';
    }
    model_->to(device_);
    optimizer_ = make_optimizer(options_, *model_);
    if (!options_.resume.empty()) step_ = load_run(options_.resume, *model_, *optimizer_);
    std::filesystem::create_directories(options_.out);
    log_ = std::make_unique<Log>(options_.out + "/log.jsonl", step_);
    io::write_text(options_.out + "/recipe.txt", text_of(options_.recipe()), "train");
  }

  void train() {
    const std::int64_t end =
        options_.stop_after > 0 ? std::min(options_.stop_after, options_.steps) : options_.steps;
    if (step_ < end) loop(end);
    save();
    if (end < options_.steps) {
      std::printf("stopped after step %ld of %ld; go on with --resume %s\n", long(end), long(options_.steps),
                  options_.out.c_str());
      return;
    }
    finish();
  }

 private:
  void loop(std::int64_t end) {
    const auto range = parse_numbers("--scale-range", options_.scale_range);
    io::Loader loader(*train_,
                      {.batch = options_.batch,
                       .seed = options_.common.seed,
                       .augment = {.crop_h = options_.crop,
                                   .crop_w = options_.crop,
                                   .scale_min = range[0],
                                   .scale_max = range[1],
                                   .scale_step = options_.scale_step},
                       .preprocessing = model_->preprocessing()},
                      step_);
    Progress progress("train", "steps", options_.steps, step_);
    auto saved = Clock::now();
    double smooth = 0;
    while (step_ < end) {
      const auto begin = Clock::now();
      const double lr = learning_rate(options_, step_);
      const double loss = one_step(loader.next(), lr);
      ++step_;
      const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
      log_->add(LogLine{step_, loss, lr, double(options_.batch) / seconds});
      smooth = step_ == 1 || smooth == 0 ? loss : 0.95 * smooth + 0.05 * loss;
      char note[64];
      std::snprintf(note, sizeof note, "loss %.4f, lr %.5f", smooth, lr);
      progress.update(step_, note);
      if (options_.eval_every > 0 && step_ % options_.eval_every == 0 && step_ < options_.steps)
        evaluate_now();
      if (Clock::now() - saved > std::chrono::minutes(5)) {
        save();
        saved = Clock::now();
      }
    }
  }

  double one_step(const io::Batch& batch, double lr) {
    const Tensor labels = batch.labels.to(device_);
    Variable loss;  // summed over all that the model's training takes one of
    for (const models::TrainingLogits& term : model_->training_logits(Variable(batch.images.to(device_)))) {
      const Variable own =
          training_loss(options_, term.logits, labels, class_weights_, model_->convention().align_corners);
      const Variable weighted = term.weight == 1 ? own : scale(own, term.weight);
      loss = loss.defined() ? add(loss, weighted) : weighted;
    }
    loss.backward();
    optimizer_->set_lr(lr);
    const layers::StepReport report = optimizer_->step();
    model_->zero_grad();
    if (!report) {
      save();
      fail<ValueError>("train", "step ", step_ + 1, ": the gradient of ", report.non_finite,
                       " is not finite (loss ", loss.item(), "); the weights are those of step ", step_,
                       ", in ", options_.out, "/last. A smaller --lr may help");
    }
    return loss.item();
  }

  models::ConfusionMatrix evaluate_now() {
    const models::EvalScope scope(*model_);
    const auto confusion = examples::evaluate(*val_, classes_, [&](const io::Sample& sample) {
      return models::segment_confusion(*model_, sample.image, sample.labels, io::kIgnore);
    });
    log_->add(EvalLine{step_, confusion.mean_iou(), confusion.pixel_accuracy()});
    return confusion;
  }

  void save() {
    const Recipe recipe = options_.recipe();
    save_run(options_.out, step_, recipe, *model_, *optimizer_);
    models::save(*model_, options_.out + "/checkpoint.safetensors", train_->colormap());
  }

  void finish() {
    const models::ConfusionMatrix confusion = evaluate_now();
    std::cout << metrics_table(confusion, train_->colormap());
    io::write_text(options_.out + "/metrics.json", metrics_json(confusion, train_->colormap()), "train");
    if (!options_.common.json.empty())
      io::write_text(options_.common.json, metrics_json(confusion, train_->colormap()), "train");
    write_run_report(options_.out + "/report.html", options_, *model_, *train_, *val_, *log_, confusion);
    std::printf("wrote %s/{checkpoint.safetensors,log.jsonl,metrics.json,report.html}; peak memory %.0f MB\n",
                options_.out.c_str(), double(memory_stats().peak) / 1e6);
  }

  TrainOptions options_;
  Device device_;
  std::unique_ptr<io::Dataset> train_, val_;
  std::int64_t classes_ = 0;
  Tensor class_weights_;
  std::unique_ptr<models::Model> model_;
  std::unique_ptr<layers::Optimizer> optimizer_;
  std::unique_ptr<Log> log_;
  std::int64_t step_ = 0;  // steps done
};

}  // namespace

int main(int argc, char** argv) {
  TrainOptions options;
  CLI::App app(
      "Trains a DeepLab, evaluates it, and writes checkpoint.safetensors, log.jsonl, metrics.json and "
      "report.html.");
  options.add_to(app);
  return run(app, argc, argv, [&] {
    if (!options.resume.empty()) {
      options.adopt(saved_recipe(options.resume), app);
      options.out = options.resume;
    } else {
      options.apply_recipe(app);
    }
    Run(options).train();
  });
}
