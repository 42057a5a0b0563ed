#pragma once

#include <cstdint>

#include "atrous/kernels/permutohedral/permutohedral.h"

// The lattice on the CPU for floats, in the order of its memory traffic. Points are cut into tiles (64 x 32
// pixels of an image, 2048 points of a list), and each tile numbers the vertices that it touches for itself:
// a few hundred to a few thousand, whose rows stay in the cache while its pixels splat into them and slice
// from them. Where the plain kernels gather one row from each splat, only a vertex that several tiles touch
// gathers here, one row from each tile after the first. The blur walks along the chains of neighbours, in
// place. Tiles and chains are cut by the shape alone, each is run by one thread in one order, and a vertex
// gathers from its tiles in their order: the bits do not depend on the threads.
//
// The lattice itself (vertices, weights, neighbours) is that of permutohedral.h. A "local" is a vertex as one
// tile knows it; L of them over all tiles, M of which are the first of their vertex, X are not. A table is
// [M + X, stride]: the rows of the vertices, and behind them, while values are splatted, one for each other
// local. Its rows are the classes rounded up to a multiple of 8, what is beyond them being 0.

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

/// Lists what the vertices of several tiles gather, and finds the chains of neighbours.
///   vertex_begin  [tiles + 1]: the vertices that tile t is the first to touch have numbers from here on
///   shared        [M], of which [V] are written: the vertices of several tiles, ascending
///   shared_begin  [M + 1], of which [V + 1] are written: where the extra rows of each begin in `extras`
///   extras        [X]: by vertex, and for each in the order of the tiles, the rows behind the vertices'
///   plus          [d + 1, M], scratch
///   chains        [d + 1, M], of which as many as chain_counts[axis] are written for each axis: the vertices
///                 that have a neighbour along it, chain by chain from one end to the other; the first of
///                 each chain as its complement ~u
/// Returns V.
std::int64_t link(const LatticeDims& dims, const LatticeKeys& keys, const Numbered& numbered,
                  Span<const std::uint64_t> local_keys, Span<const std::int32_t> slots,
                  Span<const std::int32_t> tile_begin, Span<const std::int32_t> global,
                  Span<const std::int32_t> first, Span<std::int32_t> vertex_begin, Span<std::int32_t> shared,
                  Span<std::int32_t> shared_begin, Span<std::int32_t> extras, Span<std::int32_t> plus,
                  Span<std::int32_t> chains, Span<std::int64_t> chain_counts);

/// A built lattice, as the filter reads it.
struct Lattice {
  LatticeDims dims;
  std::int64_t vertices, rows, shared_count;  // M, M + X = L, V
  const std::uint16_t* local;
  const float* weight;
  const std::int32_t *tile_begin, *vertex_begin, *global, *shared, *shared_begin, *extras, *chains;
  const std::int64_t* chain_counts;
};

/// The splats of every tile into its rows, and then of every vertex from its tiles.   table [L, stride]
void splat(const Lattice& lattice, std::int64_t classes, const float* pre, const float* values, float* table);
/// The second half of splat(), which update() leaves to be done: table[u] += the extra rows of u.
void merge(const Lattice& lattice, std::int64_t classes, float* table);
/// lattice_blur, in place.
void blur(const Lattice& lattice, std::int64_t classes, bool reversed, float* table);
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
  float* next;         // another table, where the new values are splatted; null: nowhere
};

/// For every point: z = logits + sum over terms of slice(term), q = softmax(z); q is written to `q` if it is
/// not null, and splatted at once. With `old` (which may be q) the step is damped, q = (1 - relax) old +
/// relax softmax(z), and the result is the greatest change of any element; without, it is 0.
float update(Span<const Term> terms, std::int64_t classes, const float* logits, float relax, const float* old,
             float* q, Span<float> change_of_tile);

}  // namespace atrous::kernels::tiled
