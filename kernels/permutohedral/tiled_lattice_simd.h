#pragma once

#include <cstdint>

#include "atrous/kernels/simd.h"

// The loops of tiled_lattice.h for each instruction set: a lane a class, but a lane a point in lattice_place.

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
ATROUS_SIMD(lattice_place, const LatticePlaceKeys& keys, long points, const float* features,
            std::uint64_t* found, float* weights);

/// One run of points for splat and slice: their corners' local numbers and weights.
struct LatticeRun {
  long points, corners, classes, stride;
  const std::uint16_t* local;
  const float* weight;
};
/// partial[local[i,r]] += weight[i,r] pre[i] values[i]; pre may be null.
ATROUS_SIMD(lattice_splat_run, const LatticeRun& run, const float* pre, const float* values, float* partial);
/// out[i] = scale post[i] sum over r of weight[i,r] table[global[local[i,r]]]; post may be null.
ATROUS_SIMD(lattice_slice_run, const LatticeRun& run, const std::int32_t* global, const float* table,
            float scale, const float* post, float* out);
/// Rows begin..end-1 of: table[u] = sum over k in first[u]..first[u+1]-1 of partial[list[k]]
ATROUS_SIMD(lattice_merge_rows, long begin, long end, long stride, const std::int32_t* first,
            const std::int32_t* list, const float* partial, float* table);
/// Rows begin..end-1 of: to[u] = from[u] + (from[plus[u]] + from[minus[u]]) / 2
ATROUS_SIMD(lattice_blur_rows, long begin, long end, long stride, const std::int32_t* plus,
            const std::int32_t* minus, const float* from, float* to);

/// Rows begin..end-1 of: table[u] = table[u] * factors, lane by lane; factors [stride].
ATROUS_SIMD(lattice_scale_rows, long begin, long end, long stride, const float* factors, float* table);
/// Rows begin..end-1 of: table[u] = sum over b < classes of table[u][b] columns[b]; columns [classes,
/// stride], stride <= kMostFusedClasses.
ATROUS_SIMD(lattice_mix_rows, long begin, long end, long stride, long classes, const float* columns,
            float* table);

/// A term of the fused update, for one run of points.
struct FusedTerm {
  long corners;
  const std::uint16_t* local;
  const float *weight, *pre, *post;
  float scale;
  const std::int32_t* global;
  const float* table;
  float* partial;
};
/// tiled::update of one run of points; returns the greatest change.
ATROUS_SIMD_RESULT(float, lattice_update_run, const FusedTerm* terms, int count, long points, long classes,
                   long stride, const float* logits, float relax, const float* old, float* q);

}  // namespace atrous::kernels::simd
