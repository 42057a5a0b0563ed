#include "atrous/kernels/gemm/gemm_tile_simd.h"

#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

constexpr int kRows = kTileRows, kVectors = kTileVectors;
constexpr int kColumns = kVectors * kLanes;

ATROUS_INLINE void copy(float* to, const float* from, long n) {
  for (long i = 0; i < n; ++i) to[i] = from[i];
}

// The sums rest in registers; the loop reads `Vectors` vectors of B and broadcasts a number of A for each
// row.
// kPairs: the words are pairs of bf16.
template <int Rows, int Vectors, bool kPairs>
void tile(const TileArgs& t) {
  Vec sum[Rows][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sum[i][v] = Vec{};
  const float* a = t.a;
  const float* b = t.b;
  const auto step = [&](long at) __attribute__((always_inline)) {
    Vec right[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      right[v] = load(b + (at * Vectors + v) * kLanes);
      // With 16 registers GCC would keep sums in memory for it: a third slower.
      if (ATROUS_VECTOR_BYTES == 64) __builtin_prefetch(b + (at * Vectors + v + 8 * Vectors) * kLanes, 0, 3);
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const Vec left = broadcast(a[at + i * kChunk]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v)
        sum[i][v] = kPairs ? add_pair_products(sum[i][v], left, right[v]) : sum[i][v] + left * right[v];
    }
  };
  // The lines that the end of this function writes, and perhaps reads: owned by then.
  for (int i = 0; i < t.rows; ++i) {
    const char* row = reinterpret_cast<const char*>(t.out ? t.out[i] : t.sums + i * kColumns);
    for (int line = 0; line < Vectors * ATROUS_VECTOR_BYTES; line += 64) __builtin_prefetch(row + line, 1, 3);
  }
  const float* next = t.next_b;
  for (long chunk = t.depth / kChunk; chunk > 0; --chunk) {
    for (long line = 0; line < t.next_lines; ++line, next += 16) __builtin_prefetch(next, 0, 2);
    for (int quarter = 0; quarter < kChunk / 4; ++quarter) {
      step(0), step(1), step(2), step(3);
      a += 4, b += 4 * Vectors * kLanes;
    }
    a += (kRows - 1) * kChunk;
  }
  for (long rest = t.depth % kChunk; rest > 0; --rest) step(0), ++a, b += Vectors * kLanes;

  if (t.add)
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      if (i < t.rows)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sum[i][v] += load(t.sums + i * kColumns + v * kLanes);
  if (!t.out) {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      if (i < t.rows)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) store(t.sums + i * kColumns + v * kLanes, sum[i][v]);
    return;
  }
  if (t.bias)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      const Vec bias = load(t.bias + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) sum[i][v] += bias;
    }
  if (t.residual)
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      if (i < t.rows) {
        if (t.columns == Vectors * kLanes) {
#pragma GCC unroll 4
          for (int v = 0; v < Vectors; ++v) sum[i][v] += load(t.residual[i] + v * kLanes);
        } else {
          float row[Vectors * kLanes] = {};
          copy(row, t.residual[i], t.columns);
#pragma GCC unroll 4
          for (int v = 0; v < Vectors; ++v) sum[i][v] += load(row + v * kLanes);
        }
      }
  if (t.activation == 3) {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sum[i][v] = hard_swish(sum[i][v]);
  } else if (t.activation) {
    const Vec most = broadcast(t.activation == 2 ? 6.0f : __builtin_inff());
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) {
        const Vec y = sum[i][v] <= Vec{} ? Vec{} : sum[i][v];
        sum[i][v] = y >= most ? most : y;
      }
  }
  if (t.columns == Vectors * kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      if (i < t.rows)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) store(t.out[i] + v * kLanes, sum[i][v]);
  } else {
    float row[Vectors * kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      if (i < t.rows) {
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) store(row + v * kLanes, sum[i][v]);
        copy(t.out[i], row, t.columns);
      }
  }
}

// Interleaves the lower and the upper half of the rows as often as turns all of them into columns.
ATROUS_INLINE void transpose(Vec (&rows)[kLanes]) {
  typedef int Index __attribute__((vector_size(ATROUS_VECTOR_BYTES)));
  Index low, high;
#pragma GCC unroll 16
  for (int lane = 0; lane < kLanes; ++lane) {
    low[lane] = lane / 2 + lane % 2 * kLanes;
    high[lane] = low[lane] + kLanes / 2;
  }
#pragma GCC unroll 4
  for (int done = 1; done < kLanes; done *= 2) {
    Vec next[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = __builtin_shuffle(rows[i], rows[i + kLanes / 2], low);
      next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + kLanes / 2], high);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) rows[i] = next[i];
  }
}

using Tile = void (*)(const TileArgs&);

// Heights are even: an odd tile computes a row that nobody stores.
template <int Vectors, bool kPairs>
Tile tile_of_height(int rows) {
  switch ((rows + 1) / 2) {
    case 1:
      return tile<2, Vectors, kPairs>;
    case 2:
      return tile<4, Vectors, kPairs>;
    case 3:
      return tile<6, Vectors, kPairs>;
#if ATROUS_VECTOR_BYTES == 64
    case 4:
      return tile<8, Vectors, kPairs>;
    case 5:
      return tile<10, Vectors, kPairs>;
    case 6:
      return tile<12, Vectors, kPairs>;
    case 7:
      return tile<14, Vectors, kPairs>;
#endif
    default:
      return nullptr;
  }
}

}  // namespace

TileShape tile_shape() { return {kRows, kColumns, kLanes}; }

void gemm_tile(const TileArgs& t) {
#if ATROUS_VECTOR_BYTES == 64
  if (t.pairs)
    return (t.columns > kLanes ? tile_of_height<2, true>(t.rows) : tile_of_height<1, true>(t.rows))(t);
#endif
  (t.columns > kLanes ? tile_of_height<2, false>(t.rows) : tile_of_height<1, false>(t.rows))(t);
}

void pack_chunked(const float* const* rows, int count, std::int64_t depth, float* a) {
  for (int i = 0; i < count; ++i, a += kChunk) {
    const float* from = rows[i];
    float* to = a;
    std::int64_t at = 0;
    for (; at + kChunk <= depth; at += kChunk, to += kRows * kChunk)
      for (int v = 0; v < kChunk; v += kLanes) store(to + v, load(from + at + v));
    copy(to, from + at, depth - at);
  }
}

void pack_panel_transposed(const float* from, std::int64_t stride, std::int64_t depth, int used, int width,
                           float* to) {
  for (std::int64_t i = 0; i < depth; i += kLanes)
    for (int j = 0; j < width; j += kLanes) {
      const long steps = depth - i < kLanes ? depth - i : kLanes;
      const float* corner = from + j * stride + i;
      Vec rows[kLanes];
#pragma GCC unroll 16
      for (int k = 0; k < kLanes; ++k)
        if (j + k >= used)
          rows[k] = Vec{};
        else
          rows[k] = steps == kLanes ? load(corner + k * stride) : load_part(corner + k * stride, steps);
      transpose(rows);
#pragma GCC unroll 16
      for (int k = 0; k < kLanes; ++k)
        if (k < steps) store(to + (i + k) * width + j, rows[k]);
    }
}

void pack_chunked_pairs(const float* const* rows, int count, std::int64_t depth, float* a) {
#if ATROUS_VECTOR_BYTES == 64
  for (int i = 0; i < count; ++i, a += kChunk) {
    const float* from = rows[i];
    float* to = a;
    std::int64_t rest = depth;
    for (; rest >= 2 * kLanes; rest -= 2 * kLanes, from += 2 * kLanes, to += kRows * kChunk)
      store(to, to_pairs(load(from), load(from + kLanes)));
    if (rest > 0) {
      const Vec low = load_part(from, rest < kLanes ? rest : kLanes);
      const Vec high = rest > kLanes ? load_part(from + kLanes, rest - kLanes) : Vec{};
      store_part(to, to_pairs(low, high), (rest + 1) / 2);
    }
  }
#else
  (void)rows, (void)count, (void)depth, (void)a;
  __builtin_trap();
#endif
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
