#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace atrous::tests {

// The filter of a lattice whose vertices lie in a map by all their coordinates: written from the paper, with
// nothing of the library.
inline std::vector<double> map_filter(std::int64_t d, const std::vector<double>& features,
                                      const std::vector<double>& values, std::int64_t classes,
                                      bool reversed) {
  using Key = std::vector<std::int64_t>;
  using Row = std::vector<double>;
  const auto points = std::int64_t(features.size()) / d;
  std::map<Key, Row> table;
  std::vector<std::pair<Key, double>> corners;
  for (std::int64_t i = 0; i < points; ++i) {
    // Columns of the basis of the hyperplane, each of length (d+1) sqrt(2/3).
    std::vector<double> e(std::size_t(d + 1), 0.0);
    for (std::int64_t k = 1; k <= d; ++k) {
      const double f = features[std::size_t(i * d + k - 1)] * double(d + 1) * std::sqrt(2.0 / 3) /
                       std::sqrt(double(k * (k + 1)));
      for (std::int64_t j = 0; j < k; ++j) e[std::size_t(j)] += f;
      e[std::size_t(k)] -= double(k) * f;
    }
    // Fractional parts sorted: the simplex's corners are reached by raising the coordinates one by one.
    const double step = double(d + 1);
    Key key(std::size_t(d + 1), 0);
    std::vector<std::pair<double, std::size_t>> fraction;
    std::int64_t sum = 0;
    for (std::size_t j = 0; j <= std::size_t(d); ++j) {
      key[j] = std::int64_t(std::floor(e[j] / step)) * (d + 1);
      sum += key[j] / (d + 1);
      fraction.push_back({e[j] / step - std::floor(e[j] / step), j});
    }
    std::sort(fraction.begin(), fraction.end(), [](auto a, auto b) { return a.first > b.first; });
    for (std::int64_t raised = 0; raised < -sum; ++raised) {  // until the coordinates add up to 0
      key[fraction[std::size_t(raised)].second] += d + 1;
      fraction[std::size_t(raised)].first -= 1;
    }
    std::sort(fraction.begin(), fraction.end(), [](auto a, auto b) { return a.first > b.first; });
    for (std::int64_t r = 0; r <= d; ++r) {
      // Remainder r: the r largest go up by r - 0, the others down: x = sum of weights times corners.
      Key corner = key;
      for (std::int64_t place = 0; place <= d; ++place)
        corner[fraction[std::size_t(place)].second] += place <= d - r ? r : r - (d + 1);
      const double upper = r == 0 ? fraction.back().first + 1 : fraction[std::size_t(d - r)].first;
      const double lower = r == 0 ? fraction.front().first : fraction[std::size_t(d - r + 1)].first;
      corners.push_back({corner, upper - lower});
      auto& row = table.try_emplace(corner, Row(std::size_t(classes), 0.0)).first->second;
      for (std::int64_t c = 0; c < classes; ++c)
        row[std::size_t(c)] += (upper - lower) * values[std::size_t(i * classes + c)];
    }
  }
  for (std::int64_t n = 0; n <= d; ++n) {
    const std::int64_t axis = reversed ? d - n : n;
    const std::map<Key, Row> before = table;
    for (auto& [key, row] : table)
      for (const std::int64_t sign : {1, -1}) {
        Key next = key;
        for (std::int64_t j = 0; j <= d; ++j) next[std::size_t(j)] += sign * (j == axis ? -d : 1);
        if (const auto found = before.find(next); found != before.end())
          for (std::size_t c = 0; c < row.size(); ++c) row[c] += found->second[c] / 2;
      }
  }
  std::vector<double> out(values.size(), 0.0);
  for (std::size_t s = 0; s < corners.size(); ++s)
    for (std::size_t c = 0; c < std::size_t(classes); ++c)
      out[s / std::size_t(d + 1) * std::size_t(classes) + c] +=
          corners[s].second * table[corners[s].first][c] / (1 + std::exp2(-double(d)));
  return out;
}

}  // namespace atrous::tests
