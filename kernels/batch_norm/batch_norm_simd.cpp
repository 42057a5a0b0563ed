#include "atrous/kernels/batch_norm/batch_norm_simd.h"

#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

constexpr long kBlock = 512;  // channels whose sums are kept at once: 2 kB an array

// How many pixels make one that fills whole vectors; 1 if one does already or the wide one is too long.
long pixels_together(long channels) {
  long times = 1;
  while (times * channels % kLanes != 0) times *= 2;  // kLanes is a power of two
  return times * channels <= kBlock ? times : 1;
}

// body(i, n) for vectors of n <= kLanes channels that cover 0..width-1.
template <class Body>
ATROUS_INLINE void over_vectors(long width, const Body& body) {
  long i = 0;
  for (; i + kLanes <= width; i += kLanes) body(i, long(kLanes));
  if (i < width) body(i, width - i);
}

// Asks for what lies there to be in the L2 cache soon. The rows of a chunk are several short streams, which
// the processor does not foresee; the next chunk is asked for while this one is worked on. Beyond a tensor
// nothing happens. Second passes ask, backwards, where tensors are larger than what the first left in the
// cache, as results are that are written past it; asking for what is there costs 5 to 10 %.
ATROUS_INLINE void foresee(const float* p) { __builtin_prefetch(p, 0, 2); }

ATROUS_INLINE Vec load_up_to(const float* p, long n) { return n == kLanes ? load(p) : load_part(p, n); }
ATROUS_INLINE void store_up_to(float* p, Vec v, long n) {
  if (n == kLanes)
    store(p, v);
  else
    store_part(p, v, n);
}

// Vectors that are whole lines leave the cache alone; halves of lines, one here and one there, would be
// slower than plain stores.
template <bool kPastCache>
ATROUS_INLINE void store_result(float* p, Vec v, long n) {
  if constexpr (kPastCache && kLanes == 16)
    store_past_cache(p, v);
  else
    store_up_to(p, v, n);
}

// kCount sums over `rows` rows of `width` channels that lie `stride` apart, added to acc[0..kCount-1], each
// kBlock floats. term(row offset, channel, lanes, out) gives the addends of one vector. Four rows are summed
// before they are added.
template <int kCount, class Term>
ATROUS_INLINE void add_rows(long rows, long width, long stride, float (*acc)[kBlock], const Term& term) {
  long r = 0;
  for (; r + 4 <= rows; r += 4)
    over_vectors(width, [&](long i, long n) ATROUS_INLINE_LAMBDA {
      Vec v[4][kCount];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) term((r + k) * stride, i, n, v[k]);
#pragma GCC unroll 2
      for (int s = 0; s < kCount; ++s)
        store(acc[s] + i, load(acc[s] + i) + ((v[0][s] + v[1][s]) + (v[2][s] + v[3][s])));
    });
  for (; r < rows; ++r)
    over_vectors(width, [&](long i, long n) ATROUS_INLINE_LAMBDA {
      Vec v[kCount];
      term(r * stride, i, n, v);
#pragma GCC unroll 2
      for (int s = 0; s < kCount; ++s) store(acc[s] + i, load(acc[s] + i) + v[s]);
    });
}

// The same for all pixels of a chunk: several pixels together where that fills vectors, then their sums
// folded into those of one pixel, then the pixels left over. `tiled` holds per-channel numbers that term()
// reads, times times in a row.
template <int kCount, class Term>
ATROUS_INLINE void add_pixels(long pixels, long width, long stride, long times, float (*acc)[kBlock],
                              const Term& term) {
  for (int s = 0; s < kCount; ++s)
    for (long i = 0; i < kBlock; i += kLanes) store(acc[s] + i, Vec{});
  if (times == 1) return add_rows<kCount>(pixels, width, stride, acc, term);
  const long rows = pixels / times, done = rows * times * stride;
  add_rows<kCount>(rows, times * width, times * stride, acc, term);
  for (int s = 0; s < kCount; ++s)
    for (long k = 1; k < times; ++k)
      for (long c = 0; c < width; ++c) {
        acc[s][c] += acc[s][k * width + c];
        acc[s][k * width + c] = 0;
      }
  add_rows<kCount>(pixels - rows * times, width, stride, acc,
                   [&](long offset, long i, long n, Vec* out)
                       ATROUS_INLINE_LAMBDA { term(done + offset, i, n, out); });
}

// values[0..width-1], times times in a row.
ATROUS_INLINE void tile(const float* values, long width, long times, float* tiled) {
  for (long k = 0; k < times; ++k)
    for (long c = 0; c < width; ++c) tiled[k * width + c] = values[c];
  for (long i = times * width; i < kBlock && i < times * width + kLanes; ++i) tiled[i] = 0;
}

// body(first channel, channels) for blocks of at most kBlock channels.
template <class Body>
ATROUS_INLINE void over_blocks(long channels, const Body& body) {
  for (long first = 0; first < channels; first += kBlock)
    body(first, channels - first < kBlock ? channels - first : kBlock);
}

// Per-channel numbers as map_pixels() reads them: as they are, or tiled into `room`.
ATROUS_INLINE const float* per_channel(const float* values, long width, long times, float* room) {
  if (width % kLanes == 0) return values;
  tile(values, width, times, room);
  return room;
}

// over_blocks() for maps: channels that fill vectors go in one piece, for nothing is kept of them.
template <class Body>
ATROUS_INLINE void over_map_blocks(long channels, const Body& body) {
  if (channels % kLanes == 0)
    body(0, channels);
  else
    over_blocks(channels, body);
}

// body(offset, channel, lanes) for every vector of a chunk. Row after row: several rows of many channels at
// once would be loads and stores at the same place of several pages, which wait for each other.
template <class Body>
ATROUS_INLINE void map_pixels(long pixels, long width, long stride, long times, const Body& body) {
  const long rows = pixels / times, wide = times * width, step = times * stride;
  for (long r = 0; r < rows; ++r) {
    const long at = r * step;
    long i = 0;
    for (; i + 4 * kLanes <= wide; i += 4 * kLanes)
#pragma GCC unroll 4
      for (long k = 0; k < 4 * kLanes; k += kLanes) body(at + i + k, i + k, long(kLanes));
    for (; i < wide; i += kLanes) body(at + i, i, wide - i < kLanes ? wide - i : long(kLanes));
  }
  for (long p = rows * times; p < pixels; ++p)
    over_vectors(width, [&](long i, long n) ATROUS_INLINE_LAMBDA { body(p * stride + i, i, n); });
}

}  // namespace

void chunk_statistics(const float* x, long pixels, long channels, double* mean, double* squares) {
  const long times = pixels_together(channels), ahead = pixels * channels;
  over_blocks(channels, [&](long first, long width) {
    float acc[2][kBlock], about[kBlock];
    const float* from = x + first;
    add_pixels<1>(pixels, width, channels, times, acc,
                  [&](long offset, long i, long n, Vec* out) ATROUS_INLINE_LAMBDA {
                    foresee(from + offset + i + ahead);
                    out[0] = load_up_to(from + offset + i, n);
                  });
    for (long c = 0; c < width; ++c) acc[0][c] /= float(pixels);
    tile(acc[0], width, times, about);
    add_pixels<2>(pixels, width, channels, times, acc,
                  [&](long offset, long i, long n, Vec* out) ATROUS_INLINE_LAMBDA {
                    const Vec d = load_up_to(from + offset + i, n) - load(about + i);
                    out[0] = d;
                    out[1] = d * d;
                  });
    for (long c = 0; c < width; ++c) {
      const double rest = double(acc[0][c]) / double(pixels);
      mean[first + c] = double(about[c]) + rest;
      squares[first + c] = double(acc[1][c]) - rest * rest * double(pixels);
    }
  });
}

namespace {

// kMore: a residual, an activation, or both.
template <bool kPastCache, bool kMore>
void normalise(const float* x, long pixels, long channels, const float* center, const float* scale,
               const float* shift, const float* residual, int activation, float* y) {
  const long times = pixels_together(channels), ahead = pixels * channels;
  const Vec most = broadcast(activation == 2 ? 6.0f : __builtin_inff());
  over_map_blocks(channels, [&](long first, long width) {
    float room[3][kBlock];
    const float* const k[3] = {per_channel(center + first, width, times, room[0]),
                               per_channel(scale + first, width, times, room[1]),
                               per_channel(shift + first, width, times, room[2])};
    map_pixels(pixels, width, channels, times, [&](long at, long i, long n) ATROUS_INLINE_LAMBDA {
      if (kPastCache) foresee(x + first + at - ahead);  // chunks are taken backwards
      Vec v = (load_up_to(x + first + at, n) - load(k[0] + i)) * load(k[1] + i) + load(k[2] + i);
      if (kMore && residual) v += load_up_to(residual + first + at, n);
      if (kMore && activation) {
        v = v <= Vec{} ? Vec{} : v;
        v = v >= most ? most : v;
      }
      store_result<kPastCache>(y + first + at, v, n);
    });
  });
}

}  // namespace

void chunk_normalise(const float* x, long pixels, long channels, const float* center, const float* scale,
                     const float* shift, const float* residual, int activation, float* y, bool past_cache) {
  const bool more = residual || activation;
  constexpr decltype(&normalise<true, true>) kWays[2][2] = {{normalise<false, false>, normalise<false, true>},
                                                            {normalise<true, false>, normalise<true, true>}};
  kWays[past_cache][more](x, pixels, channels, center, scale, shift, residual, activation, y);
}

void chunk_gradient_sums(const float* x, const float* dy, long pixels, long channels, const float* center,
                         double* sum_dy, double* sum_dyx) {
  const long times = pixels_together(channels), ahead = pixels * channels;
  over_blocks(channels, [&](long first, long width) {
    float acc[2][kBlock], about[kBlock];
    tile(center + first, width, times, about);
    const float *of_x = x + first, *of_dy = dy + first;
    add_pixels<2>(pixels, width, channels, times, acc,
                  [&](long offset, long i, long n, Vec* out) ATROUS_INLINE_LAMBDA {
                    foresee(of_dy + offset + i + ahead);
                    foresee(of_x + offset + i + ahead);
                    const Vec g = load_up_to(of_dy + offset + i, n);
                    out[0] = g;
                    out[1] = g * (load_up_to(of_x + offset + i, n) - load(about + i));
                  });
    for (long c = 0; c < width; ++c) {
      sum_dy[first + c] = double(acc[0][c]);
      sum_dyx[first + c] = double(acc[1][c]);
    }
  });
}

namespace {

template <bool kPastCache>
void input_gradient(const float* x, const float* dy, long pixels, long channels, const float* center,
                    const float* a, const float* b, const float* constant, float* dx) {
  const long times = pixels_together(channels), ahead = pixels * channels;
  over_map_blocks(channels, [&](long first, long width) {
    float room[4][kBlock];
    const float* const k[4] = {
        per_channel(center + first, width, times, room[0]), per_channel(a + first, width, times, room[1]),
        per_channel(b + first, width, times, room[2]), per_channel(constant + first, width, times, room[3])};
    map_pixels(pixels, width, channels, times, [&](long at, long i, long n) ATROUS_INLINE_LAMBDA {
      if (kPastCache) {
        foresee(x + first + at - ahead);  // chunks are taken backwards
        foresee(dy + first + at - ahead);
      }
      const Vec rest = load(k[2] + i) * (load_up_to(x + first + at, n) - load(k[0] + i)) + load(k[3] + i);
      store_result<kPastCache>(dx + first + at, load(k[1] + i) * load_up_to(dy + first + at, n) + rest, n);
    });
  });
}

}  // namespace

void chunk_input_gradient(const float* x, const float* dy, long pixels, long channels, const float* center,
                          const float* a, const float* b, const float* constant, float* dx, bool past_cache) {
  (past_cache ? input_gradient<true> : input_gradient<false>)(x, dy, pixels, channels, center, a, b, constant,
                                                              dx);
}

void chunk_scale(const float* dy, long pixels, long channels, const float* a, float* dx) {
  const long times = pixels_together(channels);
  over_map_blocks(channels, [&](long first, long width) {
    float room[kBlock];
    const float* k = per_channel(a + first, width, times, room);
    map_pixels(pixels, width, channels, times, [&](long at, long i, long n) ATROUS_INLINE_LAMBDA {
      store_up_to(dx + first + at, load_up_to(dy + first + at, n) * load(k + i), n);
    });
  });
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
