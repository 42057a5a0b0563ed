#include "atrous/io/report_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "atrous/io/report_html.h"

namespace atrous::io {
namespace {

using Points = std::vector<ReportCurvePoint>;

constexpr std::int64_t kBuckets = 500;  // of a thinned curve; each keeps its lowest and its highest value
constexpr std::int64_t kStrips = 80;    // of the surface that shows numbers under the pointer
constexpr std::int64_t kMostMarkers = 40;

/// Values that a diverged run leaves are not drawn: one of them would flatten everything else.
bool drawable(double value) { return std::isfinite(value) && std::abs(value) <= 1e30; }

struct Axis {
  double low = 0, high = 1, tick = 1;
  double place(double value) const {
    return high > low ? std::clamp((value - low) / (high - low), 0.0, 1.0) : 0.5;
  }
  std::vector<double> ticks() const {
    std::vector<double> at;
    const double first = std::ceil(low / tick - 1e-6);
    for (int i = 0; i < 20 && (first + i) * tick <= high + 1e-6 * tick; ++i) at.push_back((first + i) * tick);
    return at;
  }
};

/// The smallest of 1, 2, 5 times a power of ten that cuts `range` into at most `parts`.
double tick_size(double range, double parts) {
  const double rough = range / parts;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

/// From zero where that costs little height, and to whole ticks.
Axis value_axis(double low, double high) {
  if (high - low <= 1e-9 * std::max(std::abs(low), std::abs(high))) {  // as good as constant
    const double margin = high == 0 ? 1 : std::abs(high) / 4;
    low -= low == 0 ? 0 : margin;
    high += margin;
  }
  if (low > 0 && low < 0.6 * high) low = 0;
  Axis axis;
  axis.tick = tick_size(high - low, 5);
  axis.low = std::floor(low / axis.tick + 1e-6) * axis.tick;
  axis.high = std::ceil(high / axis.tick - 1e-6) * axis.tick;
  return axis;
}

Axis step_axis(const Points& points) {
  std::int64_t first = std::numeric_limits<std::int64_t>::max(), last = 0;
  for (const ReportCurvePoint& p : points) {
    first = std::min(first, std::max<std::int64_t>(p.step, 0));
    last = std::max(last, p.step);
  }
  Axis axis{double(first), double(last), 1};
  if (axis.low < 0.2 * axis.high) axis.low = 0;
  if (axis.high > axis.low) axis.tick = std::max(1.0, tick_size(axis.high - axis.low, 6));
  return axis;
}

std::string value_label(double value, const Axis& axis, bool in_percent) {
  const double tick = axis.tick * (in_percent ? 100 : 1);
  const double largest = std::max(std::abs(axis.low), std::abs(axis.high));
  if (!in_percent && (largest >= 1e5 || largest < 1e-3)) {
    // Digits down to the place of the tick, so that neighbours differ.
    const int digits = 1 + int(std::floor(std::log10(largest)) - std::floor(std::log10(tick)));
    return std::abs(value) < tick / 2 ? "0" : significant(value, std::clamp(digits, 1, 9));
  }
  const int decimals = std::clamp(int(-std::floor(std::log10(tick) + 1e-9)), 0, 9);
  return in_percent ? fixed(100 * value, decimals) + "%" : fixed(value, decimals);
}

std::string step_label(double step, const Axis& axis) {
  const auto whole = std::int64_t(std::llround(step));
  if (whole == 0) return "0";
  if (axis.high >= 2e6 && std::fmod(axis.tick, 1e5) == 0) return fixed(step / 1e6, 1) + "M";
  if (axis.high >= 2e4 && std::fmod(axis.tick, 1e3) == 0) return grouped(whole / 1000) + "k";
  return grouped(whole);
}

std::string value_text(double value, bool in_percent) {
  return in_percent ? percent(value) + "%" : significant(value, 4);
}

/// Lowest and highest of each bucket in the order they came; NaN where a bucket has nothing to draw.
Points thinned(const Points& points) {
  const auto count = std::int64_t(points.size());
  const std::int64_t buckets = std::min(count, kBuckets);
  Points kept;
  for (std::int64_t b = 0; b < buckets; ++b) {
    const std::int64_t begin = b * count / buckets, end = (b + 1) * count / buckets;
    std::int64_t low = -1, high = -1;
    for (std::int64_t i = begin; i < end; ++i) {
      const double v = points[std::size_t(i)].value;
      if (!drawable(v)) continue;
      if (low < 0 || v < points[std::size_t(low)].value) low = i;
      if (high < 0 || v > points[std::size_t(high)].value) high = i;
    }
    if (low < 0) {
      kept.push_back({points[std::size_t(begin)].step, std::nan("")});
      continue;
    }
    kept.push_back(points[std::size_t(std::min(low, high))]);
    if (low != high) kept.push_back(points[std::size_t(std::max(low, high))]);
  }
  return kept;
}

/// Means of the buckets, then a running mean over 4 % of the curve. The window narrows towards the start,
/// where a loss falls fast, and is one-sided at the end.
Points smoothed(const Points& points) {
  const auto count = std::int64_t(points.size());
  const std::int64_t buckets = std::min(count, kBuckets);
  Points means;
  for (std::int64_t b = 0; b < buckets; ++b) {
    double sum = 0, weight = 0;
    const std::int64_t begin = b * count / buckets, end = (b + 1) * count / buckets;
    for (std::int64_t i = begin; i < end; ++i) {
      if (!drawable(points[std::size_t(i)].value)) continue;
      sum += points[std::size_t(i)].value;
      weight += 1;
    }
    means.push_back(
        {points[std::size_t((begin + end - 1) / 2)].step, weight > 0 ? sum / weight : std::nan("")});
  }
  means.front().step = points.front().step;
  means.back().step = points.back().step;
  const std::int64_t half = std::max<std::int64_t>(1, buckets / 50);
  Points curve = means;
  for (std::int64_t b = 0; b < buckets; ++b) {
    if (std::isnan(means[std::size_t(b)].value)) continue;
    double sum = 0, weight = 0;
    for (std::int64_t i = b - std::min(half, b); i <= std::min(b + std::min(half, b), buckets - 1); ++i) {
      if (std::isnan(means[std::size_t(i)].value)) continue;
      sum += means[std::size_t(i)].value;
      weight += 1;
    }
    curve[std::size_t(b)].value = sum / weight;
  }
  return curve;
}

/// A path in a square of 1000 by 1000, with a gap at each NaN.
std::string path(const Points& points, const Axis& x, const Axis& y, std::string_view css_class) {
  std::string d;
  bool pen_down = false;
  for (const ReportCurvePoint& p : points) {
    if (!std::isnan(p.value)) {
      put(d, {pen_down ? "L" : "M", fixed(1000 * x.place(double(p.step)), 1), " ",
              fixed(1000 - 1000 * y.place(p.value), 1)});
    }
    pen_down = !std::isnan(p.value);
  }
  std::string html;
  put(html, {"<path class='", css_class, "' d='", d, "'/>"});
  return html;
}

/// Invisible strips over the whole height that name the values below the pointer.
std::string strips(const Points& points, const Axis& x, bool in_percent) {
  struct Strip {
    std::int64_t first = 0, last = 0, count = 0;
    double low = 0, high = 0, sum = 0;
  };
  const std::int64_t count = std::min(kStrips, std::int64_t(points.size()));
  std::vector<Strip> all(static_cast<std::size_t>(count));
  for (const ReportCurvePoint& p : points) {
    if (!drawable(p.value)) continue;
    Strip& s = all[std::size_t(std::min(count - 1, std::int64_t(x.place(double(p.step)) * double(count))))];
    if (s.count++ == 0) s = {p.step, p.step, 1, p.value, p.value, 0};
    s.last = p.step;
    s.low = std::min(s.low, p.value);
    s.high = std::max(s.high, p.value);
    s.sum += p.value;
  }
  std::string html;
  for (std::int64_t i = 0; i < count; ++i) {
    const Strip& s = all[std::size_t(i)];
    if (s.count == 0) continue;
    const auto text = [&](double value) { return value_text(value, in_percent); };
    put(html, {"<rect class='hit' x='", position(double(i) / double(count)), "' width='",
               position(1.0 / double(count)), "' height='100%'><title>"});
    if (s.count == 1)
      put(html, {"step ", grouped(s.first), ": ", text(s.sum)});
    else
      put(html, {"steps ", grouped(s.first), "–", grouped(s.last), ": mean ", text(s.sum / double(s.count)),
                 ", from ", text(s.low), " to ", text(s.high)});
    html += "</title></rect>";
  }
  return html;
}

}  // namespace

std::string line_chart(const Points& points, const ChartOptions& options) {
  std::string html;
  put(html, {"<figure class='card chart ", options.css_class, "'><figcaption><h3>",
             escape_html(options.title), "</h3>"});
  Points good;
  for (const ReportCurvePoint& p : points)
    if (drawable(p.value)) good.push_back(p);
  const std::string left_out =
      good.size() == points.size() ? "" : grouped(std::int64_t(points.size() - good.size())) + " not finite";
  if (good.empty()) {
    put(html, {"</figcaption><p class='empty'>", points.empty() ? "nothing recorded" : left_out,
               "</p></figure>\n"});
    return html;
  }

  const bool smooth = options.smoothed && points.size() >= 8;
  const Points line = smooth ? smoothed(points) : thinned(points);
  const auto by_value = [](const ReportCurvePoint& a, const ReportCurvePoint& b) {
    return a.value < b.value;
  };
  const auto [lowest, highest] = std::minmax_element(good.begin(), good.end(), by_value);
  double top = highest->value;
  if (smooth && good.size() >= 20) {
    // A few spikes may leave the axis at the top rather than flatten the curve.
    std::vector<double> sorted;
    for (const ReportCurvePoint& p : good) sorted.push_back(p.value);
    const auto at = sorted.begin() + std::int64_t(sorted.size() - 1) * 98 / 100;
    std::nth_element(sorted.begin(), at, sorted.end());
    double usual = *at;
    for (const ReportCurvePoint& p : line)
      if (!std::isnan(p.value)) usual = std::max(usual, p.value);
    if (usual > 0 && top > 1.5 * usual) top = usual * 1.05;
  }
  const Axis x = step_axis(points), y = value_axis(lowest->value, top);

  const ReportCurvePoint best = options.highest_is_best ? *highest : *lowest;
  put(html, {"<p>last <b>", value_text(good.back().value, options.in_percent), "</b>"});
  if (options.highest_is_best || options.smoothed)
    put(html, {" · ", options.highest_is_best ? "best" : "lowest", " <b>",
               value_text(best.value, options.in_percent), "</b> at step ", grouped(best.step)});
  if (highest->value > y.high) html += " · peaks cut off at the top";
  if (!left_out.empty()) put(html, {" · ", left_out});
  html += "</p></figcaption><div class='plot'><svg role='img' aria-label='";
  put(html, {escape_html(options.title), " over the steps'>"});

  for (const double v : y.ticks()) {
    const std::string at = position(1 - y.place(v));
    put(html,
        {"<line class='grid' x2='100%' y1='", at, "' y2='", at, "'/><text class='y' x='-8' dy='.35em' y='",
         at, "'>", value_label(v, y, options.in_percent), "</text>"});
  }
  for (const double v : x.ticks()) {
    const std::string at = position(x.place(v));
    put(html, {"<line class='grid' y2='100%' x1='", at, "' x2='", at,
               "'/><text class='x' y='100%' dy='1.6em' x='", at, "'>", step_label(v, x), "</text>"});
  }
  html += "<svg class='curve' viewBox='0 0 1000 1000' preserveAspectRatio='none' width='100%' height='100%'>";
  if (smooth) html += path(thinned(points), x, y, "raw");
  html += path(line, x, y, "line") + "</svg>";
  if (std::int64_t(good.size()) <= kMostMarkers && !smooth)
    for (const ReportCurvePoint& p : good)
      put(html, {"<circle r='3.5' cx='", position(x.place(double(p.step))), "' cy='",
                 position(1 - y.place(p.value)), "'/>"});
  html += strips(points, x, options.in_percent) + "</svg></div></figure>\n";
  return html;
}

}  // namespace atrous::io
