#include "atrous/layers/summary.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "atrous/layers/layer.h"

namespace atrous::layers {

std::int64_t Summary::parameters() const {
  std::int64_t sum = 0;
  for (const SummaryRow& row : rows) sum += row.parameters;
  return sum;
}

std::int64_t Summary::macs() const {
  std::int64_t sum = 0;
  for (const SummaryRow& row : rows) sum += row.macs;
  return sum;
}

std::string Summary::table() const {
  std::size_t name_width = 5, kind_width = 4;
  for (const SummaryRow& row : rows) {
    name_width = std::max(name_width, row.name.size());
    kind_width = std::max(kind_width, row.kind.size());
  }
  std::ostringstream text;
  const auto line = [&](const std::string& name, const std::string& kind, const std::string& output,
                        const std::string& parameters, const std::string& macs) {
    text << std::left << std::setw(int(name_width) + 2) << name << std::setw(int(kind_width) + 2) << kind
         << std::setw(24) << output << std::right << std::setw(12) << parameters << std::setw(18) << macs
         << '\n';
  };
  line("layer", "kind", "output", "parameters", "multiply-adds");
  for (const SummaryRow& row : rows) {
    std::ostringstream shape;
    shape << row.output;
    line(row.name, row.kind, shape.str(), std::to_string(row.parameters), std::to_string(row.macs));
  }
  line("total", "", "", std::to_string(parameters()), std::to_string(macs()));
  return text.str();
}

Summary summarise(const Layer& layer, const Shape& x) {
  Summary summary;
  layer.trace(x, "", summary);
  return summary;
}

std::string join_names(const std::string& a, const std::string& b) { return a.empty() ? b : a + "." + b; }

}  // namespace atrous::layers
