#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <type_traits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/for_each.h"
#include "atrous/kernels/softmax/cross_entropy.h"
#include "atrous/kernels/softmax/softmax_body.h"
#include "atrous/kernels/softmax/softmax_simd.h"
#include "atrous/kernels/streaming_fence.h"

namespace atrous::kernels {
namespace {

constexpr std::int64_t kChunk = 1024;  // pixels whose losses are summed together, whatever the threads

std::int64_t chunks_of(const SoftmaxDims& dims) { return (dims.pixels + kChunk - 1) / kChunk; }

}  // namespace

// A block of the CUDA kernel has 128 threads and gives a pixel 1 to 32 of them (softmax_tile.cuh).
std::int64_t cross_entropy_sums_size(const SoftmaxDims& dims, Device device) {
  return device.is_cpu() ? chunks_of(dims) : (dims.pixels + 3) / 4;
}

// On CUDA: a histogram of 256 counts, a state of a few numbers, a count for each chunk; all of 8 bytes, which
// are two floats.
std::int64_t cross_entropy_workspace_size(const SoftmaxDims& dims, Device device) {
  return device.is_cpu() ? dims.pixels : 2 * (256 + 8 + chunks_of(dims) + 1);
}

namespace cpu {

template <class T>
void cross_entropy_targets(Stream, const SoftmaxDims& dims, std::int64_t ignore_label, Span<const T> labels,
                           Span<std::int32_t> targets, Span<std::int64_t> first_bad) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto classes = std::int32_t(std::min(dims.classes, kMost));
  const auto ignore = std::int32_t(ignore_label);
  const bool ignores = ignore == ignore_label;  // else no label can be it
  std::mutex lock;
  first_bad[0] = dims.pixels;
  parallel_for(dims.pixels, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    // Without a branch or a minimum, and in 32 bits, so that the compiler can vectorise it; a bad label is
    // looked for afterwards.
    const auto ignored = [=](std::int32_t label) { return ignores & (label == ignore); };
    const auto is_class = [=](std::int32_t label) { return (label >= 0) & (label < classes); };
    const T* const from = labels.data();
    std::int32_t* const to = targets.data();
    std::int32_t all_good = 1;
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int32_t label = from[p];
      to[p] = (ignored(label) | !is_class(label)) ? -1 : label;
      all_good &= ignored(label) | is_class(label);
    }
    if (all_good) return;
    std::int64_t bad = begin;
    while (ignored(from[bad]) || is_class(from[bad])) ++bad;
    const std::lock_guard hold(lock);
    first_bad[0] = std::min(first_bad[0], bad);
  });
}
template decltype(cross_entropy_targets<std::uint8_t>) cross_entropy_targets<std::uint8_t>;
template decltype(cross_entropy_targets<std::int32_t>) cross_entropy_targets<std::int32_t>;

template <class T>
void cross_entropy_losses(Stream, const SoftmaxDims& dims, Span<const T> logits,
                          Span<const std::int32_t> targets, Span<Accumulator<T>> losses) {
  const std::int64_t classes = dims.classes;
  parallel_for(dims.pixels, 1 + (1 << 12) / classes, [&](std::int64_t begin, std::int64_t end) {
    if constexpr (std::is_same_v<T, float>)
      if (classes <= simd::kMostClasses) {
        simd::cross_entropy(end - begin, classes, logits.data() + begin * classes, targets.data() + begin,
                            nullptr, losses.data() + begin, false, nullptr);
        return;
      }
    for (std::int64_t p = begin; p < end; ++p)
      losses[p] = targets[p] < 0 ? Accumulator<T>(0)
                                 : cross_entropy_of(logits.data() + p * classes, classes, targets[p]);
  });
}
ATROUS_INSTANTIATE(cross_entropy_losses);

namespace {

// Where every pixel with a target counts alike.
template <class T>
void equal_scales(const SoftmaxDims& dims, Span<const std::int32_t> targets, Span<double> sums,
                  Span<T> scales) {
  const std::int64_t chunks = chunks_of(dims);
  parallel_for(chunks, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t q = begin; q < end; ++q) {
      const std::int32_t* const from = targets.data() + q * kChunk;
      const std::int64_t count = std::min(kChunk, dims.pixels - q * kChunk);
      std::int32_t valid = 0;
      for (std::int64_t i = 0; i < count; ++i) valid += from[i] >= 0;
      sums[q] = double(valid);
    }
  });
  double total = 0;
  for (std::int64_t q = 0; q < chunks; ++q) total += sums[q];
  const T scale = total > 0 ? T(1 / total) : T(0);
  const std::int32_t* const from = targets.data();
  for_each(dims.pixels, [=, to = scales.data()](std::int64_t p) { to[p] = from[p] < 0 ? T(0) : scale; });
}

// Sets the scales of all but the hardest pixels to 0.
template <class T>
void keep_hardest(Span<const std::int32_t> targets, double hard_fraction, Span<const T> losses,
                  Span<T> workspace, Span<T> scales) {
  // What a pixel adds to the loss. NaN ranks first: a broken pixel must show, not be cut away.
  const auto hardness = [&](std::int64_t p) {
    const T h = scales[p] == T(0) ? T(0) : scales[p] * losses[p];
    return std::isnan(h) ? std::numeric_limits<T>::infinity() : h;
  };
  std::int64_t valid = 0;
  for (std::int64_t p = 0; p < targets.size(); ++p)
    if (targets[p] >= 0) workspace[valid++] = hardness(p);
  if (valid == 0) return;
  // The factor keeps 0.1 * 30 = 3.0000000000000004 from asking for a fourth pixel.
  const auto wanted = std::int64_t(std::ceil(hard_fraction * double(valid) * (1 - 1e-12)));
  const std::int64_t kept = std::clamp<std::int64_t>(wanted, 1, valid);
  std::nth_element(workspace.begin(), workspace.begin() + kept - 1, workspace.begin() + valid,
                   std::greater<T>());
  const T least = workspace[kept - 1];
  std::int64_t equal_left =
      kept - std::count_if(workspace.begin(), workspace.begin() + valid, [&](T h) { return h > least; });
  for (std::int64_t p = 0; p < targets.size(); ++p) {
    if (targets[p] < 0) continue;
    const T h = hardness(p);
    if (!(h > least) && !(h == least && equal_left-- > 0)) scales[p] = T(0);
  }
}

}  // namespace

template <class T>
void cross_entropy_scales(Stream, const SoftmaxDims& dims, Span<const std::int32_t> targets,
                          Span<const Accumulator<T>> class_weights, double hard_fraction,
                          Span<const Accumulator<T>> losses, Span<Accumulator<T>> workspace,
                          Span<double> sums, Span<Accumulator<T>> scales) {
  using A = Accumulator<T>;
  if (class_weights.empty() && hard_fraction >= 1) return equal_scales<A>(dims, targets, sums, scales);
  for_each(dims.pixels, [=](std::int64_t p) {
    const std::int32_t target = targets[p];
    scales[p] = target < 0 ? A(0) : class_weights.empty() ? A(1) : class_weights[target];
  });
  if (hard_fraction < 1) keep_hardest<A>(targets, hard_fraction, losses, workspace, scales);
  const std::int64_t chunks = chunks_of(dims);
  parallel_for(chunks, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t q = begin; q < end; ++q) {
      // Eight sums side by side: one would wait for each addition.
      double part[8] = {};
      const std::int64_t first = q * kChunk, count = std::min(kChunk, dims.pixels - first);
      for (std::int64_t i = 0; i < count; ++i) part[i % 8] += double(scales[first + i]);
      sums[q] = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    }
  });
  double total = 0;
  for (std::int64_t q = 0; q < chunks; ++q) total += sums[q];
  if (!(total > 0)) return;
  const double factor = 1 / total;
  for_each(dims.pixels, [scales, factor](std::int64_t p) { scales[p] = A(double(scales[p]) * factor); });
}
ATROUS_INSTANTIATE(cross_entropy_scales);

namespace {

// The loss of some pixels, weighted and summed, and their gradient unless dlogits is null.
template <class T>
double chunk_cross_entropy(std::int64_t pixels, std::int64_t classes, const T* logits,
                           const std::int32_t* targets, const Accumulator<T>* scales, bool stream,
                           T* dlogits) {
  if constexpr (std::is_same_v<T, float>)
    if (classes <= simd::kMostClasses)
      return simd::cross_entropy(pixels, classes, logits, targets, scales, nullptr, stream, dlogits);
  double loss = 0;
  for (std::int64_t p = 0; p < pixels; ++p) {
    const T* x = logits + p * classes;
    if (scales[p] != Accumulator<T>(0))
      loss += double(scales[p]) * double(cross_entropy_of(x, classes, targets[p]));
    if (dlogits) cross_entropy_gradient(x, classes, targets[p], scales[p], dlogits + p * classes);
  }
  return loss;
}

}  // namespace

template <class T>
void cross_entropy(Stream, const SoftmaxDims& dims, Span<const T> logits, Span<const std::int32_t> targets,
                   Span<const Accumulator<T>> scales, Span<double> sums, Span<T> loss, Span<T> dlogits) {
  const std::int64_t chunks = chunks_of(dims);
  const bool stream = leaves_cache(dlogits);
  parallel_for(chunks, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t q = begin; q < end; ++q) {
      const std::int64_t first = q * kChunk, count = std::min(kChunk, dims.pixels - first);
      sums[q] = chunk_cross_entropy(count, dims.classes, logits.data() + first * dims.classes,
                                    targets.data() + first, scales.data() + first, stream,
                                    dlogits.empty() ? nullptr : dlogits.data() + first * dims.classes);
    }
    if (stream) streaming_fence();
  });
  double sum = 0;
  for (std::int64_t q = 0; q < chunks; ++q) sum += sums[q];
  loss[0] = T(sum);
}
ATROUS_INSTANTIATE(cross_entropy);

template <class T>
void cross_entropy_chain(Stream, Span<const T> factor, Span<const T> dlogits, Span<T> scaled) {
  using A = Accumulator<T>;
  for_each(dlogits.size(), [&](std::int64_t i) { scaled[i] = T(A(factor[0]) * A(dlogits[i])); });
}
ATROUS_INSTANTIATE(cross_entropy_chain);

}  // namespace cpu
}  // namespace atrous::kernels
