#pragma once

#include <string>
#include <vector>

#include "atrous/io/report.h"

// A curve over the steps of a run, as a figure with an SVG. Positions are in per cent of the figure, so that
// the curve stretches with the page while text and strokes keep their size.

namespace atrous::io {

struct ChartOptions {
  std::string title;
  std::string css_class = {};  ///< of the figure, for its place on the page
  bool smoothed = false;       ///< raw values faint, their running mean over them
  bool in_percent = false;     ///< values are shares 0..1
  bool highest_is_best = false;
};

/// The figure, also of no points, of one, and of values that are not finite (they leave gaps). Long curves
/// are thinned to about 1000 points, keeping the extremes.
std::string line_chart(const std::vector<ReportCurvePoint>& points, const ChartOptions& options);

}  // namespace atrous::io
