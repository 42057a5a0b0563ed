#pragma once

#include <cstdint>

#include "atrous/kernels/permutohedral/permutohedral.h"

// The lattice on the CPU for floats, in the order of its memory traffic. Points are cut into tiles (64 x 32
// pixels of an image, 2048 points of a list), and each tile numbers the vertices that it touches for itself:
// a few hundred to a few thousand, whose rows stay in the cache while its pixels splat into them and slice
// from them. A vertex then gathers one row from each tile that touches it, where the plain kernels gather one
// from each splat. Tiles are cut by the shape alone, each is run by one thread in one order, and a vertex
// gathers from its tiles in their order: the bits do not depend on the threads.
//
// The lattice itself (vertices, weights, neighbours) is that of permutohedral.h. A "local" is a vertex as one
// tile knows it; L of them over all tiles. Rows of tables are `stride` floats: the classes rounded up to a
// multiple of 8, what is beyond them being 0.

namespace atrous::kernels::tiled {

struct Tiling {
  std::int64_t points, row;    // a list is one row
  std::int64_t height, width;  // of a tile
  std::int64_t rows, columns;  // of tiles

  explicit Tiling(const LatticeDims& dims);
  std::int64_t tiles() const { return rows * columns; }
};

/// Whether these keys and dims are for this form: keys of one word, and locals that 16 bits can number.
bool takes(const LatticeDims& dims, const LatticeKeys& keys);

inline std::int64_t stride_of(std::int64_t classes) { return (classes + 7) / 8 * 8; }

/// Places every point and numbers vertices in each tile.
///   local       [S], the splat's vertex by its number in the tile
///   weight      [S]
///   tile_begin  [tiles + 1]: the locals of tile t have numbers from tile_begin[t] on
///   keys_found  [S], scratch; the keys of tile t's locals are then at the index of the tile's first splats
/// Returns L.
std::int64_t number_locals(const LatticeDims& dims, const LatticeKeys& keys, Span<const float> features,
                           Span<std::uint16_t> local, Span<float> weight, Span<std::int32_t> tile_begin,
                           Span<std::uint64_t> keys_found);

/// Elements of the hash table for L locals.
std::int64_t table_size(std::int64_t locals);
/// Numbers the vertices of all tiles by their first local.
///   global      [L], the vertex of each local
///   local_keys  [L], scratch
///   slots       [table_size], scratch, in which the next step finds a vertex by its key
///   first       [L], of which [M] are written
struct Numbered {
  std::int64_t vertices;  // M
  std::int64_t parts;     // of the table: link() must know
};
Numbered number_vertices(const LatticeDims& dims, Span<const std::int32_t> tile_begin,
                         Span<const std::uint64_t> keys_found, Span<std::uint64_t> local_keys,
                         Span<std::int32_t> slots, Span<std::int32_t> global, Span<std::int32_t> first);

/// Lists each vertex's locals, and its neighbours, as lattice_link does its splats.
///   begin       [M + 1]
///   locals      [L]
///   neighbours  [d + 1, 2, M]
void link(const LatticeDims& dims, const LatticeKeys& keys, const Numbered& numbered,
          Span<const std::uint64_t> local_keys, Span<const std::int32_t> slots,
          Span<const std::int32_t> global, Span<const std::int32_t> first, Span<std::int32_t> begin,
          Span<std::int32_t> locals, Span<std::int32_t> neighbours);

/// A built lattice, as the filter reads it.
struct Lattice {
  LatticeDims dims;
  std::int64_t locals_count, vertices;
  const std::uint16_t* local;
  const float* weight;
  const std::int32_t *tile_begin, *global, *begin, *locals, *neighbours;
};

/// partial[tile_begin[t] + l] = the splats of tile t into its local l.   [L, stride]
void splat(const Lattice& lattice, std::int64_t classes, const float* pre, const float* values,
           float* partial);
/// table[u] = the sum of the partial rows of u's locals.                 [M + 1, stride]
void merge(const Lattice& lattice, std::int64_t classes, const float* partial, float* table);
/// lattice_blur of rows of `stride`. The result is in `table` if d + 1 is even, in `other` if it is odd.
void blur(const Lattice& lattice, std::int64_t classes, bool reversed, float* table, float* other);
/// The compatibility on the vertices' rows, which is the same as on the pixels' and cheaper: every row is
/// multiplied by `factors` [stride], or mixed by `columns` [classes, stride].
void scale_rows(const Lattice& lattice, std::int64_t classes, const float* factors, float* table);
void mix_rows(const Lattice& lattice, std::int64_t classes, const float* columns, float* table);
/// lattice_slice.
void slice(const Lattice& lattice, std::int64_t classes, double scale, const float* post, const float* table,
           float* out);

/// vertex[s] of permutohedral.h, for every splat.
void vertices_of_splats(const Lattice& lattice, Span<std::int32_t> vertex);

inline constexpr std::int64_t kMostUpdateClasses = 1024;
inline constexpr std::int64_t kMostUpdateTerms = 8;
/// One term of a fused update. All of its lattices have the same points.
struct Term {
  Lattice lattice;
  const float* pre;   // null for ones
  const float* post;  // null for ones
  float scale;
  const float* table;  // after blur and compatibility; null: adds nothing
  float* partial;      // where the new values are splatted; null: nowhere
};

/// For every point: z = logits + sum over terms of slice(term), q = softmax(z); q is written to `q` if it is
/// not null, and splatted at once. With `old` (which may be q) the step is damped, q = (1 - relax) old +
/// relax softmax(z), and the result is the greatest change of any element; without, it is 0.
float update(Span<const Term> terms, std::int64_t classes, const float* logits, float relax, const float* old,
             float* q, Span<float> change_of_tile);

}  // namespace atrous::kernels::tiled
