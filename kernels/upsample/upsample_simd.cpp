#include "atrous/kernels/upsample/upsample_simd.h"

#include "atrous/kernels/resize/resize_sample.h"
#include "atrous/kernels/simd_math.h"

namespace atrous::kernels::simd::ATROUS_ISA {

void pixels_to_planes(const float* pixels, long count, long classes, long stride, float* planes) {
  for (long p = 0; p < count; p += kLanes)
    load_planes(pixels + p * classes, classes, count - p < kLanes ? count - p : kLanes, planes + p, stride);
}

void planes_to_pixels(const float* planes, long count, long classes, long stride, float* pixels) {
  for (long p = 0; p < count; p += kLanes)
    store_planes([&](long c) ATROUS_INLINE_LAMBDA { return load(planes + c * stride + p); }, classes,
                 count - p < kLanes ? count - p : kLanes, pixels + p * classes);
}

void stretch_row(const float* planes, long stride, const ResizeColumns& columns, long classes,
                 long fine_stride, float* fine) {
  for (long p = 0; p < columns.count; p += kLanes) {
    const ColumnSampler sample(columns, p);
    for (long c = 0; c < classes; ++c) store(fine + c * fine_stride + p, sample(planes + c * stride));
  }
}

namespace {

// What is `weight` below `upper`, which alone counts at 0: `lower` may hold anything then.
ATROUS_INLINE Vec between(Vec upper, Vec lower, Vec weight) {
  const Vec v = upper + weight * (lower - upper);
  return weight == Vec{} ? upper : v;
}

// For a vector of which a pixel leaves the range of exp_within(): over the largest, and nothing where a pixel
// does not count, whose logits need not be finite.
__attribute__((noinline, cold)) void over_largest(const UpsampleRows& rows, long r, long p,
                                                  const IntVec& target, const IntVec& idle,
                                                  float* exponentials, long step, Vec& sum, Vec& loss) {
  const Vec zero{}, weight = broadcast(rows.row_weights[r]);
  Vec largest = broadcast(-__builtin_inff()), picked{};
  for (long c = 0; c < rows.classes; ++c) {
    const long i = c * rows.stride + p;
    const Vec v = idle ? zero : between(load(rows.upper + i), load(rows.lower + i), weight);
    store(exponentials + c * step, v);
    largest = max(largest, v);
    picked = target == std::int32_t(c) ? v : picked;
  }
  sum = zero;
  for (long c = 0; c < rows.classes; ++c) {
    const Vec e = exp_nonpositive(load(exponentials + c * step) - largest);
    store(exponentials + c * step, e);
    sum += e;
  }
  loss = target >= 0 ? log_positive(sum) + (largest - picked) : zero;
}

template <int kRows>
double upsample(const UpsampleRows& rows) {
  float exponentials[kMostPlaneClasses][kRows][kLanes], picked[kRows][kLanes] = {};
  Vec weights[kRows], total{};
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) weights[r] = broadcast(rows.row_weights[r]);
  const Vec zero{};
  for (long p = 0; p < rows.columns; p += kLanes) {
    const long count = rows.columns - p < kLanes ? rows.columns - p : kLanes;
    Vec sums[kRows] = {}, factors[kRows];
    for (long c = 0; c < rows.classes; ++c) {
      const Vec upper = load(rows.upper + c * rows.stride + p),
                lower = load(rows.lower + c * rows.stride + p);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const Vec e = exp_within(between(upper, lower, weights[r]));
        store(exponentials[c][r], e);
        sums[r] += e;
      }
    }
    // Step by step: what is put together from lanes is in the cache when it is loaded.
    for (int r = 0; r < kRows; ++r)
      for (long j = 0; j < count; ++j) {
        const std::int32_t target = rows.targets[r * rows.out_w + p + j];
        picked[r][j] = exponentials[target < 0 ? 0 : target][r][j];
      }
    for (int r = 0; r < kRows; ++r) {
      const long first = r * rows.out_w + p;
      IntVec target = broadcast(std::int32_t(-1));
      Vec scale{};
      if (count == kLanes) {
        target = load(rows.targets + first);
        scale = load(rows.scales + first);
      } else {
        for (long j = 0; j < count; ++j)
          target[j] = rows.targets[first + j], scale[j] = rows.scales[first + j];
      }
      const Vec of_target = target >= 0 ? load(picked[r]) : sums[r];
      const IntVec inside = usable(sums[r], of_target);
      Vec loss = log_positive(sums[r] / of_target);
      if (any(~inside))
        over_largest(rows, r, p, target, scale == zero, exponentials[0][r], kRows * kLanes, sums[r], loss);
      total += loss * scale;
      factors[r] = scale / sums[r];
    }
    if (!rows.upper_gradient) continue;
    for (int r = 0; r < kRows; ++r)
      for (long j = 0; j < count; ++j)
        if (const std::int32_t c = rows.targets[r * rows.out_w + p + j]; c >= 0)
          exponentials[c][r][j] -= sums[r][j];
    for (long c = 0; c < rows.classes; ++c) {
      float* const to_upper = rows.upper_gradient + c * rows.stride + p;
      Vec both{}, lower{};
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const Vec g = load(exponentials[c][r]) * factors[r];
        both += g;
        lower += weights[r] * g;
      }
      store(to_upper, load(to_upper) + (both - lower));
      if (!rows.lower_gradient) continue;
      float* const to_lower = rows.lower_gradient + c * rows.stride + p;
      store(to_lower, load(to_lower) + lower);
    }
  }
  double sum = 0;
  for (int j = 0; j < kLanes; ++j) sum += double(total[j]);
  return sum;
}

}  // namespace

double upsample_rows(const UpsampleRows& rows) {
  static_assert(kUpsampleRows == 4);
  return rows.rows == 4   ? upsample<4>(rows)
         : rows.rows == 3 ? upsample<3>(rows)
         : rows.rows == 2 ? upsample<2>(rows)
                          : upsample<1>(rows);
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
