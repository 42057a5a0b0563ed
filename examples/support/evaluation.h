#pragma once

#include <functional>
#include <string>

#include "atrous/io/colormap.h"
#include "atrous/io/dataset.h"
#include "atrous/models/metrics.h"

namespace atrous::examples {

/// Segments every image of a data set and counts all pixels in one confusion matrix, at the labels' own
/// resolution. One image is held at a time; `confusion_of` segments it and counts.
models::ConfusionMatrix evaluate(
    const io::Dataset& dataset, std::int64_t classes,
    const std::function<models::ConfusionMatrix(const io::Sample&)>& confusion_of);

/// metrics.json: mIoU, IoU by class, accuracies, the confusion matrix, and how absent classes were counted.
std::string metrics_json(const models::ConfusionMatrix& confusion, const io::Colormap& map);
/// The same for people, a line a class.
std::string metrics_table(const models::ConfusionMatrix& confusion, const io::Colormap& map);

}  // namespace atrous::examples
