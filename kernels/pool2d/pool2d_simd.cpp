#include "atrous/kernels/pool2d/pool2d_simd.h"

#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {

namespace {

typedef std::int32_t Ints __attribute__((vector_size(ATROUS_VECTOR_BYTES)));
typedef std::uint8_t Bytes __attribute__((vector_size(ATROUS_VECTOR_BYTES / 4)));
typedef std::uint8_t UnalignedBytes
    __attribute__((vector_size(ATROUS_VECTOR_BYTES / 4), aligned(1), may_alias));

// GCC 12 takes a general conversion apart into single bytes, hence the instructions by name; masked by all
// ones, because the plain forms warn of uninitialised values inside GCC's own header.
ATROUS_INLINE Ints load_bytes(const std::uint8_t* p) {
#if defined(__AVX512F__)
  return (Ints)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128((const __m128i*)p));
#elif defined(__AVX2__)
  return (Ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
#else
  return __builtin_convertvector(Bytes(*reinterpret_cast<const UnalignedBytes*>(p)), Ints);
#endif
}
ATROUS_INLINE void store_bytes(std::uint8_t* p, Ints v) {
#if defined(__AVX512F__)
  _mm_storeu_si128((__m128i*)p, _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v));
#elif defined(__AVX2__)
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  _mm_storel_epi64((__m128i*)p, _mm_packus_epi16(words, words));
#else
  *reinterpret_cast<UnalignedBytes*>(p) = __builtin_convertvector(v, Bytes);
#endif
}

// body(first channel) for each block of one vector.
template <class Body>
ATROUS_INLINE void for_each_block(std::int64_t channels, const Body& body) {
  std::int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) body(c);
  if (c < channels) body(channels - kLanes);
}

// kVectors neighbouring vectors of a pixel together: whole cache lines, and independent sums.
template <int kVectors>
ATROUS_INLINE void mean_of_block(const float* x, std::int64_t height, std::int64_t width, std::int64_t step,
                                 float* y) {
  Vec total[kVectors] = {};
  for (std::int64_t h = 0; h < height; ++h) {
    Vec row[kVectors] = {};
    for (std::int64_t w = 0; w < width; ++w, x += step)
#pragma GCC unroll 8
      for (int k = 0; k < kVectors; ++k) row[k] += load(x + k * kLanes);
#pragma GCC unroll 8
    for (int k = 0; k < kVectors; ++k) total[k] += row[k];
  }
#pragma GCC unroll 8
  for (int k = 0; k < kVectors; ++k) store(y + k * kLanes, total[k] / float(height * width));
}

}  // namespace

void max_of_pixels(const float* const* in, const std::int32_t* tap, int count, std::int64_t channels,
                   float* y, std::uint8_t* taps) {
  for_each_block(
      channels, [&](std::int64_t c) __attribute__((always_inline)) {
        Vec best = broadcast(-__builtin_inff());
        Ints where = Ints{} + (count > 0 ? tap[0] : 0);
        for (int k = 0; k < count; ++k) {
          const Vec v = load(in[k] + c);
          const Ints better = (v > best) | ((v != v) & (best == best));
          best = better ? v : best;
          where = better ? Ints{} + tap[k] : where;
        }
        store(y + c, best);
        if (taps) store_bytes(taps + c, where);
      });
}

void sum_where_largest(const float* dy, const std::uint8_t* taps, const std::int64_t* from,
                       const std::int32_t* tap, int count, std::int64_t channels, float* dx) {
  for_each_block(
      channels, [&](std::int64_t c) __attribute__((always_inline)) {
        Vec sum = {};
        for (int k = 0; k < count; ++k) {
          const Ints here = load_bytes(taps + from[k] + c) == tap[k];
          sum += here ? load(dy + from[k] + c) : Vec{};
        }
        store(dx + c, sum);
      });
}

void weighted_sum_of_pixels(const float* const* in, const float* weight, int count, std::int64_t channels,
                            float* y) {
  for_each_block(
      channels, [&](std::int64_t c) __attribute__((always_inline)) {
        Vec sum = {};
        for (int k = 0; k < count; ++k) sum += weight[k] * load(in[k] + c);
        store(y + c, sum);
      });
}

void mean_of_image(const float* x, std::int64_t height, std::int64_t width, std::int64_t step,
                   std::int64_t channels, float* y) {
  std::int64_t c = 0;
  for (; c + 8 * kLanes <= channels; c += 8 * kLanes) mean_of_block<8>(x + c, height, width, step, y + c);
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) mean_of_block<4>(x + c, height, width, step, y + c);
  for (; c + kLanes <= channels; c += kLanes) mean_of_block<1>(x + c, height, width, step, y + c);
  if (c < channels) {
    c = channels - kLanes;
    mean_of_block<1>(x + c, height, width, step, y + c);
  }
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
