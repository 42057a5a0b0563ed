#include "examples/support/evaluation.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "examples/support/progress.h"

namespace atrous::examples {
namespace {

// JSON has no NaN; a metric that does not exist is null.
nlohmann::ordered_json number(double v) {
  return std::isnan(v) ? nlohmann::ordered_json() : nlohmann::ordered_json(v);
}

std::string percent(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%6.2f", 100 * v);
  return std::isnan(v) ? "     -" : text;
}

}  // namespace

models::ConfusionMatrix evaluate(
    const io::Dataset& dataset, std::int64_t classes,
    const std::function<models::ConfusionMatrix(const io::Sample&)>& confusion_of) {
  models::ConfusionMatrix confusion(classes, io::kIgnore);
  Progress progress("evaluate", "images", dataset.size());
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    confusion.merge(confusion_of(dataset.sample(i)));
    char note[32];
    std::snprintf(note, sizeof note, "mIoU %.3f", confusion.mean_iou());
    progress.update(i + 1, note);
  }
  return confusion;
}

std::string metrics_json(const models::ConfusionMatrix& confusion, const io::Colormap& map) {
  nlohmann::ordered_json json;
  json["miou"] = number(confusion.mean_iou());
  json["pixel_accuracy"] = number(confusion.pixel_accuracy());
  json["mean_accuracy"] = number(confusion.mean_accuracy());
  json["frequency_weighted_iou"] = number(confusion.frequency_weighted_iou());
  const auto iou = confusion.class_iou(), accuracy = confusion.class_accuracy();
  auto absent = nlohmann::ordered_json::array(), matrix = nlohmann::ordered_json::array();
  for (std::int64_t c = 0; c < confusion.classes(); ++c) {
    const std::string& name = map.classes.at(std::size_t(c)).name;
    json["per_class_iou"][name] = number(iou[std::size_t(c)]);
    json["per_class_accuracy"][name] = number(accuracy[std::size_t(c)]);
    if (std::isnan(iou[std::size_t(c)])) absent.push_back(name);
    auto row = nlohmann::ordered_json::array();
    for (std::int64_t p = 0; p < confusion.classes(); ++p) row.push_back(confusion.count(c, p));
    matrix.push_back(row);
  }
  json["absent_classes"] = absent;
  json["absent_class_policy"] = models::ConfusionMatrix::absent_class_policy();
  json["pixels"] = confusion.total();
  json["ignored_pixels"] = confusion.ignored();
  json["confusion"] = matrix;  // [truth][prediction]
  return json.dump(1) + "\n";
}

std::string metrics_table(const models::ConfusionMatrix& confusion, const io::Colormap& map) {
  std::string text = "   IoU %  accuracy %  class\n";
  const auto iou = confusion.class_iou(), accuracy = confusion.class_accuracy();
  for (std::size_t c = 0; c < iou.size(); ++c)
    text += "  " + percent(iou[c]) + "      " + percent(accuracy[c]) + "  " + map.classes.at(c).name + "\n";
  text += "mIoU " + percent(confusion.mean_iou()) + " %, pixel accuracy " +
          percent(confusion.pixel_accuracy()) + " %\n";
  return text;
}

}  // namespace atrous::examples
