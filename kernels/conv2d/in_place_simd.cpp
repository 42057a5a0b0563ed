#include "atrous/kernels/conv2d/in_place_simd.h"

#include "atrous/kernels/gemm/gemm_tile_simd.h"
#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

// Sums rest in registers from the first run to the last. Three rows share a pointer, the other two lie one
// and two strides behind it: so the addresses fit into the registers that there are. Runs
// begin `at` floats behind those of the first tile.
template <int Rows, int Vectors>
ATROUS_INLINE void one_tile(const InPlaceTile& t, long at, float* out, const float* residual) {
  Vec sum[Rows][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sum[i][v] = Vec{};
  for (int i = 0; i < t.store_rows && !t.past_cache; ++i)  // owned by the time they are written
    for (int line = 0; line < Vectors * kLanes; line += 16)
      __builtin_prefetch(out + i * t.out_stride + line, 1, 3);
  for (int i = 0; i < t.store_rows && residual; ++i)
    for (int line = 0; line < Vectors * kLanes; line += 16)
      __builtin_prefetch(residual + i * t.out_stride + line, 0, 3);
  const long stride = t.a_stride, depth = t.depth, ahead = t.ahead, ahead_step = t.ahead_step;
  const int runs = t.runs;
  for (int run = 0; run < runs; ++run) {
    const float* b = t.b[run];
    const float* a[(Rows + 2) / 3];
#pragma GCC unroll 5
    for (int i = 0; i < (Rows + 2) / 3; ++i) a[i] = t.a[run] + at + 3 * i * stride;
    const float* next = a[0] + ahead;
    for (long d = 0; d < depth; ++d) {
      Vec right[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) right[v] = load(b + v * kLanes);
      b += Vectors * kLanes;
      __builtin_prefetch(next, 0, 3);
      next += ahead_step;
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const Vec left = broadcast(a[i / 3][i % 3 * stride + d]);
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sum[i][v] += left * right[v];
      }
    }
  }
  if (t.bias)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      const Vec bias = load(t.bias + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) sum[i][v] += bias;
    }
  const long last = t.columns - (Vectors - 1) * kLanes;  // of the last vector
  if (residual)
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      if (i < t.store_rows) {
        const float* row = residual + i * t.out_stride;
#pragma GCC unroll 2
        for (int v = 0; v + 1 < Vectors; ++v) sum[i][v] += load(row + v * kLanes);
        row += (Vectors - 1) * kLanes;
        sum[i][Vectors - 1] += last == kLanes ? load(row) : load_part(row, last);
      }
  if (t.activation == 3) {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sum[i][v] = hard_swish(sum[i][v]);
  } else if (t.activation) {
    const Vec most = broadcast(t.activation == 2 ? 6.0f : __builtin_inff());
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) {
        const Vec y = sum[i][v] <= Vec{} ? Vec{} : sum[i][v];
        sum[i][v] = y >= most ? most : y;
      }
  }
  if (t.past_cache) {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      if (i < t.store_rows)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) store_past_cache(out + i * t.out_stride + v * kLanes, sum[i][v]);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    if (i < t.store_rows) {
      float* row = out + i * t.out_stride;
#pragma GCC unroll 2
      for (int v = 0; v + 1 < Vectors; ++v) store(row + v * kLanes, sum[i][v]);
      if (last == kLanes)
        store(row + (Vectors - 1) * kLanes, sum[i][Vectors - 1]);
      else
        store_part(row + (Vectors - 1) * kLanes, sum[i][Vectors - 1], last);
    }
}

template <int Rows, int Vectors>
void tile(const InPlaceTile& t) {
  const float* residual = t.residual;
  for (int i = 0; i < t.tiles; ++i) {
    const long to = i * Rows * t.out_stride;
    one_tile<Rows, Vectors>(t, i * Rows * t.a_stride, t.out + to, residual ? residual + to : nullptr);
  }
}

template <int Vectors>
void tile_of_height(const InPlaceTile& t) {
  switch (t.rows) {
    case 2:
      return tile<2, Vectors>(t);
    case 4:
      return tile<4, Vectors>(t);
    case 6:
      return tile<6, Vectors>(t);
#if ATROUS_VECTOR_BYTES == 64
    case 8:
      return tile<8, Vectors>(t);
#endif
  }
}

}  // namespace

static_assert(kTileVectors == 2);

void in_place_tile(const InPlaceTile& t) {
  if (t.columns > kLanes)
    tile_of_height<2>(t);
  else
    tile_of_height<1>(t);
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
