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

double upsample_row(const UpsampleRow& row) {
  float planes[kMostPlaneClasses * kLanes];
  const Vec zero{}, down = broadcast(row.row_weight), up = 1.0f - down;
  Vec total{};
  for (long p = 0; p < row.columns.count; p += kLanes) {
    const long count = row.columns.count - p < kLanes ? row.columns.count - p : kLanes;
    const ColumnSampler sample(row.columns, p);
    IntVec target = broadcast(std::int32_t(-1));
    Vec scale{};
    if (count == kLanes) {
      target = load(row.targets + p);
      scale = load(row.scales + p);
    } else {
      for (long j = 0; j < count; ++j) target[j] = row.targets[p + j], scale[j] = row.scales[p + j];
    }
    // Logits of pixels that do not count need not be finite.
    const IntVec idle = scale == zero;
    const bool some_idle = any(idle);
    Vec largest = broadcast(-__builtin_inff()), picked{};
    IntVec number{};
    for (long c = 0; c < row.classes; ++c, number += 1) {
      Vec v = sample(row.logits + c * row.stride);
      if (some_idle) v = idle ? zero : v;
      store(planes + c * kLanes, v);
      largest = max(largest, v);
      picked = target == number ? v : picked;
    }
    Vec sum{};
    for (long c = 0; c < row.classes; ++c) {
      const Vec e = exp_nonpositive(load(planes + c * kLanes) - largest);
      if (row.upper) store(planes + c * kLanes, e);
      sum += e;
    }
    total += (target >= 0 ? log_positive(sum) + (largest - picked) : zero) * scale;
    if (!row.upper) continue;
    const Vec factor = scale / sum;
    number = IntVec{};
    for (long c = 0; c < row.classes; ++c, number += 1) {
      const Vec share = load(planes + c * kLanes) * factor, g = target == number ? share - scale : share;
      float* const upper = row.upper + c * row.fine_stride + p;
      store(upper, load(upper) + up * g);
      if (row.row_weight == 0) continue;
      float* const lower = row.lower + c * row.fine_stride + p;
      store(lower, load(lower) + down * g);
    }
  }
  double sum = 0;
  for (int j = 0; j < kLanes; ++j) sum += double(total[j]);
  return sum;
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
