#include "atrous/kernels/resize/resize_simd.h"

#include "atrous/kernels/resize/resize_sample.h"
#include "atrous/kernels/simd_math.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

ATROUS_INLINE Vec blend(Vec a, Vec b, float weight) {
  return weight == 0 ? a : a + broadcast(weight) * (b - a);
}

// The outputs that lie between the same two input columns: both are blended by rows once, and an output is
// then one multiply-add. a, b: the left and right pixel of the upper row; c, d: of the lower.
ATROUS_INLINE void interval(const float* a, const float* b, const float* c, const float* d, float row_weight,
                            const float* weight, long count, long channels, long y_step, float* y,
                            bool last) {
  const auto step = [&](long i) ATROUS_INLINE_LAMBDA {
    const Vec left = blend(load(a + i), load(c + i), row_weight),
              right = blend(load(b + i), load(d + i), row_weight);
    for (long j = 0; j < count; ++j) store(y + j * y_step + i, blend(left, right, weight[j]));
  };
  if (channels >= kLanes) {
    long i = 0;
    for (; i + kLanes <= channels; i += kLanes) step(i);
    if (i < channels) step(channels - kLanes);  // overlaps the vector before it
    return;
  }
  const Vec left = blend(load_part(a, channels), load_part(c, channels), row_weight);
  const Vec right = blend(load_part(b, channels), load_part(d, channels), row_weight);
  // A whole vector is stored where the pixels that follow, which are written next, have room for the rest of
  // it, and nothing lies between.
  const long whole = y_step > channels ? 0 : last ? count - (kLanes + channels - 1) / channels : count;
  for (long j = 0; j < count; ++j) {
    const Vec v = blend(left, right, weight[j]);
    if (j < whole)
      store(y + j * y_step, v);
    else
      store_part(y + j * y_step, v, channels);
  }
}

// The same past the cache, for whole lines: channels are a multiple of 16, y lies on a line.
ATROUS_INLINE void interval_past_cache(const float* a, const float* b, const float* c, const float* d,
                                       float row_weight, const float* weight, long count, long channels,
                                       long y_step, float* y) {
  constexpr int kParts = 16 / kLanes;
  for (long i = 0; i < channels; i += 16) {
    Vec left[kParts], right[kParts];
    for (int k = 0; k < kParts; ++k) {
      const long at = i + k * kLanes;
      left[k] = blend(load(a + at), load(c + at), row_weight);
      right[k] = blend(load(b + at), load(d + at), row_weight);
    }
    for (long j = 0; j < count; ++j)
      for (int k = 0; k < kParts; ++k)
        store_past_cache(y + j * y_step + i + k * kLanes, blend(left[k], right[k], weight[j]));
  }
}

}  // namespace

void resize_row(const float* upper, const float* lower, float row_weight, const ResizeColumns& columns,
                long channels, long y_step, bool stream, float* y) {
  for (long begin = 0; begin < columns.count;) {
    const long low = columns.low[begin];
    long end = begin + 1, high = columns.high[begin];
    for (; end < columns.count && columns.low[end] == low; ++end)
      high = columns.high[end] > high ? columns.high[end] : high;
    // Closer than a vector to the end of the row: no stores beyond it.
    const bool last = (columns.count - end) * channels < kLanes;
    const float *a = upper + low * channels, *b = upper + high * channels, *c = lower + low * channels,
                *d = lower + high * channels;
    if (stream)
      interval_past_cache(a, b, c, d, row_weight, columns.weight + begin, end - begin, channels, y_step,
                          y + begin * y_step);
    else
      interval(a, b, c, d, row_weight, columns.weight + begin, end - begin, channels, y_step,
               y + begin * y_step, last);
    begin = end;
  }
}

void blend_rows(const float* upper, const float* lower, float row_weight, long n, float* to) {
  long i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, blend(load(upper + i), load(lower + i), row_weight));
  if (i < n)
    store_part(to + i, blend(load_part(upper + i, n - i), load_part(lower + i, n - i), row_weight), n - i);
}

void resize_argmax(const float* planes, long stride, long classes, const ResizeColumns& columns,
                   std::uint8_t* labels8, std::int32_t* labels32) {
  for (long p = 0; p < columns.count; p += kLanes) {
    const long count = columns.count - p < kLanes ? columns.count - p : kLanes;
    const ColumnSampler sample(columns, p);
    Vec best{};
    IntVec label{};
    for (long c = 0; c < classes; ++c) {
      const Vec v = sample(planes + c * stride);
      const IntVec greater = c == 0 ? IntVec{} - 1 : v > best;
      best = greater ? v : best;
      label = greater ? IntVec{} + std::int32_t(c) : label;
    }
    if (labels32 && count == kLanes) {
      store(labels32 + p, label);
    } else if (count == kLanes) {
      typedef std::uint8_t Bytes __attribute__((vector_size(kLanes)));
      const Bytes bytes = __builtin_convertvector(label, Bytes);
      __builtin_memcpy(labels8 + p, &bytes, kLanes);
    } else {
      for (long j = 0; j < count; ++j)
        if (labels32)
          labels32[p + j] = label[j];
        else
          labels8[p + j] = std::uint8_t(label[j]);
    }
  }
}

void resize_gather(const float* dy, long stride, const float* row_weights, long rows, long channels,
                   const ResizeWindow* windows, long columns, float* dx) {
  for (long w = 0; w < columns; ++w, dx += channels) {
    const ResizeWindow window = windows[w];
    const float* first = dy + window.first * channels;
    const auto sum = [&](long i, long n) ATROUS_INLINE_LAMBDA {
      Vec total{};
      for (long r = 0; r < rows; ++r) {
        const float* p = first + r * stride + i;
        Vec even{}, odd{};  // two chains of additions
        long j = 0;
        for (; j + 2 <= window.count; j += 2, p += 2 * channels) {
          even += broadcast(window.weights[j]) * (n == kLanes ? load(p) : load_part(p, n));
          odd += broadcast(window.weights[j + 1]) *
                 (n == kLanes ? load(p + channels) : load_part(p + channels, n));
        }
        if (j < window.count)
          even += broadcast(window.weights[j]) * (n == kLanes ? load(p) : load_part(p, n));
        total += broadcast(row_weights[r]) * (even + odd);
      }
      return total;
    };
    long i = 0;
    for (; i + kLanes <= channels; i += kLanes) store(dx + i, sum(i, kLanes));
    if (i < channels) store_part(dx + i, sum(i, channels - i), channels - i);
  }
}

void resize_sum_rows(const float* rows, long stride, const float* weights, long count, long n, float* sum) {
  long i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    Vec total[4]{};
    for (long r = 0; r < count; ++r)
#pragma GCC unroll 4
      for (long k = 0; k < 4; ++k)
        total[k] += broadcast(weights[r]) * load(rows + r * stride + i + k * kLanes);
#pragma GCC unroll 4
    for (long k = 0; k < 4; ++k) store(sum + i + k * kLanes, total[k]);
  }
  for (; i < n; i += kLanes) {
    const long lanes = n - i < kLanes ? n - i : kLanes;
    Vec total{};
    for (long r = 0; r < count; ++r) total += broadcast(weights[r]) * load_part(rows + r * stride + i, lanes);
    store_part(sum + i, total, lanes);
  }
}

void resize_share(const float* line, long n, float row_weight, float* upper, float* lower) {
  const auto add = [&](float* to, float weight) ATROUS_INLINE_LAMBDA {
    long i = 0;
    for (; i + kLanes <= n; i += kLanes) store(to + i, load(to + i) + broadcast(weight) * load(line + i));
    if (i < n)
      store_part(to + i, load_part(to + i, n - i) + broadcast(weight) * load_part(line + i, n - i), n - i);
  };
  add(upper, 1 - row_weight);
  if (row_weight != 0) add(lower, row_weight);
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
