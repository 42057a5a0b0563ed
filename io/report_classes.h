#pragma once

#include <string>

#include "atrous/io/report.h"

// The classes of a report: a table with a bar for each class's IoU, and the confusion matrix as a heat map.

namespace atrous::io {

/// Throws ShapeError unless the confusion matrix is empty or square and fits the IoUs.
void check_classes(const RunReport& report);

/// IoU by class, with recall, precision and share of the pixels where the confusion matrix is known. Empty
/// if there are no IoUs.
std::string class_table(const RunReport& report);

/// Each row in per cent of its class's true pixels: found ones in one hue, mistakes in another. Numbers up
/// to 15 classes, names up to 40. Empty if there is no confusion matrix.
std::string confusion_map(const RunReport& report);

/// The six pairs of classes that were mixed up on most pixels. Empty if there are none.
std::string largest_mistakes(const RunReport& report);

/// The classes' colours and names.
std::string class_legend(const RunReport& report);

}  // namespace atrous::io
