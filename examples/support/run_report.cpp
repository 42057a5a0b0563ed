#include "examples/support/run_report.h"

#include <algorithm>
#include <cstdio>

#include "atrous/io/report.h"
#include "atrous/models/segment.h"

namespace atrous::examples {
namespace {

constexpr std::int64_t kSamples = 6;

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

}  // namespace

void write_run_report(const std::string& path, const TrainOptions& options, models::Model& model,
                      const io::Dataset& train, const io::Dataset& val, const Log& log,
                      const models::ConfusionMatrix& confusion) {
  io::RunReport report;
  report.title = model.config().name;
  report.subtitle = "Trained on " + options.data + ": " + std::to_string(train.size()) + " training and " +
                    std::to_string(val.size()) + " validation images, " +
                    std::to_string(confusion.classes()) + " classes. " +
                    models::ConfusionMatrix::absent_class_policy();
  report.facts = {{"mIoU", format("%.1f %%", 100 * confusion.mean_iou())},
                  {"pixel accuracy", format("%.1f %%", 100 * confusion.pixel_accuracy())},
                  {"parameters", format("%.2f M", double(model.parameter_count()) / 1e6)},
                  {"steps", std::to_string(log.steps().empty() ? 0 : log.steps().back().step)}};
  if (!log.steps().empty()) {
    std::vector<double> rates;
    for (const LogLine& line : log.steps()) rates.push_back(line.images_per_second);
    std::nth_element(rates.begin(), rates.begin() + std::ptrdiff_t(rates.size() / 2), rates.end());
    report.facts.emplace_back("images per second", format("%.1f", rates[rates.size() / 2]));
  }
  report.recipe = options.recipe();
  for (const LogLine& line : log.steps()) {
    report.loss.push_back({line.step, line.loss});
    report.learning_rate.push_back({line.step, line.lr});
  }
  for (const EvalLine& line : log.evaluations()) report.miou.push_back({line.step, line.miou});
  report.class_iou = confusion.class_iou();
  for (std::int64_t t = 0; t < confusion.classes(); ++t)
    for (std::int64_t p = 0; p < confusion.classes(); ++p) report.confusion.push_back(confusion.count(t, p));
  report.colormap = train.colormap();
  for (std::int64_t k = 0; k < std::min(kSamples, val.size()); ++k) {
    const io::Sample sample = val.sample(k * val.size() / std::min(kSamples, val.size()));
    report.samples.push_back(
        {sample.name, sample.image, sample.labels, models::segment(model, sample.image)});
  }
  io::write_report(path, report);
}

}  // namespace atrous::examples
