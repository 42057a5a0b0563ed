#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atrous/layers/optimizer.h"
#include "atrous/models/model.h"
#include "examples/support/train_options.h"

// A training run and what it leaves on disk.
//
//   DIR/last/state.safetensors   parameters, statistics, dropout counters, optimiser state; recipe and step
//   in its metadata DIR/log.jsonl                a line a step: step loss lr images_per_second; a line an
//   evaluation: step miou pixel_accuracy
//
// The order of samples, their augmentation and the dropout masks are functions of seed and step alone, so a
// run that goes on from last/ ends in the same bits as one that was never interrupted.

namespace atrous::examples {

/// One line of the log.
struct LogLine {
  std::int64_t step = 0;
  double loss = 0, lr = 0, images_per_second = 0;
};
struct EvalLine {
  std::int64_t step = 0;
  double miou = 0, pixel_accuracy = 0;
};

/// log.jsonl, open for appending, and what it holds so far (the report draws it).
class Log {
 public:
  /// Keeps the lines of an earlier part up to `step`, drops what was written after its last save.
  Log(const std::string& path, std::int64_t step);
  void add(const LogLine& line);
  void add(const EvalLine& line);
  const std::vector<LogLine>& steps() const { return steps_; }
  const std::vector<EvalLine>& evaluations() const { return evaluations_; }

 private:
  void append(const std::string& text);

  std::string path_;
  std::vector<LogLine> steps_;
  std::vector<EvalLine> evaluations_;
};

/// The recipe of the run in DIR. Throws IoError where there is none.
Recipe saved_recipe(const std::string& dir);

/// Writes DIR/last/ for a run that has done `step` steps.
void save_run(const std::string& dir, std::int64_t step, const Recipe& recipe, const models::Model& model,
              const layers::Optimizer& optimizer);
/// Puts everything of DIR/last/ in place and returns the number of steps done.
std::int64_t load_run(const std::string& dir, models::Model& model, layers::Optimizer& optimizer);

/// SGD or AdamW as the options say; weight decay on convolution weights alone, multipliers of the learning
/// rate by the kind of parameter and by the name of its layer ("logits").
std::unique_ptr<layers::Optimizer> make_optimizer(const TrainOptions& options, models::Model& model);

/// The learning rate of a step, counted from 0.
double learning_rate(const TrainOptions& options, std::int64_t step);

/// The loss of a batch by the options, at the size of the labels or of the logits.
///   logits  [N, h, w, classes], before the final resize
///   labels  u8 [N, H, W], on the logits' device
Variable training_loss(const TrainOptions& options, const Variable& logits, const Tensor& labels,
                       const Tensor& class_weights, bool align_corners);

}  // namespace atrous::examples
