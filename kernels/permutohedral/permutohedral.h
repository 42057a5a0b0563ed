#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// Gaussian filtering of points in a space of many dimensions, in time linear in their number: every point
// gives its values to the corners of the lattice simplex around it (splat), the vertices that exist are
// blurred along each axis of the lattice, and every point takes its result from its corners (slice).
//
//   out[i] ~ sum over j of exp(-|f_i - f_j|^2 / 2) values[j]
//
// It is an approximation with a scale of its own: about 0.88 of the sum on a dense plane, 0.5 to 0.6 of it in
// five dimensions. What divides by the filtered ones (normalisation) does not see that. gaussian_filter is
// the sum itself.
//
// The kernels here are the plain ones, for every type and device; tiled_lattice.h has the CPU's fast form for
// floats. A lattice is built once (bounds, keys, number, link) and filters any number of times (splat, blur,
// slice). Nothing is added up in an order that depends on threads: a vertex gathers from its own list.
//
// Shapes: P points of d features; a splat is point i at corner r, with index i (d + 1) + r; S = P (d + 1) of
// them; M vertices, numbered by their first splat. A table is [M + 1, classes], its last row zeros: the
// vertex that is not there.
// Source: Adams, Baek, Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010.

namespace atrous::kernels {

inline constexpr int kMostLatticeFeatures = 32;

struct LatticeDims {
  std::int64_t points;
  std::int64_t features;
  std::int64_t row = 0;  ///< points in a row of the image that they are; 0 for none. Only speed depends on it

  ATROUS_HD std::int64_t corners() const { return features + 1; }
  ATROUS_HD std::int64_t splats() const { return points * (features + 1); }
};

/// How coordinates of the lattice become keys: which bits of which word each field has. Made for the range of
/// the features at hand, so that nothing can overflow, whatever the range.
struct LatticeKeys {
  int features, words, remainder_bits;
  std::int64_t low[kMostLatticeFeatures];   // what is subtracted from coordinate i
  std::uint8_t word[kMostLatticeFeatures];  // where it then lies
  std::uint8_t shift[kMostLatticeFeatures];
  double scale[kMostLatticeFeatures];  // of the embedding: (d+1) sqrt(2/3) / sqrt((i+1)(i+2))
};

/// The keys for features between bounds[i] and bounds[features + i]. Throws ValueError, in the name of `op`,
/// for bounds that are not finite or reach beyond what the lattice counts (about 2^30 / (d+1) deviations),
/// for more than kMostLatticeFeatures features and for 2^31 splats or more.
LatticeKeys lattice_keys(const char* op, const LatticeDims& dims, Span<const double> bounds);

/// What a filtered value is multiplied by, so that a point on a vertex sees itself with weight 1:
/// 1 / (1 + 2^-d).
double lattice_alpha(std::int64_t features);
/// The other choice: the sum over a densely sampled space is the Gaussian's.
///   (2 pi)^(d/2) sqrt(d+1) (2/3)^(d/2) / 2^(d+1)
double lattice_mass(std::int64_t features);

/// Elements of the hash table: a power of two, at least twice the splats.
std::int64_t lattice_slots(const LatticeDims& dims);
/// Doubles for partial bounds; 32-bit integers for what a device counts and sorts.
std::int64_t lattice_bounds_workspace_size(const LatticeDims& dims, Device device = kCpu);
std::int64_t lattice_number_workspace_size(const LatticeDims& dims, Device device = kCpu);
std::int64_t lattice_link_workspace_size(const LatticeDims& dims, std::int64_t vertices,
                                         Device device = kCpu);

/// The least and the greatest of every feature; NaN for one that is not finite everywhere.
///   features  [P, d]
///   bounds    [2, d]
ATROUS_KERNEL(lattice_bounds, const LatticeDims& dims, Span<const T> features, Span<double> workspace,
              Span<double> bounds);

/// Places every point and numbers the vertices.
///   weight  [S], of each splat
///   vertex  [S], the vertex of each splat
///   words   [S, keys.words], the key of each splat
///   slots   [lattice_slots], a hash table of splats: the first of each vertex
///   first   [S], of which [M] are written: the first splat of each vertex
///   count   one element: M
ATROUS_KERNEL(lattice_number, const LatticeDims& dims, const LatticeKeys& keys, Span<const T> features,
              Span<T> weight, Span<std::int32_t> vertex, Span<std::uint64_t> words, Span<std::int32_t> slots,
              Span<std::int32_t> first, Span<std::int32_t> workspace, Span<std::int32_t> count);

/// Lists each vertex's splats and finds its neighbours.
///   begin       [M + 1]: the splats of vertex u are splats[begin[u]] .. splats[begin[u+1] - 1], ascending
///   splats      [S]
///   neighbours  [d + 1, 2, M]: along each axis the next vertex, and the one before; M where there is none
ATROUS_KERNEL(lattice_link, const LatticeDims& dims, const LatticeKeys& keys, std::int64_t vertices,
              Span<const T> weight, Span<const std::int32_t> vertex, Span<const std::uint64_t> words,
              Span<const std::int32_t> slots, Span<const std::int32_t> first, Span<std::int32_t> workspace,
              Span<std::int32_t> begin, Span<std::int32_t> splats, Span<std::int32_t> neighbours);

/// table[u] = sum over the splats s of u, of point i, of weight[s] pre[i] values[i]
///   vertex  [S], not read on the CPU
///   values  [P, classes]
///   pre     [P], or empty for ones
///   table   [M + 1, classes], overwritten
ATROUS_KERNEL(lattice_splat, const LatticeDims& dims, std::int64_t vertices, std::int64_t classes,
              Span<const T> weight, Span<const std::int32_t> vertex, Span<const std::int32_t> begin,
              Span<const std::int32_t> splats, Span<const T> pre, Span<const T> values, Span<T> table);

/// For each axis in turn (in reverse if `reversed`: the transposed filter): every vertex adds half of its two
/// neighbours. The tables take turns; the result is in `table` if d + 1 is even, in `other` if it is odd.
ATROUS_KERNEL(lattice_blur, const LatticeDims& dims, std::int64_t vertices, std::int64_t classes,
              bool reversed, Span<const std::int32_t> neighbours, Span<T> table, Span<T> other);

/// out[i] = scale post[i] sum over corners r of weight[i,r] table[vertex[i,r]]
///   post  [P], or empty for ones
///   out   [P, classes], overwritten
ATROUS_KERNEL(lattice_slice, const LatticeDims& dims, std::int64_t classes, double scale,
              Span<const T> weight, Span<const std::int32_t> vertex, Span<const T> post, Span<const T> table,
              Span<T> out);

/// The gradient of <dout, filter(values)> by the features, that of the lattice itself (which is a piecewise
/// smooth function of them): both sides move, so both tables are needed.
///   forward   the table of the values after the blur
///   backward  the table of post dout after the reversed blur
///   dfeatures [P, d], overwritten
ATROUS_KERNEL(lattice_backward_features, const LatticeDims& dims, const LatticeKeys& keys,
              std::int64_t classes, double scale, Span<const T> features, Span<const std::int32_t> vertex,
              Span<const T> pre, Span<const T> post, Span<const T> values, Span<const T> dout,
              Span<const T> forward, Span<const T> backward, Span<T> dfeatures);

}  // namespace atrous::kernels
