#include <algorithm>
#include <cmath>
#include <numbers>

#include "atrous/kernels/for_each.h"
#include "atrous/kernels/permutohedral/lattice_device.h"
#include "atrous/kernels/permutohedral/permutohedral.h"
#include "atrous/kernels/permutohedral/permutohedral_body.h"

namespace atrous::kernels {
namespace {

constexpr std::int64_t kStrips = 64;

std::int64_t strips_of(const LatticeDims& d) { return std::clamp<std::int64_t>(d.points / 1024, 1, kStrips); }

}  // namespace

LatticeKeys lattice_keys(const char* op, const LatticeDims& dims, Span<const double> bounds) {
  const std::int64_t d = dims.features;
  ATROUS_CHECK(ValueError, d >= 1 && d <= kMostLatticeFeatures, op, "the lattice takes 1 to ",
               kMostLatticeFeatures, " features a point, not ", d);
  ATROUS_CHECK(ValueError, dims.points < (std::int64_t(1) << 31) / (d + 1), op, dims.points, " points of ", d,
               " features are ", dims.points, " x ", d + 1,
               " splats, and one lattice holds less than 2^31: cut the image");
  LatticeKeys keys{};
  keys.features = int(d);
  std::vector<double> low(std::size_t(d), 0.0), high(std::size_t(d), 0.0);
  for (std::int64_t i = 0; i < d; ++i) {
    ATROUS_CHECK(ValueError, std::isfinite(bounds[i]) && std::isfinite(bounds[d + i]), op, "feature ", i,
                 " is not finite everywhere");
    keys.scale[i] = double(d + 1) * std::sqrt(2.0 / 3) / std::sqrt(double((i + 1) * (i + 2)));
    low[std::size_t(i)] = bounds[i] * keys.scale[i];
    high[std::size_t(i)] = bounds[d + i] * keys.scale[i];
  }
  // Coordinate j of the embedding is the sum of the scaled features from j on, minus j times the one before.
  while ((std::int64_t(1) << keys.remainder_bits) <= d) ++keys.remainder_bits;
  int used = keys.remainder_bits;
  constexpr double kReach = double(1 << 30);
  for (std::int64_t j = 0; j <= d; ++j) {
    double least = 0, most = 0;
    for (std::int64_t k = j; k < d; ++k) {
      least += low[std::size_t(k)];
      most += high[std::size_t(k)];
    }
    if (j > 0) {
      least -= double(j) * high[std::size_t(j - 1)];
      most -= double(j) * low[std::size_t(j - 1)];
    }
    std::int64_t widest = 0;  // the feature to blame
    for (std::int64_t i = 1; i < d; ++i)
      if (std::max(std::abs(bounds[i]), std::abs(bounds[d + i])) >
          std::max(std::abs(bounds[widest]), std::abs(bounds[d + widest])))
        widest = i;
    ATROUS_CHECK(
        ValueError, std::max(std::abs(least), std::abs(most)) <= kReach, op, "feature ", widest,
        " runs from ", bounds[widest], " to ", bounds[d + widest],
        " standard deviations, farther than the lattice counts: its standard deviation is too small");
    if (j == d) break;  // the last coordinate is not part of the key
    // One step for each of: rounding, the walk to remainder 0, the corner, the neighbour.
    const auto first = std::int64_t(std::floor(least / double(d + 1))) - 4;
    const auto last = std::int64_t(std::ceil(most / double(d + 1))) + 4;
    int bits = 1;
    while ((std::int64_t(1) << bits) <= last - first) ++bits;
    if (used + bits > 63) {
      ++keys.words;
      used = 0;
    }
    keys.low[j] = first;
    keys.word[j] = std::uint8_t(keys.words);
    keys.shift[j] = std::uint8_t(used);
    used += bits;
  }
  ++keys.words;
  return keys;
}

double lattice_alpha(std::int64_t features) { return 1 / (1 + std::exp2(-double(features))); }
double lattice_mass(std::int64_t features) {
  const auto d = double(features);
  return std::pow(2 * std::numbers::pi, d / 2) * std::sqrt(d + 1) * std::pow(2.0 / 3, d / 2) /
         std::exp2(d + 1);
}

std::int64_t lattice_slots(const LatticeDims& dims) {
  std::int64_t slots = 4;
  while (slots < 2 * dims.splats()) slots *= 2;
  return slots;
}
std::int64_t lattice_bounds_workspace_size(const LatticeDims& dims, Device device) {
  return (device.is_cpu() ? strips_of(dims) : device_bound_strips(dims)) * 2 * dims.features;
}
std::int64_t lattice_number_workspace_size(const LatticeDims& dims, Device device) {
  return device.is_cpu() ? 0 : LatticeNumberParts(dims).size();
}
std::int64_t lattice_link_workspace_size(const LatticeDims& dims, std::int64_t, Device device) {
  return device.is_cpu() ? 0 : LatticeSortParts(dims).size();
}

namespace cpu {

template <class T>
void lattice_bounds(Stream, const LatticeDims& dims, Span<const T> features, Span<double> workspace,
                    Span<double> bounds) {
  const std::int64_t strips = strips_of(dims);
  for_each_row(strips * dims.features, dims.points / strips,
               LatticeStripBounds<T>{dims, strips, features, workspace});
  for_each(dims.features, LatticeBounds<T>{dims, strips, workspace, bounds});
}
ATROUS_INSTANTIATE_F32_F64(lattice_bounds);

template <class T>
void lattice_number(Stream, const LatticeDims& dims, const LatticeKeys& keys, Span<const T> features,
                    Span<T> weight, Span<std::int32_t> vertex, Span<std::uint64_t> words,
                    Span<std::int32_t> slots, Span<std::int32_t> first, Span<std::int32_t>,
                    Span<std::int32_t> count) {
  with_features(dims.features, [&]<int D>() {
    for_each_row(dims.points, 64, LatticePlace<D, T>{dims, keys, features, weight, words});
  });
  std::fill(slots.begin(), slots.end(), -1);
  const std::int64_t mask = slots.size() - 1;
  std::int32_t vertices = 0;
  for (std::int64_t s = 0; s < dims.splats(); ++s) {
    const std::uint64_t* key = words.data() + s * keys.words;
    std::int64_t slot = std::int64_t(lattice_hash_words(key, keys.words)) & mask;
    while (slots[slot] >= 0 &&
           !lattice_same_key(words.data() + std::int64_t(slots[slot]) * keys.words, key, keys.words))
      slot = (slot + 1) & mask;
    if (slots[slot] < 0) {
      slots[slot] = std::int32_t(s);
      first[vertices] = std::int32_t(s);
      vertex[s] = vertices++;
    } else {
      vertex[s] = vertex[slots[slot]];
    }
  }
  count[0] = vertices;
}
ATROUS_INSTANTIATE_F32_F64(lattice_number);

template <class T>
void lattice_link(Stream, const LatticeDims& dims, const LatticeKeys& keys, std::int64_t vertices,
                  Span<const T>, Span<const std::int32_t> vertex, Span<const std::uint64_t> words,
                  Span<const std::int32_t> slots, Span<const std::int32_t> first, Span<std::int32_t>,
                  Span<std::int32_t> begin, Span<std::int32_t> splats, Span<std::int32_t> neighbours) {
  // A counting sort: begin[u + 1] first counts, then points to where u's next splat goes.
  std::fill(begin.begin(), begin.end(), 0);
  for (const std::int32_t u : vertex) ++begin[u + 1];
  for (std::int64_t u = 0; u < vertices; ++u) begin[u + 1] += begin[u];
  for (std::int64_t s = dims.splats() - 1; s >= 0; --s) splats[--begin[vertex[s] + 1]] = std::int32_t(s);
  for (std::int64_t u = 0; u < vertices; ++u) begin[u] = begin[u + 1];
  begin[vertices] = std::int32_t(dims.splats());
  std::fill(neighbours.begin(), neighbours.end(), std::int32_t(vertices));
  for_each_row(dims.corners() * vertices, 16,
               LatticeNeighbour{dims, keys, vertices, vertex, words, slots, first, neighbours});
}
ATROUS_INSTANTIATE_F32_F64(lattice_link);

template <class T>
void lattice_splat(Stream, const LatticeDims& dims, std::int64_t vertices, std::int64_t classes,
                   Span<const T> weight, Span<const std::int32_t>, Span<const std::int32_t> begin,
                   Span<const std::int32_t> splats, Span<const T> pre, Span<const T> values, Span<T> table) {
  for_each_row((vertices + 1) * classes, 64,
               LatticeSplat<T>{dims, classes, weight, begin, splats, pre, values, table});
}
ATROUS_INSTANTIATE_F32_F64(lattice_splat);

template <class T>
void lattice_blur(Stream, const LatticeDims& dims, std::int64_t vertices, std::int64_t classes, bool reversed,
                  Span<const std::int32_t> neighbours, Span<T> table, Span<T> other) {
  for (std::int64_t step = 0; step < dims.corners(); ++step) {
    const std::int64_t axis = reversed ? dims.features - step : step;
    for_each(
        (vertices + 1) * classes,
        LatticeBlur<T>{vertices, classes, neighbours.part(2 * axis * vertices, 2 * vertices), table, other});
    std::swap(table, other);
  }
}
ATROUS_INSTANTIATE_F32_F64(lattice_blur);

template <class T>
void lattice_slice(Stream, const LatticeDims& dims, std::int64_t classes, double scale, Span<const T> weight,
                   Span<const std::int32_t> vertex, Span<const T> post, Span<const T> table, Span<T> out) {
  for_each_row(dims.points * classes, dims.corners(),
               LatticeSlice<T>{dims, classes, T(scale), weight, vertex, post, table, out});
}
ATROUS_INSTANTIATE_F32_F64(lattice_slice);

template <class T>
void lattice_backward_features(Stream, const LatticeDims& dims, const LatticeKeys& keys, std::int64_t classes,
                               double scale, Span<const T> features, Span<const std::int32_t> vertex,
                               Span<const T> pre, Span<const T> post, Span<const T> values,
                               Span<const T> dout, Span<const T> forward, Span<const T> backward,
                               Span<T> dfeatures) {
  with_features(dims.features, [&]<int D>() {
    for_each_row(dims.points, 64 + dims.corners() * classes,
                 LatticeBackwardFeatures<D, T>{dims, keys, classes, scale, features, vertex, pre, post,
                                               values, dout, forward, backward, dfeatures});
  });
}
ATROUS_INSTANTIATE_F32_F64(lattice_backward_features);

}  // namespace cpu
}  // namespace atrous::kernels
