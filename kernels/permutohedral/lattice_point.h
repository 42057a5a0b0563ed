#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/host_device.h"
#include "atrous/kernels/permutohedral/permutohedral.h"

// Where a point lies in the permutohedral lattice: the d + 1 corners of the simplex around it, their weights
// and their keys. Arithmetic is in double whatever the features are: at 2048 pixels and a deviation of 1 a
// float would leave 4 digits of the weights.
//
// A corner of remainder r has coordinates (d+1) k_i + r, i = 0..d; the last follows from the others (they add
// up to 0), so k_0 .. k_(d-1) and r are its key. A key is packed into 64-bit words, each field with room for
// the key's neighbours: then a neighbour is a sum of words, and no field runs into another.

namespace atrous::kernels {

template <int D>  // 0: any number of features
struct LatticePoint {
  static constexpr int kSize = D ? D : kMostLatticeFeatures;
  int base[kSize + 1];       // k of the corner of remainder 0
  int rank[kSize + 1];       // a permutation of 0..d
  double weight[kSize + 2];  // of the corners, by remainder; the last is scratch
};

/// a * b, rounded before anything is added to it. nvcc would make one instruction of both, with other last
/// bits than the CPU's: a point on a face would go to other vertices there.
ATROUS_HD inline double lattice_product(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

template <int D, class T>
ATROUS_HD inline void lattice_embed(const LatticeKeys& keys, const T* features, LatticePoint<D>& p) {
  const int d = D ? D : keys.features;
  double e[LatticePoint<D>::kSize + 1], sum = 0;
  for (int j = d; j >= 1; --j) {
    const double t = lattice_product(double(features[j - 1]), keys.scale[j - 1]);
    e[j] = sum - lattice_product(j, t);
    sum += t;
  }
  e[0] = sum;
  // The nearest point of remainder 0, if its coordinates happen to add up to 0.
  int excess = 0;
  for (int i = 0; i <= d; ++i) {
    const double nearest = std::rint(e[i] / (d + 1));
    p.base[i] = int(nearest);
    excess += p.base[i];
    e[i] -= nearest * (d + 1);
    p.rank[i] = 0;
  }
  for (int i = 0; i < d; ++i)
    for (int j = i + 1; j <= d; ++j) ++(e[i] < e[j] ? p.rank[i] : p.rank[j]);
  for (int k = 0; k <= d + 1; ++k) p.weight[k] = 0;
  for (int i = 0; i <= d; ++i) {
    p.rank[i] += excess;
    if (p.rank[i] < 0) {
      p.rank[i] += d + 1;
      ++p.base[i];
      e[i] -= d + 1;
    } else if (p.rank[i] > d) {
      p.rank[i] -= d + 1;
      --p.base[i];
      e[i] += d + 1;
    }
    const double part = e[i] / (d + 1);
    p.weight[d - p.rank[i]] += part;
    p.weight[d + 1 - p.rank[i]] -= part;
  }
  p.weight[0] += 1 + p.weight[d + 1];
}

/// The words of the key of corner r.
template <int D>
ATROUS_HD inline void lattice_pack(const LatticeKeys& keys, const LatticePoint<D>& p, int r,
                                   std::uint64_t* words) {
  const int d = D ? D : keys.features;
  for (int w = 0; w < keys.words; ++w) words[w] = w == 0 ? std::uint64_t(r) : 0;
  for (int i = 0; i < d; ++i)
    words[keys.word[i]] += std::uint64_t(std::int64_t(p.base[i]) - (p.rank[i] > d - r) - keys.low[i])
                           << keys.shift[i];
}

/// What word w of a key of remainder r changes by, to the next vertex along `axis`: one step of +1 in every
/// coordinate but that of the axis, which goes by -d.
ATROUS_HD inline std::uint64_t lattice_step(const LatticeKeys& keys, int axis, int r, int w) {
  const int d = keys.features;
  if (r < d) {
    std::uint64_t step = w == 0 ? 1 : 0;
    if (axis < d && keys.word[axis] == w) step -= std::uint64_t(1) << keys.shift[axis];
    return step;
  }
  std::uint64_t step = w == 0 ? std::uint64_t(-std::int64_t(d)) : 0;
  for (int i = 0; i < d; ++i)
    if (i != axis && keys.word[i] == w) step += std::uint64_t(1) << keys.shift[i];
  return step;
}

ATROUS_HD inline int lattice_remainder(const LatticeKeys& keys, std::uint64_t word0) {
  return int(word0 & ((std::uint64_t(1) << keys.remainder_bits) - 1));
}

/// splitmix64's finaliser: keys of neighbouring vertices differ in few bits, and all of them count.
ATROUS_HD inline std::uint64_t lattice_hash(std::uint64_t word, std::uint64_t before = 0) {
  std::uint64_t x = word + 0x9e3779b97f4a7c15u * (before + 1);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace atrous::kernels
