#include "atrous/io/report_classes.h"

#include <algorithm>
#include <cmath>

#include "atrous/core/error.h"
#include "atrous/io/report_html.h"

namespace atrous::io {
namespace {

constexpr std::int64_t kMostNumbered = 15, kMostNamed = 40;

std::int64_t side_of(const RunReport& report) {
  return std::llround(std::sqrt(double(report.confusion.size())));
}

/// The confusion matrix with its sums.
struct Counts {
  std::int64_t classes = 0;
  const std::vector<std::int64_t>* pixels = nullptr;
  std::vector<std::int64_t> truth, predicted;  // by class
  std::int64_t total = 0, wrong = 0;

  explicit Counts(const RunReport& report) : pixels(&report.confusion) {
    classes = side_of(report);
    truth.resize(std::size_t(classes));
    predicted.resize(std::size_t(classes));
    for (std::int64_t t = 0; t < classes; ++t)
      for (std::int64_t p = 0; p < classes; ++p) {
        truth[std::size_t(t)] += at(t, p);
        predicted[std::size_t(p)] += at(t, p);
        total += at(t, p);
        wrong += t == p ? 0 : at(t, p);
      }
  }
  std::int64_t at(std::int64_t t, std::int64_t p) const { return (*pixels)[std::size_t(t * classes + p)]; }
};

/// NaN where there is nothing to divide by.
double share(std::int64_t part, std::int64_t whole) { return double(part) / double(whole); }

std::string class_label(const Colormap& map, std::int64_t index) {
  const std::string name = class_name(map, index);
  return "<span title='" + escape_html(name) + "'>" + swatch(class_color(map, index)) +
         escape_html(shortened(name, 24)) + "</span>";
}

}  // namespace

void check_classes(const RunReport& report) {
  const auto size = std::int64_t(report.confusion.size());
  const std::int64_t classes = side_of(report);
  ATROUS_CHECK(ShapeError, classes * classes == size, "write_report", "the confusion matrix has ", size,
               " counts, which is no square");
  ATROUS_CHECK(
      ShapeError, size == 0 || report.class_iou.empty() || classes == std::int64_t(report.class_iou.size()),
      "write_report", "the confusion matrix has ", classes, " classes, class_iou ", report.class_iou.size());
}

std::string class_table(const RunReport& report) {
  if (report.class_iou.empty()) return "";
  const Counts counts(report);
  const bool counted = counts.total > 0;
  std::string html =
      "<section class='card'><h2>Classes</h2><table class='classes'><thead><tr><th>class</th><th "
      "colspan='2'>IoU, "
      "%</th>";
  if (counted) html += "<th class='wide'>recall</th><th class='wide'>precision</th><th>of pixels</th>";
  html += "</tr></thead><tbody>\n";
  double sum = 0;
  std::int64_t present = 0;
  for (std::int64_t c = 0; c < std::int64_t(report.class_iou.size()); ++c) {
    const auto i = std::size_t(c);
    const double iou = report.class_iou[i];
    put(html, {"<tr><th>", class_label(report.colormap, c), "</th>"});
    if (std::isfinite(iou)) {
      put(html, {"<td class='track'><i style='width:", position(std::clamp(iou, 0.0, 1.0)),
                 ";background:", hex_color(class_color(report.colormap, c)), "'></i></td><td><b>",
                 percent(iou), "</b></td>"});
      sum += iou;
      ++present;
    } else {
      html += "<td class='track'></td><td class='muted'>absent</td>";
    }
    if (counted)
      put(html, {"<td class='wide'>", percent(share(counts.at(c, c), counts.truth[i])),
                 "</td><td class='wide'>", percent(share(counts.at(c, c), counts.predicted[i])),
                 "</td><td class='muted'>", percent(share(counts.truth[i], counts.total)), "</td>"});
    html += "</tr>\n";
  }
  if (present > 0)
    put(html, {"</tbody><tfoot><tr><th>mean of ", grouped(present), "</th><td class='track'><i style='width:",
               position(std::clamp(sum / double(present), 0.0, 1.0)), "'></i></td><td><b>",
               percent(sum / double(present)), "</b></td>",
               counted ? "<td class='wide'></td><td class='wide'></td><td></td>" : "", "</tr></tfoot>"});
  else
    html += "</tbody>";
  return html + "</table></section>\n";
}

std::string confusion_map(const RunReport& report) {
  const Counts counts(report);
  if (counts.classes == 0) return "";
  const std::int64_t classes = counts.classes;
  const bool numbered = classes <= kMostNumbered, named = classes <= kMostNamed;
  const std::int64_t cell = numbered ? 30 : named ? 18 : std::max<std::int64_t>(3, 900 / classes);
  const std::int64_t name_length = classes <= 20 ? 14 : 12;
  std::int64_t longest = 2;
  for (std::int64_t c = 0; named && c < classes; ++c)
    longest = std::max(longest, std::min(name_length, character_count(class_name(report.colormap, c))));
  const std::int64_t label_width = named ? 7 * longest + 22 : 4;

  std::string html =
      "<section class='card'><h2>Confusion</h2><p class='note'>Rows are the truth, columns the "
      "prediction; each row adds up to 100%.";
  put(html, {named ? "" : " Point at a cell for its names.", "</p><div class='heat", numbered ? "" : " dense",
             "' style='margin-left:", std::to_string(label_width),
             "px;padding-bottom:", std::to_string(label_width * 3 / 4),
             "px'><svg role='img' aria-label='confusion matrix' width='100%' height='",
             std::to_string(classes * cell), "'>"});
  const std::string width = position(1.0 / double(classes)), height = std::to_string(cell);
  const auto column = [&](double c) { return position(c / double(classes)); };
  for (std::int64_t t = 0; t < classes; ++t) {
    const std::string y = std::to_string(t * cell);
    const std::int64_t row = counts.truth[std::size_t(t)];
    put(html, {"<rect class='", row > 0 ? "ground" : "ground none", "' width='100%' height='", height,
               "' y='", y, "'/>"});
    for (std::int64_t p = 0; p < classes; ++p) {
      const double part = row > 0 ? share(counts.at(t, p), row) : 0;
      if (part <= 0) continue;
      const double opacity = 0.06 + 0.94 * std::pow(std::clamp(part, 0.0, 1.0), 0.7);
      const std::string x = column(double(p));
      put(html, {"<g><rect class='", t == p ? "right" : "wrong", "' x='", x, "' y='", y, "' width='", width,
                 "' height='", height, "' fill-opacity='", fixed(opacity, 2), "'/>"});
      if (numbered && (t == p || part >= 0.005))
        put(html, {"<text class='", opacity > 0.55 ? "number strong" : "number", "' dy='.35em' x='",
                   column(double(p) + 0.5), "' y='", std::to_string(t * cell + cell / 2), "'>",
                   fixed(100 * part, 0), "</text>"});
      put(html, {"<title>", escape_html(class_name(report.colormap, t)), t == p ? " found: " : " taken for ",
                 t == p ? "" : escape_html(class_name(report.colormap, p)) + ": ", percent(part), "% (",
                 grouped(counts.at(t, p)), " pixels)</title></g>"});
    }
    html += "\n";
  }
  for (std::int64_t c = 0; named && c < classes; ++c) {
    const std::string color = hex_color(class_color(report.colormap, c));
    const std::string name = escape_html(shortened(class_name(report.colormap, c), name_length));
    const std::string title = "<title>" + escape_html(class_name(report.colormap, c)) + "</title>";
    const std::int64_t middle = c * cell + cell / 2, bottom = classes * cell;
    put(html, {"<rect class='swatch' x='-14' y='", std::to_string(middle - 4),
               "' width='9' height='9' fill='", color, "'/><text class='row' x='-20' dy='.35em' y='",
               std::to_string(middle), "'>", name, title, "</text>"});
    // A nested svg moves the origin by per cent of the width, which a transform cannot.
    put(html, {"<svg x='", column(double(c) + 0.5), "' y='", std::to_string(bottom),
               "'><rect class='swatch' x='-4' y='5' width='9' height='9' fill='", color,
               "'/><text class='row column' transform='translate(3 24) rotate(-45)'>", name, title,
               "</text></svg>"});
  }
  html += "</svg></div>";
  return html + "</section>\n";
}

std::string largest_mistakes(const RunReport& report) {
  const Counts counts(report);
  const Colormap& map = report.colormap;
  struct Mistake {
    std::int64_t truth, predicted, pixels;
  };
  std::vector<Mistake> all;
  for (std::int64_t t = 0; t < counts.classes; ++t)
    for (std::int64_t p = 0; p < counts.classes; ++p)
      if (t != p && counts.at(t, p) > 0) all.push_back({t, p, counts.at(t, p)});
  const auto shown = std::min<std::ptrdiff_t>(6, std::ptrdiff_t(all.size()));
  if (shown == 0) return "";
  std::stable_sort(all.begin(), all.end(),
                   [](const Mistake& a, const Mistake& b) { return a.pixels > b.pixels; });
  std::string html = "<section class='card'><h2>Largest mistakes</h2><ul class='mistakes'>";
  for (const Mistake& m : Span<const Mistake>(all.data(), shown))
    put(html,
        {"<li><span>", class_label(map, m.truth), " <em>taken for</em> ", class_label(map, m.predicted),
         "</span><span class='muted'><b>", percent(share(m.pixels, counts.truth[std::size_t(m.truth)])),
         "%</b> of its pixels · ", percent(share(m.pixels, counts.wrong)), "% of all mistakes</span></li>"});
  return html + "</ul></section>\n";
}

std::string class_legend(const RunReport& report) {
  const std::int64_t classes =
      std::max<std::int64_t>(report.colormap.size(), std::int64_t(report.class_iou.size()));
  std::string html = "<p class='legend'>";
  for (std::int64_t c = 0; c < classes; ++c) put(html, {class_label(report.colormap, c), " "});
  put(html, {"<span>", swatch(report.colormap.ignore_color), "no class</span></p>"});
  return html;
}

}  // namespace atrous::io
