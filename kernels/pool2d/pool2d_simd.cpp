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

ATROUS_INLINE void max_of_block(const float* const* in, const std::int32_t* tap, int count, std::int64_t c,
                                float* y, std::uint8_t* taps) {
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
}

// One window of 3x3 pixels, the first at x.
__attribute__((noinline)) void window_of_block(const float* x, std::ptrdiff_t x_row, std::int64_t channels,
                                               std::int64_t c, float* y, std::uint8_t* taps) {
  const float* in[9];
  std::int32_t tap[9];
  for (int k = 0; k < 9; ++k) {
    in[k] = x + k / 3 * x_row + k % 3 * channels;
    tap[k] = k;
  }
  max_of_block(in, tap, 9, c, y, taps);
}

// Whether a NaN was among the vectors it was shown.
class NanSeen {
 public:
#if defined(__AVX512F__)
  ATROUS_INLINE void look(Vec a, Vec b) { seen_ |= _mm512_cmp_ps_mask(__m512(a), __m512(b), _CMP_UNORD_Q); }
  ATROUS_INLINE bool any() const { return seen_ != 0; }

 private:
  __mmask16 seen_ = 0;
#else
  ATROUS_INLINE void look(Vec a, Vec b) { seen_ |= (a != a) | (b != b); }
  ATROUS_INLINE bool any() const {
    int all = 0;
#pragma GCC unroll 8
    for (int l = 0; l < kLanes; ++l) all |= seen_[l];
    return all != 0;
  }

 private:
  Ints seen_ = {};
#endif
};

// The larger of two numbers and its place; the first of equal ones. Not for NaN.
struct Largest {
  Vec value;
  Ints place;
  ATROUS_INLINE void take(const Largest& next) {
    const Ints better = next.value > value;
    value = better ? next.value : value;
    place = better ? next.place : place;
  }
};

// Rows of the tile's pixels come one after the other, four pixels each: the largest of the middle two serves
// both windows. Where a NaN was among them the windows are taken one by one.
template <int kRows, bool kTaps>
void max_of_rows(const MaxTile& t) {
  const std::int64_t channels = t.channels;
  for_each_block(channels, [&](std::int64_t c) ATROUS_INLINE_LAMBDA {
    Largest best[kRows][kMaxTileCols];
    NanSeen nan;
#pragma GCC unroll 6
    for (int a = 0; a < kRows + 2; ++a) {
      const float* row = t.x + a * t.x_row + c;
      const Vec v[4] = {load(row), load(row + channels), load(row + 2 * channels), load(row + 3 * channels)};
      nan.look(v[0], v[1]);
      nan.look(v[2], v[3]);
      Largest middle{v[1], Ints{}};
      middle.take({v[2], Ints{} + 1});
      Largest of[kMaxTileCols] = {{v[0], Ints{}}, middle};
      of[0].take({middle.value, middle.place + 1});
      of[1].take({v[3], Ints{} + 2});
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) {
        const int i = a - r;  // this row is the window's row r
        if (i < 0 || i >= kRows) continue;
#pragma GCC unroll 2
        for (int j = 0; j < kMaxTileCols; ++j) {
          const Largest here{of[j].value, of[j].place + 3 * r};
          if (r == 0)
            best[i][j] = here;
          else
            best[i][j].take(here);
        }
      }
    }
    const bool plain = nan.any();
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < kMaxTileCols; ++j) {
        const std::ptrdiff_t at = i * t.y_row + j * channels;
        if (__builtin_expect(plain, false)) {
          window_of_block(t.x + i * t.x_row + j * channels, t.x_row, channels, c, t.y + at,
                          kTaps ? t.taps + at : nullptr);
          continue;
        }
        store(t.y + at + c, best[i][j].value);
        if (kTaps) store_bytes(t.taps + at + c, best[i][j].place);
      }
  });
}

// The sum of a row of pixels, for as many channels as there are registers for, onto the sums of the rows
// before. Pixels lie `step` apart, which no prefetcher follows: the lines at `ahead`, as many in every pixel,
// are called into the L2 meanwhile.
template <int kVectors>
ATROUS_INLINE void add_row(const float* x, const float* ahead, std::int64_t width, std::int64_t step,
                           float* sums) {
  Vec sum[kVectors]{};
  for (std::int64_t w = 0; w < width; ++w, x += step, ahead += step) {
#pragma GCC unroll 16
    for (int k = 0; k < kVectors; ++k) {
      if (k * kLanes % 16 == 0) __builtin_prefetch(ahead + k * kLanes, 0, 2);
      sum[k] += load(x + k * kLanes);
    }
  }
#pragma GCC unroll 16
  for (int k = 0; k < kVectors; ++k) store(sums + k * kLanes, load(sums + k * kLanes) + sum[k]);
}

}  // namespace

void max_of_pixels(const float* const* in, const std::int32_t* tap, int count, std::int64_t channels,
                   float* y, std::uint8_t* taps) {
  for_each_block(channels,
                 [&](std::int64_t c) ATROUS_INLINE_LAMBDA { max_of_block(in, tap, count, c, y, taps); });
}

void max_of_tile(const MaxTile& tile) {
  switch (tile.rows) {
    case 1:
      return tile.taps ? max_of_rows<1, true>(tile) : max_of_rows<1, false>(tile);
    case 2:
      return tile.taps ? max_of_rows<2, true>(tile) : max_of_rows<2, false>(tile);
    case 3:
      return tile.taps ? max_of_rows<3, true>(tile) : max_of_rows<3, false>(tile);
    default:
      return tile.taps ? max_of_rows<4, true>(tile) : max_of_rows<4, false>(tile);
  }
}

void sum_where_largest(const float* dy, const std::uint8_t* taps, const std::int64_t* from,
                       const std::int32_t* tap, int count, std::int64_t channels, bool stream, float* dx) {
  for_each_block(
      channels, [&](std::int64_t c) __attribute__((always_inline)) {
        Vec sum = {};
        for (int k = 0; k < count; ++k) {
          const Ints here = load_bytes(taps + from[k] + c) == tap[k];
          sum += here ? load(dy + from[k] + c) : Vec{};
        }
        if (stream)
          store_past_cache(dx + c, sum);
        else
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

void fill_pixels(const float* x, float factor, std::int64_t channels, std::int64_t pixels, bool stream,
                 float* y) {
  for (std::int64_t p = 0; p < pixels; ++p, y += channels) {
    std::int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes)
      if (stream)
        store_past_cache(y + c, factor * load(x + c));
      else
        store(y + c, factor * load(x + c));
    if (c < channels) store_part(y + c, factor * load_part(x + c, channels - c), channels - c);
  }
}

void mean_of_image(const float* x, std::int64_t height, std::int64_t width, std::int64_t step,
                   std::int64_t channels, float* y) {
  constexpr int kMost = kLanes == 16 ? 16 : 8;  // sums in registers: half of them
  for (std::int64_t c = 0; c < channels; ++c) y[c] = 0;
  for (std::int64_t h = 0; h < height; ++h, x += width * step) {
    // Two blocks of n channels further on, in the next row where this one's end.
    const auto ahead = [&](std::int64_t c, std::int64_t n) ATROUS_INLINE_LAMBDA {
      const std::int64_t at = c + 2 * n;
      return at < channels ? x + at : h + 1 < height ? x + width * step + (at - channels) : x;
    };
    std::int64_t c = 0;
    for (; c + kMost * kLanes <= channels; c += kMost * kLanes)
      add_row<kMost>(x + c, ahead(c, kMost * kLanes), width, step, y + c);
    for (; c + 4 * kLanes <= channels; c += 4 * kLanes)
      add_row<4>(x + c, ahead(c, 4 * kLanes), width, step, y + c);
    for (; c + kLanes <= channels; c += kLanes) add_row<1>(x + c, ahead(c, kLanes), width, step, y + c);
    if (c < channels) {
      const long n = channels - c;
      Vec sum{};
      for (std::int64_t w = 0; w < width; ++w) sum += load_part(x + w * step + c, n);
      store_part(y + c, load_part(y + c, n) + sum, n);
    }
  }
  for (std::int64_t c = 0; c < channels; ++c) y[c] = y[c] / float(height * width);
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
