#include "atrous/kernels/conv2d/weight_gradient_simd.h"

#include "atrous/kernels/gemm/gemm_tile_simd.h"
#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

// Sums rest in registers from the first run to the last. Columns that are no whole vectors (kPart) are loaded
// under a mask: behind the last pixel there may be nothing.
template <int Rows, int Vectors, bool kPart>
void tile(const WeightTile& t) {
  const long last = t.columns - (Vectors - 1) * kLanes;  // of the last vector
  Vec sum[Rows][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sum[i][v] = Vec{};
  constexpr int kColumns = kTileVectors * kLanes;
  float* to = t.out ? t.out : t.sums;
  const long stride = t.out ? t.out_stride : kColumns;
  for (int i = 0; i < Rows; ++i)  // owned by the time they are written
    for (int line = 0; line < Vectors * kLanes; line += 16) {
      __builtin_prefetch(to + i * stride + line, 1, 3);
      if (t.out) __builtin_prefetch(t.sums + i * kColumns + line, 0, 3);
    }
  const long a_step = t.a_step, b_step = t.b_step, a_ahead = t.a_ahead, b_ahead = t.b_ahead;
  for (int run = 0; run < t.runs; ++run) {
    const float* a = t.run[run].a + t.a_offset;
    const float* b = t.run[run].b + t.b_offset;
    const auto step = [&]() ATROUS_INLINE_LAMBDA {
      Vec right[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v)
        right[v] = kPart && v + 1 == Vectors ? load_part(b + v * kLanes, last) : load(b + v * kLanes);
      if (ATROUS_VECTOR_BYTES == 64)
        __builtin_prefetch(a + a_ahead, 0, 2);  // else there is no time to load it
#pragma GCC unroll 2
      for (int line = 0; line < (Vectors * kLanes + 15) / 16; ++line)
        __builtin_prefetch(b + b_ahead + line * 16, 0, 2);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const Vec left = broadcast(a[i]);
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sum[i][v] += left * right[v];
      }
      a += a_step, b += b_step;
    };
    for (long pixels = t.run[run].count; pixels > 0; --pixels) step();
  }
  if (t.add)
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sum[i][v] += load(t.sums + i * kColumns + v * kLanes);
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i, to += stride) {
#pragma GCC unroll 2
    for (int v = 0; v + 1 < Vectors; ++v) store(to + v * kLanes, sum[i][v]);
    if (kPart && t.out)
      store_part(to + (Vectors - 1) * kLanes, sum[i][Vectors - 1], last);
    else
      store(to + (Vectors - 1) * kLanes, sum[i][Vectors - 1]);
  }
}

template <int Vectors, bool kPart, int Rows = kTileRows>
void tile_of_height(const WeightTile& t) {
  if (t.rows == Rows) return tile<Rows, Vectors, kPart>(t);
  if constexpr (Rows > 1) tile_of_height<Vectors, kPart, Rows - 1>(t);
}

}  // namespace

static_assert(kTileVectors == 2);

void weight_tile(const WeightTile& t) {
  if (t.columns > kLanes)
    t.columns == 2 * kLanes ? tile_of_height<2, false>(t) : tile_of_height<2, true>(t);
  else
    t.columns == kLanes ? tile_of_height<1, false>(t) : tile_of_height<1, true>(t);
}

void add_partial_sums(const float* parts, std::int64_t count, std::int64_t stride, std::int64_t n,
                      float* sum) {
  long i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    Vec low = load(parts + i), high = load(parts + i + kLanes);
    for (long p = 1; p < count; ++p) {
      low += load(parts + p * stride + i);
      high += load(parts + p * stride + i + kLanes);
    }
    store(sum + i, low);
    store(sum + i + kLanes, high);
  }
  for (; i < n; ++i) {
    float one = parts[i];
    for (long p = 1; p < count; ++p) one += parts[p * stride + i];
    sum[i] = one;
  }
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
