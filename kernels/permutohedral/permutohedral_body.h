#pragma once

#include "atrous/kernels/permutohedral/lattice_point.h"
#include "atrous/kernels/permutohedral/permutohedral.h"

// The arithmetic of one element of each kernel of permutohedral.h.

namespace atrous::kernels {

/// Calls f.operator()<D>(): the features at compile time for the usual numbers of them.
template <class F>
void with_features(std::int64_t features, const F& f) {
  switch (features) {
    case 2:
      return f.template operator()<2>();
    case 3:
      return f.template operator()<3>();
    case 5:
      return f.template operator()<5>();
    default:
      return f.template operator()<0>();
  }
}

// NaN is less and greater than everything.
ATROUS_HD inline double lattice_lower(double a, double b) { return b < a || b != b ? b : a; }
ATROUS_HD inline double lattice_upper(double a, double b) { return b > a || b != b ? b : a; }

/// The bounds of a strip of points: the points are cut into `strips` runs.
template <class T>
struct LatticeStripBounds {
  LatticeDims d;
  std::int64_t strips;
  Span<const T> features;
  Span<double> bounds;  // [strips, 2, d]
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t strip = i / d.features, f = i % d.features;
    const std::int64_t begin = d.points * strip / strips, end = d.points * (strip + 1) / strips;
    double low = double(features[begin * d.features + f]), high = low;
    bool finite = true;
    for (std::int64_t p = begin; p < end; ++p) {
      const double v = double(features[p * d.features + f]);
      finite = finite && v - v == 0;
      low = v < low ? v : low;
      high = v > high ? v : high;
    }
    bounds[(2 * strip) * d.features + f] = finite ? low : low - low + std::nan("");
    bounds[(2 * strip + 1) * d.features + f] = finite ? high : high - high + std::nan("");
  }
};

template <class T>
struct LatticeBounds {
  LatticeDims d;
  std::int64_t strips;
  Span<const double> strip_bounds;
  Span<double> bounds;
  ATROUS_HD void operator()(std::int64_t f) const {
    double low = strip_bounds[f], high = strip_bounds[d.features + f];
    for (std::int64_t s = 1; s < strips; ++s) {
      low = lattice_lower(low, strip_bounds[2 * s * d.features + f]);
      high = lattice_upper(high, strip_bounds[(2 * s + 1) * d.features + f]);
    }
    bounds[f] = low;
    bounds[d.features + f] = high;
  }
};

/// Weights and keys of point i.
template <int D, class T>
struct LatticePlace {
  LatticeDims d;
  LatticeKeys keys;
  Span<const T> features;
  Span<T> weight;
  Span<std::uint64_t> words;
  ATROUS_HD void operator()(std::int64_t i) const {
    LatticePoint<D> p;
    lattice_embed<D>(keys, features.data() + i * d.features, p);
    for (int r = 0; r <= int(d.features); ++r) {
      const std::int64_t s = i * d.corners() + r;
      weight[s] = T(p.weight[r]);
      lattice_pack<D>(keys, p, r, words.data() + s * keys.words);
    }
  }
};

ATROUS_HD inline bool lattice_same_key(const std::uint64_t* a, const std::uint64_t* b, int words) {
  for (int w = 0; w < words; ++w)
    if (a[w] != b[w]) return false;
  return true;
}

ATROUS_HD inline std::uint64_t lattice_hash_words(const std::uint64_t* words, int count) {
  std::uint64_t hash = 0;
  for (int w = 0; w < count; ++w) hash = lattice_hash(words[w], hash);
  return hash;
}

/// The vertex next to vertex u along an axis, found by its key; the link holds both ways.
struct LatticeNeighbour {
  LatticeDims d;
  LatticeKeys keys;
  std::int64_t vertices;
  Span<const std::int32_t> vertex;
  Span<const std::uint64_t> words;
  Span<const std::int32_t> slots, first;
  Span<std::int32_t> neighbours;
  ATROUS_HD void operator()(std::int64_t i) const {
    const std::int64_t u = i % vertices;
    const int axis = int(i / vertices);
    std::uint64_t key[(kMostLatticeFeatures + 3) / 2];
    const std::uint64_t* own = words.data() + std::int64_t(first[u]) * keys.words;
    const int r = lattice_remainder(keys, own[0]);
    for (int w = 0; w < keys.words; ++w) key[w] = own[w] + lattice_step(keys, axis, r, w);
    const std::int64_t mask = slots.size() - 1;
    std::int32_t* plus = neighbours.data() + 2 * axis * vertices;
    for (std::int64_t slot = std::int64_t(lattice_hash_words(key, keys.words)) & mask; slots[slot] >= 0;
         slot = (slot + 1) & mask) {
      if (!lattice_same_key(words.data() + std::int64_t(slots[slot]) * keys.words, key, keys.words)) continue;
      const std::int32_t next = vertex[slots[slot]];
      plus[u] = next;
      plus[vertices + next] = std::int32_t(u);  // no other vertex has `next` there
      return;
    }
  }
};

template <class T>
struct LatticeSplat {
  LatticeDims d;
  std::int64_t classes;
  Span<const T> weight;
  Span<const std::int32_t> begin, splats;
  Span<const T> pre, values;
  Span<T> table;
  /// What entry k of the lists gives to class c.
  ATROUS_HD T entry(std::int64_t k, std::int64_t c) const {
    const std::int32_t s = splats[k];
    const std::int64_t p = s / std::int32_t(d.corners());
    const T b = pre.empty() ? weight[s] : weight[s] * pre[p];
    return b * values[p * classes + c];
  }
  ATROUS_HD void element(std::int64_t u, std::int64_t c) const {
    T sum = 0;
    if (u < begin.size() - 1)
      for (std::int32_t k = begin[u]; k < begin[u + 1]; ++k) sum += entry(k, c);
    table[u * classes + c] = sum;
  }
  ATROUS_HD void operator()(std::int64_t i) const { element(i / classes, i % classes); }
};

template <class T>
struct LatticeBlur {
  std::int64_t vertices, classes;
  Span<const std::int32_t> neighbours;  // [2, M] of the axis
  Span<const T> from;
  Span<T> to;
  ATROUS_HD void element(std::int64_t u, std::int64_t c) const {
    const std::int64_t i = u * classes + c;
    if (u == vertices)
      to[i] = 0;
    else
      to[i] = from[i] +
              T(0.5) * (from[neighbours[u] * classes + c] + from[neighbours[vertices + u] * classes + c]);
  }
  ATROUS_HD void operator()(std::int64_t i) const { element(i / classes, i % classes); }
};

template <class T>
struct LatticeSlice {
  LatticeDims d;
  std::int64_t classes;
  T scale;
  Span<const T> weight;
  Span<const std::int32_t> vertex;
  Span<const T> post, table;
  Span<T> out;
  ATROUS_HD void element(std::int64_t p, std::int64_t c) const {
    T sum = 0;
    for (std::int64_t s = p * d.corners(); s < (p + 1) * d.corners(); ++s)
      sum += weight[s] * table[vertex[s] * classes + c];
    out[p * classes + c] = scale * sum * (post.empty() ? T(1) : post[p]);
  }
  ATROUS_HD void operator()(std::int64_t i) const { element(i / classes, i % classes); }
};

/// The gradient of point i's features from those of its weights. `corner(r)` is the gradient by the weight of
/// corner r.
template <int D, class T, class Corner>
ATROUS_HD inline void lattice_chain(const LatticeKeys& keys, const T* features, const Corner& corner,
                                    T* dfeatures) {
  const int d = D ? D : keys.features;
  LatticePoint<D> p;
  lattice_embed<D>(keys, features, p);
  double by_weight[LatticePoint<D>::kSize + 1];
  for (int r = 0; r <= d; ++r) by_weight[r] = double(corner(r));
  double before = 0;  // the sum of dL/de_k over k < j
  for (int j = 0; j <= d; ++j) {
    const int place = d - p.rank[j];
    const double de = (by_weight[place] - by_weight[place == d ? 0 : place + 1]) / (d + 1);
    if (j > 0) dfeatures[j - 1] = T(keys.scale[j - 1] * (before - j * de));
    before += de;
  }
}

template <int D, class T>
struct LatticeBackwardFeatures {
  LatticeDims d;
  LatticeKeys keys;
  std::int64_t classes;
  double scale;
  Span<const T> features;
  Span<const std::int32_t> vertex;
  Span<const T> pre, post, values, dout, forward, backward;
  Span<T> dfeatures;
  ATROUS_HD void operator()(std::int64_t i) const {
    const double before = pre.empty() ? 1 : double(pre[i]), after = post.empty() ? 1 : double(post[i]);
    lattice_chain<D>(
        keys, features.data() + i * d.features,
        [&](int r) {
          const std::int64_t row = std::int64_t(vertex[i * d.corners() + r]) * classes;
          double of_out = 0, of_values = 0;
          for (std::int64_t c = 0; c < classes; ++c) {
            of_out += double(dout[i * classes + c]) * double(forward[row + c]);
            of_values += double(values[i * classes + c]) * double(backward[row + c]);
          }
          return scale * (after * of_out + before * of_values);
        },
        dfeatures.data() + i * d.features);
  }
};

}  // namespace atrous::kernels
