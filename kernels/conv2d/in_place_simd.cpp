#include "atrous/kernels/conv2d/in_place_simd.h"

#include "atrous/kernels/gemm/gemm_tile_simd.h"
#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

// Half a vector, multiplied in half the time where vectors have 64 bytes.
#if defined(__AVX512F__)
constexpr int kHalfLanes = kLanes / 2;
typedef __m256 HalfVec;
ATROUS_INLINE HalfVec load_half(const float* p) { return _mm256_loadu_ps(p); }
/// The other lanes hold anything.
ATROUS_INLINE Vec widened(HalfVec v) { return Vec(_mm512_castps256_ps512(v)); }
#else
constexpr int kHalfLanes = 0;  // none are taken
typedef Vec HalfVec;
ATROUS_INLINE HalfVec load_half(const float* p) { return load(p); }
ATROUS_INLINE Vec widened(HalfVec v) { return v; }
#endif

// Sums rest in registers from the first run to the last. Three rows share a pointer, the other two lie one
// and two strides behind it: so the addresses fit into the registers that there are. Runs
// begin `at` floats behind those of the first tile. Of the last vector only the first half is needed if
// kHalf.
template <int Rows, int Vectors, bool kHalf>
ATROUS_INLINE void one_tile(const InPlaceTile& t, long at, float* out, const float* residual) {
  constexpr int kWhole = Vectors - kHalf;
  Vec sum[Rows][Vectors];
  HalfVec half[Rows];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sum[i][v] = Vec{};
    half[i] = HalfVec{};
  }
  for (int i = 0; i < t.rows && !t.past_cache; ++i)  // owned by the time they are written
    for (int line = 0; line < Vectors * kLanes; line += 16)
      __builtin_prefetch(out + i * t.out_stride + line, 1, 3);
  for (int i = 0; i < t.rows && residual; ++i)
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
      HalfVec right_half{};
#pragma GCC unroll 2
      for (int v = 0; v < kWhole; ++v) right[v] = load(b + v * kLanes);
      if (kHalf) right_half = load_half(b + kWhole * kLanes);
      b += Vectors * kLanes;
      __builtin_prefetch(next, 0, 3);
      next += ahead_step;
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const float x = a[i / 3][i % 3 * stride + d];
        const Vec left = broadcast(x);
#pragma GCC unroll 2
        for (int v = 0; v < kWhole; ++v) sum[i][v] += left * right[v];
        if (kHalf) half[i] += (x - HalfVec{}) * right_half;
      }
    }
  }
  if (kHalf)
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) sum[i][kWhole] = widened(half[i]);
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
    for (int i = 0; i < Rows; ++i) {
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
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) store_past_cache(out + i * t.out_stride + v * kLanes, sum[i][v]);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    float* row = out + i * t.out_stride;
#pragma GCC unroll 2
    for (int v = 0; v + 1 < Vectors; ++v) store(row + v * kLanes, sum[i][v]);
    if (last == kLanes)
      store(row + (Vectors - 1) * kLanes, sum[i][Vectors - 1]);
    else
      store_part(row + (Vectors - 1) * kLanes, sum[i][Vectors - 1], last);
  }
}

template <int Rows, int Vectors, bool kHalf>
void tile(const InPlaceTile& t) {
  const float* residual = t.residual;
  for (int i = 0; i < t.tiles; ++i) {
    const long to = i * Rows * t.out_stride;
    one_tile<Rows, Vectors, kHalf>(t, i * Rows * t.a_stride, t.out + to, residual ? residual + to : nullptr);
  }
}

#if ATROUS_VECTOR_BYTES == 64
constexpr int kMostRows = 8;
#else
constexpr int kMostRows = kTileRows;
#endif

template <int Vectors, bool kHalf, int Rows = kMostRows>
void tile_of_height(const InPlaceTile& t) {
  if (t.rows == Rows) return tile<Rows, Vectors, kHalf>(t);
  if constexpr (Rows > 1) tile_of_height<Vectors, kHalf, Rows - 1>(t);
}

}  // namespace

static_assert(kTileVectors == 2);

void in_place_tile(const InPlaceTile& t) {
  if (t.columns > kLanes)
    t.columns - kLanes <= kHalfLanes ? tile_of_height<2, true>(t) : tile_of_height<2, false>(t);
  else
    t.columns <= kHalfLanes ? tile_of_height<1, true>(t) : tile_of_height<1, false>(t);
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
