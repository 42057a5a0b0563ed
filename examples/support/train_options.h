#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "examples/support/program.h"

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
  double power = 0.9;
  double momentum = 0.9;
  double weight_decay = 4e-5;
  bool freeze_bn = false;
  std::string scale_range = "0.5,2.0";
  std::string class_weights;  // empty, "auto" or a file
  double hard_fraction = 1.0;
  std::string init;

  // Free to change from one part of a run to the next:
  std::string resume;
  std::int64_t stop_after = 0;
  std::int64_t eval_every = 0;

  /// The flags of `train`.
  void add_to(CLI::App& app);
  /// Throws UsageError for values that contradict each other.
  void check() const;

  /// The deciding options as (flag, value), for the run's folder and its report.
  std::vector<std::pair<std::string, std::string>> recipe() const;
  /// Takes the recipe of an earlier part. A flag given on the command line must agree: UsageError that names
  /// it.
  void adopt(const std::vector<std::pair<std::string, std::string>>& recipe, const CLI::App& app);
};

}  // namespace atrous::examples
