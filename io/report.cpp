#include "atrous/io/report.h"

#include <algorithm>

#include "atrous/core/error.h"
#include "atrous/io/file.h"
#include "atrous/io/png.h"
#include "atrous/io/report_chart.h"
#include "atrous/io/report_classes.h"
#include "atrous/io/report_html.h"

namespace atrous::io {
namespace {

constexpr std::string_view kOp = "write_report";

void check_sample(const ReportSample& sample) {
  const auto check = [&](const Tensor& t, std::string_view role, int rank, std::string_view wanted) {
    if (!t.defined()) return;
    ATROUS_CHECK(DtypeError, t.dtype() == Dtype::u8, kOp, role, " of \"", sample.name, "\" is ", t.dtype(),
                 ", not u8");
    const bool fits = t.rank() == rank && t.dim(0) == 1 && (rank == 3 || t.dim(3) == 3) && t.numel() > 0;
    ATROUS_CHECK(ShapeError, fits, kOp, role, " of \"", sample.name, "\" is ", t.shape(), ", not ", wanted);
  };
  check(sample.image, "image", 4, "[1, H, W, 3]");
  check(sample.truth, "truth", 3, "[1, H, W]");
  check(sample.prediction, "prediction", 3, "[1, H, W]");
  ATROUS_CHECK(ShapeError,
               !sample.truth.defined() || !sample.prediction.defined() ||
                   sample.truth.shape() == sample.prediction.shape(),
               kOp, "truth of \"", sample.name, "\" is ", sample.truth.shape(), ", its prediction ",
               sample.prediction.shape());
}

std::string header(const RunReport& report) {
  std::string html;
  html += "<header><h1>";
  for (const char c : escape_html(report.title.empty() ? "Training run" : report.title)) {
    html += c;
    if (c == '_') html += "<wbr>";  // where a model's long name may be broken on a phone
  }
  html += "</h1>";
  if (!report.subtitle.empty()) put(html, {"<p class='subtitle'>", escape_html(report.subtitle), "</p>"});
  html += "</header>\n";
  if (!report.facts.empty()) {
    html += "<dl class='facts'>";
    for (const auto& [name, value] : report.facts)
      put(html,
          {"<div class='card'><dt>", escape_html(name), "</dt><dd>", escape_html(value), "</dd></div>"});
    html += "</dl>\n";
  }
  if (!report.recipe.empty()) {
    html += "<section class='card'><h2>Recipe</h2><dl class='recipe'>";
    for (const auto& [flag, value] : report.recipe)
      put(html, {"<div><dt>", escape_html(flag), "</dt><dd>", escape_html(value), "</dd></div>"});
    html += "</dl></section>\n";
  }
  return html;
}

std::string curves(const RunReport& report) {
  const bool evaluated = report.miou.size() > 1;
  std::string html = "<div class='curves'>\n";
  // With three charts the loss takes two rows and the others stand beside it, else two stand side by side.
  html += line_chart(report.loss, {.title = "Loss", .css_class = evaluated ? "main" : "", .smoothed = true});
  if (evaluated)
    html += line_chart(
        report.miou, {.title = "Mean IoU", .css_class = "side", .in_percent = true, .highest_is_best = true});
  html += line_chart(report.learning_rate, {.title = "Learning rate", .css_class = evaluated ? "side" : ""});
  return html + "</div>\n";
}

/// A picture in the page itself.
std::string picture(const Tensor& pixels, const std::vector<Rgb>& palette, const std::string& name,
                    std::string_view role) {
  if (!pixels.defined()) return "";
  const std::int64_t height = pixels.dim(1), width = pixels.dim(2);
  const std::vector<std::uint8_t> png =
      encode_png(width, height, pixels.span<std::uint8_t>(), palette, name, kOp);
  std::string html;
  put(html, {"<figure><img alt='", role, " of ", escape_html(name), "' width='", std::to_string(width),
             "' height='", std::to_string(height), "' src='data:image/png;base64,", base64(png),
             "'><figcaption>", role, "</figcaption></figure>\n"});
  return html;
}

/// "93.1% of the pixels right" over the pixels that have a class.
std::string agreement(const ReportSample& sample) {
  if (!sample.truth.defined() || !sample.prediction.defined()) return "";
  const auto truth = sample.truth.span<std::uint8_t>(), prediction = sample.prediction.span<std::uint8_t>();
  std::int64_t counted = 0, right = 0;
  for (std::int64_t i = 0; i < truth.size(); ++i) {
    counted += truth[i] != 255;
    right += truth[i] != 255 && truth[i] == prediction[i];
  }
  return counted == 0 ? "no pixel has a class"
                      : percent(double(right) / double(counted)) + "% of the pixels right";
}

std::string examples(const RunReport& report) {
  if (report.samples.empty()) return "";
  const std::vector<Rgb> palette = label_palette(report.colormap);
  std::string html = "<section class='examples'><h2>Examples</h2>" + class_legend(report);
  for (const ReportSample& sample : report.samples) {
    put(html, {"<article class='card sample'><header><h3>", escape_html(sample.name),
               "</h3><span class='muted'>", agreement(sample), "</span></header><div class='triple'>\n"});
    html += picture(sample.image, {}, sample.name, "image");
    html += picture(sample.truth, palette, sample.name, "truth");
    html += picture(sample.prediction, palette, sample.name, "prediction");
    html += "</div></article>\n";
  }
  return html + "</section>\n";
}

}  // namespace

void write_report(const std::string& path, const RunReport& report) {
  check_classes(report);
  for (const ReportSample& sample : report.samples) check_sample(sample);

  std::string html =
      "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>\n"
      "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
      "<meta name='color-scheme' content='light dark'>\n"
      // The browser itself refuses whatever would be loaded or run.
      "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; style-src "
      "'unsafe-inline'\">\n";
  put(html,
      {"<title>", escape_html(report.title.empty() ? "Training run" : report.title), "</title>\n<style>",
       report_style(), "</style></head>\n<body><main>\n", header(report), curves(report)});
  // A few classes fit beside their matrix; many want the width of the page.
  const std::string table = class_table(report), matrix = confusion_map(report);
  if (!table.empty() || !matrix.empty()) {
    const bool beside = !table.empty() && !matrix.empty() && report.class_iou.size() <= 15;
    put(html, {"<div class='", beside ? "pair" : "stack", "'>\n", table, matrix, largest_mistakes(report),
               "</div>\n"});
  }
  put(html, {examples(report),
             "<footer>Written by atrous. This page holds all it shows and loads nothing.</footer>\n",
             "</main></body></html>\n"});
  write_text(path, html, kOp);
}

}  // namespace atrous::io
