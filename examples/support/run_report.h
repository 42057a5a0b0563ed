#pragma once

#include <string>

#include "atrous/io/dataset.h"
#include "atrous/models/metrics.h"
#include "atrous/models/model.h"
#include "examples/support/training.h"

namespace atrous::examples {

/// report.html of a finished run: recipe, curves, scores by class, confusion, and a few validation images
/// beside their truth and what the model sees.
void write_run_report(const std::string& path, const TrainOptions& options, models::Model& model,
                      const io::Dataset& train, const io::Dataset& val, const Log& log,
                      const models::ConfusionMatrix& confusion);

}  // namespace atrous::examples
