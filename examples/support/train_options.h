#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "examples/support/program.h"
#include "examples/support/recipes.h"

namespace atrous::examples {

/// Everything that decides what a training run computes, and a few flags that do not (marked): those may
/// change on --resume.
struct TrainOptions {
  CommonFlags common;
  std::string data = "synthetic";
  std::string out = "out/train";
  std::int64_t crop = 161;
  std::int64_t batch = 8;
  std::int64_t steps = 600;
  std::string optimizer = "sgd";
  double lr = 0.05;
  std::string policy = "poly";  // or "step"
  double power = 0.9;
  std::int64_t step_every = 2000;
  double step_factor = 0.1;
  double momentum = 0.9;
  double weight_decay = 4e-5;
  double logits_lr = 1, bias_lr = 1, bn_lr = 1;  // multipliers of lr
  bool freeze_bn = false;
  double bn_decay = 0;  // 0: the model's own
  std::string scale_range = "0.5,2.0";
  double scale_step = 0;          // 0: any scale of the range
  std::string loss_at = "image";  // or "logits"
  std::string class_weights;      // empty, "auto" or a file
  double hard_fraction = 1.0;
  std::string init;

  std::string recipe_name;  // empty, or of recipes.h: what flags that were not given are

  // Free to change from one part of a run to the next:
  std::string resume;
  std::int64_t stop_after = 0;
  std::int64_t eval_every = 0;

  /// The flags of `train`.
  void add_to(CLI::App& app);
  /// Puts the values of --recipe where no flag was given; after parsing.
  void apply_recipe(const CLI::App& app);
  /// Throws UsageError for values that contradict each other.
  void check() const;

  /// The deciding options as (flag, value), for the run's folder and its report.
  Recipe recipe() const;
  /// Takes the recipe of an earlier part. A flag given on the command line must agree: UsageError that names
  /// it.
  void adopt(const Recipe& recipe, const CLI::App& app);
};

}  // namespace atrous::examples
