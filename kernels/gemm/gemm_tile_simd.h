#pragma once

#include <cstdint>

#include "atrous/kernels/simd.h"

// The heart of every matrix product in single precision: a tile of the result, small enough to stay in
// registers while the sum runs (14 x 32 on AVX-512, 6 x 16 on AVX2, 6 x 8 at least), and the copies that
// bring its factors into the order in which it reads them. GEMM and the convolutions are loops around it.
//
// Every element of a tile is summed by itself, step after step, so its bits do not depend on how rows and
// columns are cut into tiles. Cutting the sum itself (one call a part, `add`) does change rounding.

namespace atrous::kernels::simd {

/// Floats of one row that lie together in a chunked A.
inline constexpr int kChunk = 16;
inline constexpr int kLeastTileRows = 6, kMostTileRows = 14, kMostTileColumns = 32;  // of any TileShape

/// Size of the register tile; `lanes` is the vector.
struct TileShape {
  int rows, columns, lanes;
};

/// One tile: sums[rows, columns] (+)= A[rows, depth] * B[depth, columns].
struct TileArgs {
  /// The words of A and B are not floats but pairs of bf16, whose products are both added; `depth` counts
  /// words. Where cpu_multiplies_bf16() alone.
  bool pairs = false;
  int rows = 0;            ///< 1..TileShape::rows
  int columns = 0;         ///< 1..TileShape::columns
  std::int64_t depth = 0;  ///< may be 0
  /// [depth / kChunk][TileShape::rows][kChunk]; readable for two rows more than `rows`.
  const float* a = nullptr;
  const float* b = nullptr;  ///< [depth][columns rounded up to lanes]
  float* sums = nullptr;     ///< [rows][TileShape::columns], partial sums between calls
  bool add = false;          ///< start from `sums` instead of from zero
  float* const* out =
      nullptr;  ///< not null in the last call: row i is finished and goes to out[i], not to sums
  const float* bias = nullptr;             ///< added when finished: [columns rounded up to lanes], or null
  const float* const* residual = nullptr;  ///< then added to row i: residual[i], of `columns`; or null
  int activation = 0;                      ///< applied when finished: 0 none, 1 relu, 2 relu6, 3 hard swish
  const float* next_b = nullptr;  ///< fetched into the cache meanwhile: `next_lines` lines each kChunk steps
  std::int64_t next_lines = 0;
};

ATROUS_SIMD_RESULT(TileShape, tile_shape);
ATROUS_SIMD(gemm_tile, const TileArgs& args);

/// Copies `depth` floats from each of `rows` pointers into a chunked A.
ATROUS_SIMD(pack_chunked, const float* const* rows, int count, std::int64_t depth, float* a);

/// The same as pairs of bf16: `depth` floats of a row, rounded to nearest, in round_up(depth, 2) / 2 words;
/// an odd last one is paired with a zero. Where cpu_multiplies_bf16() alone.
ATROUS_SIMD(pack_chunked_pairs, const float* const* rows, int count, std::int64_t depth, float* a);

/// A panel of B from a matrix that lies the other way round: to[i][j] = from[j*stride + i] for i < depth and
/// j < used, 0 for j up to `width`, which is whole vectors.
ATROUS_SIMD(pack_panel_transposed, const float* from, std::int64_t stride, std::int64_t depth, int used,
            int width, float* to);

#ifdef ATROUS_ISA
namespace ATROUS_ISA {
#if ATROUS_VECTOR_BYTES == 64
// 28 sums, 2 vectors of B and one broadcast in 32 registers.
inline constexpr int kTileRows = 14, kTileVectors = 2;
#else
// 12 sums in 16 registers.
inline constexpr int kTileRows = 6, kTileVectors = 2;
#endif
static_assert(kLeastTileRows <= kTileRows && kTileRows <= kMostTileRows);
static_assert(kTileVectors * ATROUS_VECTOR_BYTES / 4 <= kMostTileColumns);
}  // namespace ATROUS_ISA
#endif

}  // namespace atrous::kernels::simd
