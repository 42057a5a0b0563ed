#include "atrous/kernels/softmax/softmax_simd.h"

#include "atrous/kernels/simd_math.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

// Replaces the planes by exp(x - largest); the largest and the sum of a lane.
struct Exponentials {
  Vec largest, sum;
};
ATROUS_INLINE Exponentials exponentiate(float* planes, long classes) {
  Vec largest = load(planes);
  for (long c = 1; c < classes; ++c) largest = max(largest, load(planes + c * kLanes));
  Vec sum{};
  for (long c = 0; c < classes; ++c) {
    const Vec e = exp_nonpositive(load(planes + c * kLanes) - largest);
    store(planes + c * kLanes, e);
    sum += e;
  }
  return {largest, sum};
}

ATROUS_INLINE long lanes_left(long pixels, long p) { return pixels - p < kLanes ? pixels - p : kLanes; }

}  // namespace

void softmax(long pixels, long classes, bool logarithm, const float* x, float* y) {
  float planes[kMostClasses * kLanes], exponentials[kMostClasses * kLanes];
  for (long p = 0; p < pixels; p += kLanes) {
    const long count = lanes_left(pixels, p);
    load_planes(x + p * classes, classes, count, planes);
    if (logarithm) {
      for (long i = 0; i < classes * kLanes; i += kLanes) store(exponentials + i, load(planes + i));
      const Exponentials e = exponentiate(exponentials, classes);
      const Vec log_sum = log_positive(e.sum);
      store_planes([&](long c)
                       ATROUS_INLINE_LAMBDA { return (load(planes + c * kLanes) - e.largest) - log_sum; },
                   classes, count, y + p * classes);
    } else {
      const Vec factor = 1.0f / exponentiate(planes, classes).sum;
      store_planes([&](long c) ATROUS_INLINE_LAMBDA { return load(planes + c * kLanes) * factor; }, classes,
                   count, y + p * classes);
    }
  }
}

void argmax(long pixels, long classes, const float* x, std::uint8_t* labels8, std::int32_t* labels32) {
  float planes[kMostClasses * kLanes];
  for (long p = 0; p < pixels; p += kLanes) {
    const long count = lanes_left(pixels, p);
    load_planes(x + p * classes, classes, count, planes);
    Vec best = load(planes);
    IntVec label{};
    for (long c = 1; c < classes; ++c) {
      const Vec v = load(planes + c * kLanes);
      const IntVec greater = v > best;
      best = greater ? v : best;
      label = greater ? broadcast(std::int32_t(c)) : label;
    }
    if (labels32 && count == kLanes) {
      store(labels32 + p, label);
      continue;
    }
    for (long j = 0; j < count; ++j)
      if (labels32)
        labels32[p + j] = label[j];
      else
        labels8[p + j] = std::uint8_t(label[j]);
  }
}

double cross_entropy(long pixels, long classes, const float* logits, const std::int32_t* targets,
                     const float* scales, float* losses, float* dlogits) {
  float planes[kMostClasses * kLanes];
  Vec total{};
  for (long p = 0; p < pixels; p += kLanes) {
    const long count = lanes_left(pixels, p);
    load_planes(logits + p * classes, classes, count, planes);
    IntVec target = broadcast(std::int32_t(-1));
    Vec scale{};
    if (count == kLanes) {
      target = load(targets + p);
      scale = scales ? load(scales + p) : broadcast(1.0f);
    } else {
      for (long j = 0; j < count; ++j) {
        target[j] = targets[p + j];
        scale[j] = scales ? scales[p + j] : 1.0f;
      }
    }
    Vec picked{};
    for (long c = 0; c < classes; ++c)
      picked = target == std::int32_t(c) ? load(planes + c * kLanes) : picked;
    const Exponentials e = exponentiate(planes, classes);
    const Vec zero{};
    const Vec loss = target >= 0 ? log_positive(e.sum) + (e.largest - picked) : zero;
    total += scale != 0.0f ? loss * scale : zero;
    if (losses) store_part(losses + p, loss, count);
    if (!dlogits) continue;
    const Vec factor = scale / e.sum;
    store_planes(
        [&](long c) ATROUS_INLINE_LAMBDA {
          const Vec g = load(planes + c * kLanes) * factor;
          return scale != 0.0f ? (target == std::int32_t(c) ? g - scale : g) : zero;
        },
        classes, count, dlogits + p * classes);
  }
  double sum = 0;
  for (int j = 0; j < kLanes; ++j) sum += double(total[j]);
  return sum;
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
