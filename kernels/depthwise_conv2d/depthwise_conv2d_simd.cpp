#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_simd.h"

#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {

namespace {

// The same pointer, but the compiler does not know that, if kForget. Else it keeps one for every row and
// column of a tile through the loop over channels, on the stack, for there are not so many registers.
template <bool kForget>
ATROUS_INLINE const float* forget(const float* p) {
  if (kForget) asm("" : "+r"(p));
  return p;
}

struct Finish {
  const float* bias;
  Vec floor, ceiling;
  bool swish, stream;
  ATROUS_INLINE explicit Finish(const DepthwiseOutput& o)
      : bias(o.bias),
        floor(broadcast(o.floor)),
        ceiling(broadcast(o.ceiling)),
        swish(o.hard_swish),
        stream(o.stream) {}
  ATROUS_INLINE Vec start(std::int64_t c) const { return bias ? load(bias + c) : Vec{}; }
  ATROUS_INLINE void write(float* y, Vec v) const {
    v = swish ? hard_swish(v) : min(max(v, floor), ceiling);
    if (stream)
      store_past_cache(y, v);
    else
      store(y, v);
  }
};

// body(first channel, packed weights of the block) for each block.
template <class Body>
ATROUS_INLINE void for_each_block(std::int64_t channels, float* weight, std::ptrdiff_t taps,
                                  const Body& body) {
  std::int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes, weight += taps * kLanes) body(c, weight);
  if (c < channels) body(channels - kLanes, weight);
}

// A tile's loops are unrolled altogether: which tap a tile pixel is of which output is known when compiled.
// Dead rows and columns are skipped by branches that go the same way for all channels. Prefetching goes to
// the L2: tiles read some thirty short streams, which no hardware prefetcher follows, and in the L1
// lines a power of two apart would push each other out. The taps are loaded ahead of those branches, which
// would keep the compiler from holding them in registers (of AVX-512: 12 sums and 9 taps of 32).
//
// kWhole: a tile without dead rows and columns, the first of whose rows are in the L2 cache and not asked for
// again (rows_cached). There arithmetic is what takes time, and this code is 10 to 20 % faster; where rows
// come from memory it gains nothing or loses.
template <int kRows, int kCols, int kStep, int kTaps, bool kWhole>
__attribute__((noinline)) void tile_forward(const DepthwiseTile& t, const DepthwiseOutput& output) {
  constexpr int kTall = (kRows - 1) * kStep + kTaps, kWide = (kCols - 1) * kStep + kTaps;
  const std::ptrdiff_t x_row = t.x_row, x_col = t.x_col, y_row = t.y_row, y_col = t.y_col, ahead = t.ahead;
  const std::ptrdiff_t y_ahead = output.fetch ? t.y_ahead : 0;
  const unsigned live_rows = t.live_rows, live_cols = t.live_cols;
  const Finish finish(output);
  for_each_block(
      t.channels, t.weight,
      kTaps * kTaps, [&](std::int64_t c, const float* w) __attribute__((always_inline)) {
        const float* row = forget<kWhole>(t.x + c);
        float* y = t.y + c;
        Vec sum[kRows][kCols], tap[kTaps * kTaps];
        const Vec start = finish.start(c);
        if (kTaps == 3)
#pragma GCC unroll 9
          for (int k = 0; k < 9; ++k) tap[k] = load(w + k * kLanes);
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
          for (int j = 0; j < kCols; ++j) sum[i][j] = start;
#pragma GCC unroll 8
        for (int a = 0; a < kTall; ++a, row = forget<kWhole>(row + x_row)) {
          if (kTaps > 3 && a < kTaps)  // kRows rows of them are in use at once
#pragma GCC unroll 5
            for (int s = 0; s < kTaps; ++s) tap[a * kTaps + s] = load(w + (a * kTaps + s) * kLanes);
          if (!kWhole && !(live_rows >> a & 1)) continue;
#pragma GCC unroll 16
          for (int b = 0; b < kWide; ++b) {
            // The next tile's first columns are this one's last.
            if ((!kWhole || a >= kTaps - kStep) && b >= kTaps - kStep)
              __builtin_prefetch(row + ahead + b * x_col, 0, 2);
            if (!kWhole && !(live_cols >> b & 1)) continue;
            const Vec v = load(row + b * x_col);
#pragma GCC unroll 4
            for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
              for (int j = 0; j < kCols; ++j) {
                const int r = a - i * kStep, s = b - j * kStep;
                if (r >= 0 && r < kTaps && s >= 0 && s < kTaps) sum[i][j] += tap[r * kTaps + s] * v;
              }
          }
        }
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i, y += y_row)
#pragma GCC unroll 4
          for (int j = 0; j < kCols; ++j) {
            if (y_ahead) __builtin_prefetch(y + y_ahead + j * y_col, 1, 2);
            finish.write(y + j * y_col, sum[i][j]);
          }
      });
}

template <int kRows, int kCols, int kStep, bool kWhole>
__attribute__((noinline)) void tile_weight(const DepthwiseTile& t) {
  constexpr int kTall = (kRows - 1) * kStep + 3, kWide = (kCols - 1) * kStep + 3;
  const std::ptrdiff_t x_row = t.x_row, x_col = t.x_col, y_row = t.y_row, y_col = t.y_col;
  const std::ptrdiff_t ahead = t.ahead, y_ahead = t.y_ahead;
  const unsigned live_rows = t.live_rows, live_cols = t.live_cols;
  for_each_block(
      t.channels, t.weight, 9, [&](std::int64_t c, float* w) __attribute__((always_inline)) {
        const float* row = forget<kWhole>(t.x + c);
        const float* dy = forget<kWhole>(t.y + c);
        Vec g[kRows][kCols], sum[9] = {};
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i, dy = forget<kWhole>(dy + y_row))
#pragma GCC unroll 4
          for (int j = 0; j < kCols; ++j) {
            g[i][j] = load(dy + j * y_col);
            __builtin_prefetch(dy + y_ahead + j * y_col, 0, 2);
          }
#pragma GCC unroll 8
        for (int a = 0; a < kTall; ++a, row = forget<kWhole>(row + x_row)) {
          if (!kWhole && !(live_rows >> a & 1)) continue;
#pragma GCC unroll 16
          for (int b = 0; b < kWide; ++b) {
            if ((!kWhole || a >= 3 - kStep) && b >= 3 - kStep)
              __builtin_prefetch(row + ahead + b * x_col, 0, 2);
            if (!kWhole && !(live_cols >> b & 1)) continue;
            const Vec v = load(row + b * x_col);
#pragma GCC unroll 4
            for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
              for (int j = 0; j < kCols; ++j) {
                const int r = a - i * kStep, s = b - j * kStep;
                if (r >= 0 && r < 3 && s >= 0 && s < 3) sum[r * 3 + s] += g[i][j] * v;
              }
          }
        }
#pragma GCC unroll 9
        for (int k = 0; k < 9; ++k) store(w + k * kLanes, load(w + k * kLanes) + sum[k]);
      });
}

// The sizes of a tile as template arguments: call(rows, cols, step, whether no row or column is dead) with
// numbers known when compiled.
template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};
template <int kRows, int kCols, int kStep, class Call>
ATROUS_INLINE void with_live(const DepthwiseTile& t, const Call& call) {
  const unsigned rows = (1u << ((kRows - 1) * kStep + t.taps)) - 1,
                 cols = (1u << ((kCols - 1) * kStep + t.taps)) - 1;
  if (kStep == 1 && t.rows_cached && (~t.live_rows & rows) == 0 && (~t.live_cols & cols) == 0)
    return call(Constant<kRows>(), Constant<kCols>(), Constant<kStep>(), Constant<kStep == 1>());
  return call(Constant<kRows>(), Constant<kCols>(), Constant<kStep>(), Constant<false>());
}
template <int kRows, int kStep, class Call>
ATROUS_INLINE void with_cols(const DepthwiseTile& t, const Call& call) {
  switch (t.cols) {
    case 1:
      return with_live<kRows, 1, kStep>(t, call);
    case 2:
      return with_live<kRows, 2, kStep>(t, call);
    case 3:
      return with_live<kRows, 3, kStep>(t, call);
    default:
      return with_live<kRows, 4, kStep>(t, call);
  }
}
template <class Call>
ATROUS_INLINE void with_sizes(const DepthwiseTile& t, const Call& call) {
  if (t.step == 2) return t.rows == 2 ? with_cols<2, 2>(t, call) : with_cols<1, 2>(t, call);
  if (t.rows == 3) return with_cols<3, 1>(t, call);
  return t.rows == 2 ? with_cols<2, 1>(t, call) : with_cols<1, 1>(t, call);
}

// kCols outputs at a time share the loads of weights.
template <int kCols>
ATROUS_INLINE void taps_forward(const DepthwiseTaps& t, std::int64_t first, const Finish& finish) {
  for_each_block(
      t.channels, t.weight, t.window, [&](std::int64_t c, const float* w) __attribute__((always_inline)) {
        const float* x = t.x + first * t.x_step + c;
        float* y = t.y + first * t.y_step + c;
        Vec sum[kCols];
#pragma GCC unroll 4
        for (int j = 0; j < kCols; ++j) sum[j] = finish.start(c);
        for (int k = 0; k < t.taps; ++k) {
          const Vec weight = load(w + t.tap[k] * kLanes);
          const float* in = x + t.offset[k];
#pragma GCC unroll 4
          for (int j = 0; j < kCols; ++j) sum[j] += weight * load(in + j * t.x_step);
        }
#pragma GCC unroll 4
        for (int j = 0; j < kCols; ++j) finish.write(y + j * t.y_step, sum[j]);
      });
}

template <int kCols>
ATROUS_INLINE void taps_weight(const DepthwiseTaps& t, std::int64_t first) {
  for_each_block(
      t.channels, t.weight, t.window, [&](std::int64_t c, float* w) __attribute__((always_inline)) {
        const float* x = t.x + first * t.x_step + c;
        const float* dy = t.y + first * t.y_step + c;
        Vec g[kCols];
#pragma GCC unroll 8
        for (int j = 0; j < kCols; ++j) g[j] = load(dy + j * t.y_step);
        for (int k = 0; k < t.taps; ++k) {
          const float* in = x + t.offset[k];
          Vec sum = g[0] * load(in);
#pragma GCC unroll 8
          for (int j = 1; j < kCols; ++j) sum += g[j] * load(in + j * t.x_step);
          float* total = w + t.tap[k] * kLanes;
          store(total, load(total) + sum);
        }
      });
}

}  // namespace

void depthwise_pack(const float* weight, std::int64_t channels, std::int64_t taps, bool turned,
                    float* packed) {
  for_each_block(
      channels, packed, taps, [&](std::int64_t c, float* block) __attribute__((always_inline)) {
        for (std::int64_t t = 0; t < taps; ++t)
          store(block + t * kLanes, load(weight + (turned ? taps - 1 - t : t) * channels + c));
      });
}

void depthwise_add_parts(const float* parts, std::int64_t count, std::int64_t size, std::int64_t channels,
                         std::int64_t taps, float* weight) {
  for_each_block(
      channels, const_cast<float*>(parts),
      taps, [&](std::int64_t c, const float* block) __attribute__((always_inline)) {
        for (std::int64_t t = 0; t < taps; ++t) {
          Vec sum = load(block + t * kLanes);
          for (std::int64_t p = 1; p < count; ++p) sum += load(block + p * size + t * kLanes);
          store(weight + t * channels + c, sum);
        }
      });
}

// With vectors of four floats and 16 registers kWhole takes 1.7 times as long.
void depthwise_tile(const DepthwiseTile& tile, const DepthwiseOutput& output) {
  if (tile.taps == 5) {
    const auto five = [&](auto rows, auto cols, auto, auto whole) ATROUS_INLINE_LAMBDA {
      tile_forward<rows.value, cols.value, 1, 5, whole.value && kLanes >= 8>(tile, output);
    };
    return tile.rows == 2 ? with_cols<2, 1>(tile, five) : with_cols<1, 1>(tile, five);
  }
  with_sizes(
      tile, [&](auto rows, auto cols, auto step, auto whole) __attribute__((always_inline)) {
        tile_forward<rows.value, cols.value, step.value, 3, whole.value && kLanes >= 8>(tile, output);
      });
}

void depthwise_tile_weight(const DepthwiseTile& tile) {
  with_sizes(
      tile, [&](auto rows, auto cols, auto step, auto whole) __attribute__((always_inline)) {
        tile_weight<rows.value, cols.value, step.value, whole.value>(tile);
      });
}

void depthwise_taps(const DepthwiseTaps& work, const DepthwiseOutput& output) {
  const Finish finish(output);
  std::int64_t j = 0;
  for (; j + 4 <= work.count; j += 4) taps_forward<4>(work, j, finish);
  for (; j < work.count; ++j) taps_forward<1>(work, j, finish);
}

void depthwise_taps_weight(const DepthwiseTaps& work) {
  std::int64_t j = 0;
  for (; j + 8 <= work.count; j += 8) taps_weight<8>(work, j);
  for (; j < work.count; ++j) taps_weight<1>(work, j);
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
