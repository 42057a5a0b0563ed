#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "atrous/core/tensor.h"
#include "atrous/io/colormap.h"

// The report of a training run: one HTML file that opens anywhere, offline, by a double click. Style, charts
// and pictures are inside; it has no script and loads nothing. It takes plain numbers and pictures, so that
// whoever trains or evaluates fills in a RunReport and knows nothing of HTML.
//
// The page: title and key facts, the recipe, curves over the steps, the classes with their IoU, who is taken
// for whom (confusion matrix), and examples as image, truth and prediction. What is empty is left out. It
// follows the reader's light or dark mode and fits a phone.

namespace atrous::io {

struct ReportCurvePoint {
  std::int64_t step;
  double value;
};

/// One example. An undefined tensor is a picture that there is not.
struct ReportSample {
  std::string name;
  Tensor image;       ///< u8 [1, H, W, 3]
  Tensor truth;       ///< u8 [1, H, W], 255 is no class
  Tensor prediction;  ///< u8 [1, H, W]
};

struct RunReport {
  std::string title;                                        ///< the model's name
  std::string subtitle;                                     ///< a sentence, or empty
  std::vector<std::pair<std::string, std::string>> facts;   ///< name and value, shown as cards
  std::vector<std::pair<std::string, std::string>> recipe;  ///< flag and value
  /// By step, in the order of the steps. The loss is also drawn smoothed; miou (0..1) is drawn if it has two
  /// points or more. Values that are not finite leave a gap.
  std::vector<ReportCurvePoint> loss, learning_rate, miou;
  std::vector<double> class_iou;        ///< 0..1 a class; NaN for an absent one
  std::vector<std::int64_t> confusion;  ///< pixels [truth, prediction], row-major; or empty
  Colormap colormap;                    ///< names and colours; classes beyond it get voc_color()
  std::vector<ReportSample> samples;
};

/// Writes the page, whole or not at all. Curves of any length are thinned, so that their part of the file
/// stays below 100 kB each. Equal reports give equal bytes. Every text of the report is escaped.
///
/// Throws ShapeError if `confusion` is not square or does not fit `class_iou`, or if a sample's tensors have
/// other shapes than the above; DtypeError if they are not u8; IoError if the file cannot be written.
void write_report(const std::string& path, const RunReport& report);

}  // namespace atrous::io
