#pragma once

#include <cstdint>

#include "atrous/kernels/simd.h"

// The loops of tiled_lattice.h for each instruction set: a lane a class, but a lane a point in lattice_place.
// Rows come in eights of floats: 21 classes are three vectors of AVX2, and one and a half of AVX-512.

namespace atrous::kernels::simd {

inline constexpr int kMostPlacedFeatures = 6;
inline constexpr long kMostFusedClasses = 1024;
inline constexpr int kMostFusedTerms = 8;

/// What lattice_place needs of LatticeKeys: one word.
struct LatticePlaceKeys {
  int features;
  double scale[kMostPlacedFeatures];
  std::int64_t low[kMostPlacedFeatures];
  int shift[kMostPlacedFeatures];
};
/// Keys and weights of `points` points, 1 <= features <= kMostPlacedFeatures; by the arithmetic of
/// lattice_embed. keys and weights are [points, features + 1].
ATROUS_SIMD_OF_EIGHT(void, lattice_place, const LatticePlaceKeys& keys, long points, const float* features,
                     std::uint64_t* found, float* weights);

/// One run of points for splat and slice: their corners' local numbers and weights, and the rows of tables.
struct LatticeRun {
  long points, corners, classes, stride;
  const std::uint16_t* local;
  const float* weight;
};
/// table[rows[local[i,r]]] += weight[i,r] pre[i] values[i]; pre may be null.
ATROUS_SIMD_OF_EIGHT(void, lattice_splat_run, const LatticeRun& run, const std::int32_t* rows,
                     const float* pre, const float* values, float* table);
/// out[i] = scale post[i] sum over r of weight[i,r] table[global[local[i,r]]]; post may be null.
ATROUS_SIMD_OF_EIGHT(void, lattice_slice_run, const LatticeRun& run, const std::int32_t* global,
                     const float* table, float scale, const float* post, float* out);
/// Writes zeros, into the cache: memset of so many goes past it. `floats` is a multiple of 8.
ATROUS_SIMD_OF_EIGHT(void, lattice_clear_rows, long floats, float* rows);
/// For s of begin..end-1: table[shared[s]] += table[extras[k]], k from shared_begin[s] to shared_begin[s+1]-1
ATROUS_SIMD_OF_EIGHT(void, lattice_gather_rows, long begin, long end, long stride, const std::int32_t* shared,
                     const std::int32_t* shared_begin, const std::int32_t* extras, float* table);
/// The vertices chains[begin..end-1], whole chains of them, begin < end: each adds half of the one before it
/// in its chain and of the one behind it, in place.
ATROUS_SIMD_OF_EIGHT(void, lattice_blur_chains, long begin, long end, long stride, const std::int32_t* chains,
                     float* table);

/// Rows begin..end-1 of: table[u] = table[u] * factors, lane by lane; factors [stride].
ATROUS_SIMD_OF_EIGHT(void, lattice_scale_rows, long begin, long end, long stride, const float* factors,
                     float* table);
/// Rows begin..end-1 of: table[u] = sum over b < classes of table[u][b] columns[b]; columns [classes,
/// stride], stride <= kMostFusedClasses.
ATROUS_SIMD_OF_EIGHT(void, lattice_mix_rows, long begin, long end, long stride, long classes,
                     const float* columns, float* table);

/// A term of the fused update, for one run of points.
struct FusedTerm {
  LatticeRun run;
  const float *pre, *post;
  float scale;
  const std::int32_t *global, *rows;
  const float* table;
  float* next;
};
/// tiled::update of one run of points; returns the greatest change.
ATROUS_SIMD_OF_EIGHT(float, lattice_update_run, const FusedTerm* terms, int count, const float* logits,
                     float relax, const float* old, float* q);

}  // namespace atrous::kernels::simd
