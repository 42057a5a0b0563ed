#include "atrous/kernels/softmax/softmax_simd.h"

#include "atrous/kernels/simd_math.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

ATROUS_INLINE Vec largest_of(const float* planes, long classes) {
  Vec largest = load(planes);
  for (long c = 1; c < classes; ++c) largest = max(largest, load(planes + c * kLanes));
  return largest;
}

// The sum of exp(x - largest), which take the place of the planes.
template <bool kKept = true>
ATROUS_INLINE Vec exponentiate(float* planes, long classes, Vec largest) {
  Vec sum{};
  for (long c = 0; c < classes; ++c) {
    const Vec e = exp_nonpositive(load(planes + c * kLanes) - largest);
    if (kKept) store(planes + c * kLanes, e);
    sum += e;
  }
  return sum;
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
      const Vec largest = largest_of(planes, classes);
      const Vec log_sum = log_positive(exponentiate(exponentials, classes, largest));
      store_planes([&](long c)
                       ATROUS_INLINE_LAMBDA { return (load(planes + c * kLanes) - largest) - log_sum; },
                   classes, count, y + p * classes);
    } else {
      const Vec factor = 1.0f / exponentiate(planes, classes, largest_of(planes, classes));
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
                     const float* scales, float* losses, bool stream, float* dlogits) {
  float planes[kMostClasses * kLanes];
  alignas(64) float lines[kMostClasses * kLanes];
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
    const Vec zero{};
    // Logits of pixels that do not count need not be finite; 0 times what becomes of 0 is 0.
    if (const IntVec idle = scale == zero; any(idle))
      for (long c = 0; c < classes; ++c) store(planes + c * kLanes, idle ? zero : load(planes + c * kLanes));
    Vec largest = load(planes), picked{};
    IntVec number{};
    for (long c = 0; c < classes; ++c, number += 1) {
      const Vec v = load(planes + c * kLanes);
      largest = max(largest, v);
      picked = target == number ? v : picked;
    }
    const Vec sum =
        dlogits ? exponentiate(planes, classes, largest) : exponentiate<false>(planes, classes, largest);
    const Vec loss = target >= 0 ? log_positive(sum) + (largest - picked) : zero;
    total += loss * scale;
    if (losses) store_part(losses + p, loss, count);
    if (!dlogits) continue;
    const Vec factor = scale / sum;
    // kLanes pixels are as many lines as there are classes, where a lane is a sixteenth of a line.
    const bool past_cache = stream && kLanes == 16 && count == kLanes;
    float* const to = past_cache ? lines : dlogits + p * classes;
    store_planes(
        [&](long c) ATROUS_INLINE_LAMBDA {
          const Vec g = load(planes + c * kLanes) * factor;
          return target == std::int32_t(c) ? g - scale : g;
        },
        classes, count, to);
    if (past_cache)
      for (long c = 0; c < classes; ++c)
        store_past_cache(dlogits + p * classes + c * kLanes, load(lines + c * kLanes));
  }
  double sum = 0;
  for (int j = 0; j < kLanes; ++j) sum += double(total[j]);
  return sum;
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
