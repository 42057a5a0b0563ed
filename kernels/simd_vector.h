#pragma once

// Vectors of floats as wide as the instruction set that this file is compiled for, from the compiler's vector
// extensions: a + b, a * b, a < b ? c : d work lane by lane. To be included by files named in
// atrous_simd_sources() alone.

#ifndef ATROUS_ISA
#error "simd_vector.h belongs into files that atrous_simd_sources() compiles"
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define ATROUS_INLINE inline __attribute__((always_inline))
/// Behind the parameters of a lambda: [&](long i) ATROUS_INLINE_LAMBDA { ... }
#define ATROUS_INLINE_LAMBDA __attribute__((always_inline))

namespace atrous::kernels::simd::ATROUS_ISA {

inline constexpr int kLanes = ATROUS_VECTOR_BYTES / 4;

typedef float Vec __attribute__((vector_size(ATROUS_VECTOR_BYTES)));
typedef float UnalignedVec __attribute__((vector_size(ATROUS_VECTOR_BYTES), aligned(4), may_alias));

ATROUS_INLINE Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
ATROUS_INLINE void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
/// All lanes equal to x. (x - 0 folds into a broadcast for every x; x + 0 does not, because of -0.)
ATROUS_INLINE Vec broadcast(float x) { return x - Vec{}; }
ATROUS_INLINE Vec max(Vec a, Vec b) { return a < b ? b : a; }
ATROUS_INLINE Vec min(Vec a, Vec b) { return b < a ? b : a; }
/// HardSwish of elementwise_body.h, with its bits.
ATROUS_INLINE Vec hard_swish(Vec x) {
  const Vec inside = x * (x + broadcast(3.0f)) * broadcast(float(1.0 / 6)),
            positive = x >= broadcast(3.0f) ? x : inside;
  return x <= broadcast(-3.0f) ? Vec{} : positive;
}

#if defined(__AVX512F__)
/// sum + the products of the bf16 pairs that the words of a and b are, each pair's two. Written in assembly
/// because files of this instruction set are compiled for processors without it, too: only where
/// cpu_multiplies_bf16() is true may it be reached.
ATROUS_INLINE Vec add_pair_products(Vec sum, Vec a, Vec b) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
/// Words of pairs of bf16, rounded to nearest: of low's 16 floats, then of high's.
ATROUS_INLINE Vec to_pairs(Vec low, Vec high) {
  Vec words;
  asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(words) : "v"(high), "v"(low));
  return words;
}
#else
ATROUS_INLINE Vec add_pair_products(Vec sum, Vec, Vec) {
  __builtin_trap();
  return sum;
}
#endif

/// Leaves the cache alone, so that the line is not read first: for results that are larger than the cache.
/// `p` is aligned to the vector, and whole lines of 64 bytes are written one behind the other (halves of
/// lines take 2.6 times as long as plain stores). streaming_fence.h afterwards.
ATROUS_INLINE void store_past_cache(float* p, Vec v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, __m512(v));
#elif defined(__AVX2__)
  _mm256_stream_ps(p, __m256(v));
#elif defined(__x86_64__)
  _mm_stream_ps(p, __m128(v));
#else
  store(p, v);
#endif
}

/// The first n lanes, n <= kLanes; the others are zero, and what lies there is not touched.
#if defined(__AVX512F__)
ATROUS_INLINE Vec load_part(const float* p, long n) {
  return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
ATROUS_INLINE void store_part(float* p, Vec v, long n) {
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#elif defined(__AVX2__)
ATROUS_INLINE __m256i lanes_below(long n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
ATROUS_INLINE Vec load_part(const float* p, long n) { return (Vec)_mm256_maskload_ps(p, lanes_below(n)); }
ATROUS_INLINE void store_part(float* p, Vec v, long n) { _mm256_maskstore_ps(p, lanes_below(n), (__m256)v); }
#else
ATROUS_INLINE Vec load_part(const float* p, long n) {
  float lanes[kLanes] = {};
  for (long i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
ATROUS_INLINE void store_part(float* p, Vec v, long n) {
  float lanes[kLanes];
  store(lanes, v);
  for (long i = 0; i < n; ++i) p[i] = lanes[i];
}
#endif

}  // namespace atrous::kernels::simd::ATROUS_ISA
