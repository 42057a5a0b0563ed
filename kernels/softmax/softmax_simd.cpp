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

namespace {

double cross_entropy_of_planes(long pixels, long classes, const float* logits, const std::int32_t* targets,
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

// Classes that fill a vector, but not many. Exponentials are taken of the logits as they lie and as large as
// they are; only what is one number a pixel goes from rows to lanes: the sum, and the exponential of the
// target. Pixels whose numbers leave the range of exp_within() are done again as above: a pixel's bits depend
// on nothing else. A block is kLanes pixels, which are as many vectors as there are classes; blocks go
// through in fours, step by step, because a load across two vectors that were just stored waits for both, and
// so that the logarithms overlap.
constexpr long kMostRowClasses = 4 * kLanes;
constexpr long kBlocks = 4;

// The sums of kLanes rows of kVectors vectors, the last of which has `rest` lanes.
template <int kVectors>
ATROUS_INLINE Vec row_sums(const float* rows, long classes, long rest) {
  Vec sums[kLanes];
#pragma GCC unroll 16
  for (int j = 0; j < kLanes; ++j) {
    const float* row = rows + j * classes;
    sums[j] = load_part(row + (kVectors - 1) * kLanes, rest);
#pragma GCC unroll 8
    for (int v = 0; v + 1 < kVectors; ++v) sums[j] += load(row + v * kLanes);
  }
  return reduce_lanes(sums, [](Vec a, Vec b) ATROUS_INLINE_LAMBDA { return a + b; });
}

template <int kVectors>
double cross_entropy_of_rows(long pixels, long classes, const float* logits, const std::int32_t* targets,
                             const float* scales, float* losses, bool stream, float* dlogits) {
  const long rest = classes - (kVectors - 1) * kLanes;
  std::int32_t pixel_of[(kMostRowClasses + 1) * kLanes];  // of each lane of a block's vectors
  for (long j = 0; j < kLanes; ++j)
    for (int v = 0; v < kVectors; ++v)  // what is too much, the next pixel overwrites
      store(pixel_of + j * classes + v * kLanes, broadcast(std::int32_t(j)));
  alignas(64) float exponentials[kBlocks][kMostRowClasses * kLanes];
  float padded[kMostRowClasses * kLanes], picked[kBlocks][kLanes];
  Vec sums[kBlocks], factors[kBlocks], total{};
  const Vec zero{};
  for (long begin = 0; begin < pixels; begin += kBlocks * kLanes) {
    const long left = pixels - begin;
    const long blocks = left < kBlocks * kLanes ? (left + kLanes - 1) / kLanes : kBlocks;
    for (long b = 0; b < blocks; ++b) {
      const long p = begin + b * kLanes, count = lanes_left(pixels, p);
      const float* x = logits + p * classes;
      if (count < kLanes) {
        for (long i = 0; i < kLanes * classes; ++i) padded[i] = x[i < count * classes ? i : i % classes];
        x = padded;
      }
      for (long i = 0; i < kLanes * classes; i += kLanes) store(exponentials[b] + i, exp_within(load(x + i)));
    }
    for (long b = 0; b < blocks; ++b) {
      const long p = begin + b * kLanes, count = lanes_left(pixels, p);
      for (long j = 0; j < count; ++j) {
        const std::int32_t target = targets[p + j];
        picked[b][j] = exponentials[b][j * classes + (target < 0 ? 0 : target)];
      }
      sums[b] = row_sums<kVectors>(exponentials[b], classes, rest);
    }
    for (long b = 0; b < blocks; ++b) {
      const long p = begin + b * kLanes, count = lanes_left(pixels, p);
      IntVec target = broadcast(std::int32_t(-1));
      Vec scale{}, of_target = sums[b];
      if (count == kLanes) {
        target = load(targets + p);
        scale = scales ? load(scales + p) : broadcast(1.0f);
        of_target = target >= 0 ? load(picked[b]) : of_target;
      } else {
        for (long j = 0; j < count; ++j) {
          target[j] = targets[p + j];
          scale[j] = scales ? scales[p + j] : 1.0f;
          if (target[j] >= 0) of_target[j] = picked[b][j];
        }
      }
      const IntVec idle = scale == zero, inside = usable(sums[b], of_target);
      Vec loss = log_positive(sums[b] / of_target);
      if (dlogits) {
        factors[b] = idle ? zero : scale / sums[b];
        for (long j = 0; j < count; ++j)
          if (target[j] >= 0) exponentials[b][j * classes + target[j]] -= sums[b][j];
      }
      if (any(~inside)) {
        float exact[kLanes] = {}, gradients[kMostRowClasses * kLanes] = {};
        cross_entropy_of_planes(count, classes, logits + p * classes, targets + p,
                                scales ? scales + p : nullptr, exact, false, dlogits ? gradients : nullptr);
        loss = inside ? loss : load(exact);
        factors[b] = inside ? factors[b] : broadcast(1.0f);
        for (long j = 0; j < kLanes; ++j)
          if (!inside[j])
            for (long c = 0; c < classes; ++c) exponentials[b][j * classes + c] = gradients[j * classes + c];
      }
      total += idle ? zero : loss * scale;
      if (losses) store_part(losses + p, loss, count);
    }
    if (!dlogits) continue;
    for (long b = 0; b < blocks; ++b) {
      const long p = begin + b * kLanes, some = lanes_left(pixels, p) * classes;
      float* const to = dlogits + p * classes;
      for (long i = 0; i < some; i += kLanes) {
        const Vec g = load(exponentials[b] + i) * __builtin_shuffle(factors[b], load(pixel_of + i));
        if (stream && kLanes == 16 && some == kLanes * classes)
          store_past_cache(to + i, g);
        else
          store_part(to + i, g, some - i < kLanes ? some - i : kLanes);
      }
    }
  }
  double sum = 0;
  for (int j = 0; j < kLanes; ++j) sum += double(total[j]);
  return sum;
}

}  // namespace

double cross_entropy(long pixels, long classes, const float* logits, const std::int32_t* targets,
                     const float* scales, float* losses, bool stream, float* dlogits) {
  auto way = cross_entropy_of_planes;
  if constexpr (kLanes >= 8) {  // SSE2 has no shuffle by numbers in a register
    const long vectors = classes < kLanes ? 0 : (classes + kLanes - 1) / kLanes;
    if (vectors == 1) way = cross_entropy_of_rows<1>;
    if (vectors == 2) way = cross_entropy_of_rows<2>;
    if (vectors == 3) way = cross_entropy_of_rows<3>;
    if (vectors == 4) way = cross_entropy_of_rows<4>;
  }
  return way(pixels, classes, logits, targets, scales, losses, stream, dlogits);
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
