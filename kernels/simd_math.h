#pragma once

#include <cstdint>
#include <utility>

#include "atrous/kernels/simd_vector.h"

// Exponential, logarithm and transposition of vectors, for files named in atrous_simd_sources() alone.

namespace atrous::kernels::simd::ATROUS_ISA {

typedef std::int32_t IntVec __attribute__((vector_size(ATROUS_VECTOR_BYTES)));
typedef std::int32_t UnalignedIntVec __attribute__((vector_size(ATROUS_VECTOR_BYTES), aligned(4), may_alias));

ATROUS_INLINE IntVec load(const std::int32_t* p) { return *reinterpret_cast<const UnalignedIntVec*>(p); }
ATROUS_INLINE void store(std::int32_t* p, IntVec v) { *reinterpret_cast<UnalignedIntVec*>(p) = v; }
ATROUS_INLINE IntVec broadcast(std::int32_t x) { return x - IntVec{}; }

/// Whether a lane of a comparison holds.
ATROUS_INLINE bool any(IntVec mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps((__m256)mask) != 0;
#else
  std::int32_t lanes = 0;
  for (int j = 0; j < kLanes; ++j) lanes |= mask[j];
  return lanes != 0;
#endif
}

/// exp(x) for x <= 0 within 2 units in the last place, and 0 below -87, where floats end (AVX-512 has its own
/// scaling, and goes on through the denormal numbers). NaN stays NaN, and exp(0) is 1. 2^k times a polynomial
/// that is 1 at 0 and has the least relative error from exp(r) in |r| <= ln(2) / 2: 9e-8, where the Taylor
/// series has 1.7e-7 with a term more.
ATROUS_INLINE Vec exp_nonpositive(Vec x) {
#if defined(__AVX512F__)
  // The second operand, where one is NaN. 2^-150 is rounded to 0. (Unmasked, GCC 12 warns in its own header.)
  const Vec limited = (Vec)_mm512_maskz_max_ps(0xffff, _mm512_set1_ps(-104.0f), (__m512)x);
#else
  const Vec limited = x < -87.0f ? broadcast(-87.0f) : x;
#endif
  const Vec t =
      limited * 1.44269504088896341f + 12582912.0f;  // 1.5 * 2^23: the low bits hold round(x / ln 2)
  const Vec k = t - 12582912.0f;
  Vec r = limited - k * 0.693359375f;  // ln 2 in two parts
  r = r + k * 2.12194440054690583e-4f;
  Vec p = r * 8.290272206e-3f + 4.1898161173e-2f;
  p = p * r + 1.666763872e-1f;
  p = p * r + 4.999914765e-1f;
  p = p * r + 9.99999702e-1f;
  p = p * r + 1.0f;
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_scalef_ps(0xffff, (__m512)p, (__m512)k);
#else
  const Vec result = (Vec)((IntVec)p + ((IntVec)t << 23));
  return x >= -87.0f ? result : x < -87.0f ? Vec{} : x;
#endif
}

/// exp(x) for |x| <= 80, within 1.7e-7 and 1.4e-8 |x| of itself (6e-8 |x| without FMA); outside of that it is
/// below 2^-115 or above 2^115, or 0, or infinite of any sign, or NaN, which NaN stays. For sums of
/// exponentials whose results show whether they left that range. 2^k times a polynomial of f = x log2(e) - k
/// that is 1 at 0 and has the least relative error in |f| <= 1/2 (9.2e-8 before rounding): a multiply-add
/// less than exp_nonpositive(), because the error of log2(e) stays in.
ATROUS_INLINE Vec exp_within(Vec x) {
  constexpr float kLog2e = 1.44269504088896341f, kHalf = 12582912.0f;  // 1.5 * 2^23: t's low bits hold k
#if defined(__AVX512F__)
  const Vec limited = (Vec)_mm512_maskz_max_ps(0xffff, _mm512_set1_ps(-104.0f), (__m512)x);
#else
  const Vec above = x < -87.0f ? broadcast(-87.0f) : x, limited = above > 88.0f ? broadcast(88.0f) : above;
#endif
  const Vec t = limited * kLog2e + kHalf, k = t - kHalf, f = limited * kLog2e - k;
  Vec p = f * 1.3264727e-3f + 9.671513e-3f;
  p = p * f + 5.5507336e-2f;
  p = p * f + 2.4022242e-1f;
  p = p * f + 6.93147e-1f;
  p = p * f + 1.0f;
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_scalef_ps(0xffff, (__m512)p, (__m512)k);
#else
  const Vec result = (Vec)((IntVec)p + ((IntVec)t << 23));
  return x == x ? result : x;
#endif
}

/// Lanes whose sum of exponentials of exp_within(), and one of these that it is divided by, are of use: all
/// of them and the quotient, whose logarithm is sought, are then within 2^-60 .. 2^60. Of an exponent far
/// outside of the range not even the sign is right, but no sum is less than its parts.
ATROUS_INLINE IntVec usable(Vec sum, Vec part) { return (sum < 0x1p60f) & (part > 0x1p-60f) & (sum >= part); }

/// log(x) for normal x > 0: the exponent, and 2 atanh((m - 1) / (m + 1)) for the mantissa m in [sqrt(1/2),
/// sqrt(2)). NaN stays NaN.
ATROUS_INLINE Vec log_positive(Vec x) {
  const IntVec e = ((IntVec)x - 0x3f3504f3) >> 23;
  const Vec m = (Vec)((IntVec)x - (e << 23)), s = (m - 1.0f) / (m + 1.0f), q = s * s;
  Vec p = q * (1.0f / 9) + (1.0f / 7);
  p = p * q + (1.0f / 5);
  p = p * q + (1.0f / 3);
  p = p * q + 1.0f;
  const Vec result = __builtin_convertvector(e, Vec) * 0.69314718056f + 2.0f * s * p;
  return x == x ? result : x;
}

template <int Step, int Count, int... Lane>
ATROUS_INLINE void transpose_round(Vec (&v)[Count], std::integer_sequence<int, Lane...>) {
#pragma GCC unroll 16
  for (int i = 0; i < Count; ++i)
    if (!(i & Step)) {
      const Vec a = v[i], b = v[i + Step];
      v[i] = __builtin_shufflevector(a, b, (Lane & Step ? Lane - Step + kLanes : Lane)...);
      v[i + Step] = __builtin_shufflevector(a, b, (Lane & Step ? Lane + kLanes : Lane + Step)...);
    }
  if constexpr (2 * Step < Count) transpose_round<2 * Step>(v, std::integer_sequence<int, Lane...>());
}

/// Lane j of vector i becomes lane i of vector j, in log2(Count) rounds of shuffles; of fewer vectors than
/// lanes, in every `Count` lanes by themselves.
template <int Count>
ATROUS_INLINE void transpose(Vec (&v)[Count]) {
  transpose_round<1>(v, std::make_integer_sequence<int, kLanes>());
}

template <int Step, int Count, class Operation, int... Lane>
ATROUS_INLINE Vec reduce_round(const Vec (&v)[Count], Operation operation,
                               std::integer_sequence<int, Lane...> lanes) {
  Vec half[Count / 2];
#pragma GCC unroll 8
  for (int i = 0; i < Count / 2; ++i) {
    const Vec a = v[2 * i], b = v[2 * i + 1];
    half[i] = operation(__builtin_shufflevector(a, b, (Lane & Step ? Lane + kLanes : Lane)...),
                        __builtin_shufflevector(a, b, (Lane & Step ? Lane - Step + kLanes : Lane + Step)...));
  }
  if constexpr (Count > 2)
    return reduce_round<2 * Step>(half, operation, lanes);
  else
    return half[0];
}

/// Lane j is all lanes of vector j, put together by a commutative operation, in the same order for every j: a
/// blend and a shuffle for each of kLanes - 1 operations.
template <class Operation>
ATROUS_INLINE Vec reduce_lanes(const Vec (&v)[kLanes], Operation operation) {
  return reduce_round<1>(v, operation, std::make_integer_sequence<int, kLanes>());
}

/// `count` <= kLanes pixels of `channels` values each become `channels` vectors, a lane a pixel: planes[c *
/// stride + j] = pixels[j * channels + c]. Lanes from `count` on repeat a pixel.
ATROUS_INLINE void load_planes(const float* pixels, long channels, long count, float* planes,
                               long stride = kLanes) {
  for (long begin = 0; begin < channels; begin += kLanes) {
#if defined(__AVX512F__)
    // Eight channels are half the shuffles of sixteen: pixels j and j + 8 share a vector.
    if (channels >= 8 && channels - begin <= 8) {
      typedef float Half __attribute__((vector_size(32), aligned(4), may_alias));
      const float* from = pixels + channels - 8;
      Vec v[8];
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j)
        v[j] = __builtin_shufflevector(
            *reinterpret_cast<const Half*>(from + (j < count ? j : 0) * channels),
            *reinterpret_cast<const Half*>(from + (j + 8 < count ? j + 8 : 0) * channels), 0, 1, 2, 3, 4, 5,
            6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      transpose(v);
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) store(planes + (channels - 8 + j) * stride, v[j]);
      break;
    }
#endif
    // Where there are enough channels the last block overlaps the one before.
    const bool narrow = channels < kLanes;
    const long first = narrow || begin + kLanes <= channels ? begin : channels - kLanes;
    const long width = narrow ? channels : kLanes;
    Vec v[kLanes];
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) {
      const float* p = pixels + (j < count ? j : 0) * channels + first;
      v[j] = narrow ? load_part(p, channels) : load(p);
    }
    transpose(v);
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j)
      if (j < width) store(planes + (first + j) * stride, v[j]);
  }
}

/// The way back: plane(c) is the vector of channel c; lanes from `count` on are dropped.
template <class Plane>
ATROUS_INLINE void store_planes(Plane plane, long channels, long count, float* pixels) {
  for (long begin = 0; begin < channels; begin += kLanes) {
    const bool narrow = channels < kLanes;
    const long first = narrow || begin + kLanes <= channels ? begin : channels - kLanes;
    const long width = narrow ? channels : kLanes;
    Vec v[kLanes];
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) v[j] = j < width ? plane(first + j) : Vec{};
    transpose(v);
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j)
      if (j < count) {
        if (narrow)
          store_part(pixels + j * channels, v[j], channels);
        else
          store(pixels + j * channels + first, v[j]);
      }
  }
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
