#include <cmath>
#include <type_traits>

#include "atrous/kernels/elementwise/elementwise.cuh"
#include "atrous/kernels/softmax/cross_entropy.h"
#include "atrous/kernels/softmax/hardest_pixels.cuh"
#include "atrous/kernels/softmax/softmax_tile.cuh"

namespace atrous::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kChunk = 1024;  // pixels of one sum of scales

std::int64_t chunks_of(const SoftmaxDims& dims) { return (dims.pixels + kChunk - 1) / kChunk; }

__global__ void no_bad_label_kernel(std::int64_t pixels, std::int64_t* first_bad) { *first_bad = pixels; }

template <class Label>
struct MakeTarget {
  std::int64_t classes, ignore_label;
  const Label* labels;
  std::int32_t* targets;
  std::int64_t* first_bad;
  __device__ void operator()(std::int64_t p) const {
    const std::int64_t label = std::int64_t(labels[p]);
    const bool counts = label != ignore_label && label >= 0 && label < classes;
    targets[p] = counts ? std::int32_t(label) : -1;
    // The smallest of integers: the order of the threads does not matter.
    if (!counts && label != ignore_label)
      atomicMin(reinterpret_cast<unsigned long long*>(first_bad), static_cast<unsigned long long>(p));
  }
};

template <class A>
struct MakeScale {
  const std::int32_t* targets;
  const A* class_weights;  // or null
  A* scales;
  __device__ void operator()(std::int64_t p) const {
    const std::int32_t target = targets[p];
    scales[p] = target < 0 ? A(0) : class_weights ? class_weights[target] : A(1);
  }
};

// A block adds the scales of 1024 pixels up.
template <class A>
__global__ void __launch_bounds__(kThreads)
    scale_sums_kernel(std::int64_t pixels, const A* scales, double* sums) {
  double sum = 0;
  for (int k = 0; k < int(kChunk / kThreads); ++k) {
    const std::int64_t p = blockIdx.x * kChunk + k * kThreads + threadIdx.x;
    if (p < pixels) sum += double(scales[p]);
  }
  sum = block_reduce<kThreads>(sum, Sum());
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// One block adds `count` sums up and leaves the result in sums[0].
__global__ void __launch_bounds__(kThreads) total_kernel(std::int64_t count, double* sums) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  sum = block_reduce<kThreads>(sum, Sum());
  if (threadIdx.x == 0) sums[0] = sum;
}

template <class A>
struct DivideScale {
  const double* total;
  A* scales;
  __device__ void operator()(std::int64_t p) const {
    if (*total > 0) scales[p] = A(double(scales[p]) * (1 / *total));
  }
};

/// What cross_entropy_kernel reads and writes; the last three pointers are null where they are not wanted.
template <class T>
struct CrossEntropyCall {
  std::int64_t pixels;
  const T* logits;
  const std::int32_t* targets;
  const Accumulator<T>* scales;  ///< null: 1 for every pixel that has a target
  T* dlogits;
  Accumulator<T>* losses;
  double* sums;  ///< [blocks]
};

// A block owns the rows of RowTile::pixels pixels, a group of lanes one row, which is read once and becomes
// the gradient where it lies. Floor: bytes of logits and of dlogits.
template <class T, bool Shared>
__global__ void __launch_bounds__(kTileThreads, 8)  // up to 64 registers: rather fewer blocks than a spill
    cross_entropy_kernel(RowTile t, CrossEntropyCall<T> call) {
  using A = Accumulator<T>;
  using E = std::conditional_t<Shared, A, const T>;
  const std::int64_t first = std::int64_t(blockIdx.x) * t.pixels, left = call.pixels - first;
  const int here = int(left < t.pixels ? left : t.pixels), count = here * t.classes;
  const int pixel = int(threadIdx.x) / t.lanes, lane = int(threadIdx.x) % t.lanes;
  RowView<E> x{nullptr, pixel < here ? t.classes : 0, lane, t.lanes};
  [[maybe_unused]] A* rows = nullptr;
  if constexpr (Shared) {
    ATROUS_DYN_SHARED(bytes);
    rows = reinterpret_cast<A*>(bytes);
    load_rows(t, call.logits + first * t.classes, count, rows);
    __syncthreads();
    x.at = rows + pixel * t.pitch;
  } else {
    x.at = call.logits + (first + pixel) * t.classes;
  }
  const int target = pixel < here ? call.targets[first + pixel] : -1;
  const A scale = target < 0 ? A(0) : call.scales ? call.scales[first + pixel] : A(1);
  const A largest = x.template largest<A>();
  // The target's logit, from the lane that will overwrite it.
  const bool owner = scale != A(0) && target % t.lanes == lane;
  const A own = lanes_reduce(owner ? A(x.at[target]) : A(0), t.lanes, Sum());
  const A sum = x.exponentials(largest), factor = scale / sum;
  const A loss = scale == A(0) ? A(0) : std::log(sum) + (largest - own);
  if (call.losses && lane == 0 && pixel < here) call.losses[first + pixel] = loss;
  if (call.dlogits) {
    x.each([&](int c) {
      const A share = scale == A(0) ? A(0) : x.exponential(c, largest) * factor;
      const A gradient = c == target && scale != A(0) ? share - scale : share;
      if constexpr (Shared)
        x.at[c] = gradient;
      else
        call.dlogits[(first + pixel) * t.classes + c] = T(gradient);
    });
    if constexpr (Shared) {
      __syncthreads();
      store_rows(t, rows, count, call.dlogits + first * t.classes);
    }
  }
  if (call.sums) {
    const double of_block = block_reduce<kTileThreads>(lane == 0 ? double(scale) * double(loss) : 0.0, Sum());
    if (threadIdx.x == 0) call.sums[blockIdx.x] = of_block;
  }
}

template <class T>
void run(Stream stream, const RowTile& t, const CrossEntropyCall<T>& call) {
  if (t.shared())
    ATROUS_LAUNCH((cross_entropy_kernel<T, true>), t.blocks(call.pixels), kTileThreads,
                  t.bytes(sizeof(Accumulator<T>), 1), stream, t, call);
  else
    ATROUS_LAUNCH((cross_entropy_kernel<T, false>), t.blocks(call.pixels), kTileThreads, 0, stream, t, call);
}

// One block adds the blocks' losses up.
template <class T>
__global__ void __launch_bounds__(kThreads) loss_kernel(std::int64_t count, const double* sums, T* loss) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  sum = block_reduce<kThreads>(sum, Sum());
  if (threadIdx.x == 0) *loss = T(sum);
}

template <class T>
struct TimesElement {
  const T* factor;
  __device__ Accumulator<T> operator()(Accumulator<T> x) const { return Accumulator<T>(*factor) * x; }
};

}  // namespace

template <class T>
void cross_entropy_targets(Stream stream, const SoftmaxDims& dims, std::int64_t ignore_label,
                           Span<const T> labels, Span<std::int32_t> targets, Span<std::int64_t> first_bad) {
  ATROUS_LAUNCH(no_bad_label_kernel, 1, 1, 0, stream, dims.pixels, first_bad.data());
  for_each(stream, dims.pixels,
           MakeTarget<T>{dims.classes, ignore_label, labels.data(), targets.data(), first_bad.data()});
}
template decltype(cross_entropy_targets<std::uint8_t>) cross_entropy_targets<std::uint8_t>;
template decltype(cross_entropy_targets<std::int32_t>) cross_entropy_targets<std::int32_t>;

template <class T>
void cross_entropy_losses(Stream stream, const SoftmaxDims& dims, Span<const T> logits,
                          Span<const std::int32_t> targets, Span<Accumulator<T>> losses) {
  if (dims.pixels == 0) return;
  run(stream, RowTile::of<Accumulator<T>>(dims.classes),
      CrossEntropyCall<T>{dims.pixels, logits.data(), targets.data(), nullptr, nullptr, losses.data(),
                          nullptr});
}
ATROUS_INSTANTIATE(cross_entropy_losses);

template <class T>
void cross_entropy_scales(Stream stream, const SoftmaxDims& dims, Span<const std::int32_t> targets,
                          Span<const Accumulator<T>> class_weights, double hard_fraction,
                          Span<const Accumulator<T>> losses, Span<Accumulator<T>> workspace,
                          Span<double> sums, Span<Accumulator<T>> scales) {
  using A = Accumulator<T>;
  if (dims.pixels == 0) return;
  for_each(
      stream, dims.pixels,
      MakeScale<A>{targets.data(), class_weights.empty() ? nullptr : class_weights.data(), scales.data()});
  if (hard_fraction < 1)
    keep_hardest<A>(stream, hard_fraction, targets, losses.data(), workspace.data(), scales.data());
  const std::int64_t chunks = chunks_of(dims);
  ATROUS_LAUNCH((scale_sums_kernel<A>), unsigned(chunks), kThreads, 0, stream, dims.pixels,
                static_cast<const A*>(scales.data()), sums.data());
  ATROUS_LAUNCH(total_kernel, 1, kThreads, 0, stream, chunks, sums.data());
  for_each(stream, dims.pixels, DivideScale<A>{sums.data(), scales.data()});
}
ATROUS_INSTANTIATE(cross_entropy_scales);

template <class T>
void cross_entropy(Stream stream, const SoftmaxDims& dims, Span<const T> logits,
                   Span<const std::int32_t> targets, Span<const Accumulator<T>> scales, Span<double> sums,
                   Span<T> loss, Span<T> dlogits) {
  const RowTile t = RowTile::of<Accumulator<T>>(dims.classes);
  if (dims.pixels > 0)
    run(stream, t,
        CrossEntropyCall<T>{dims.pixels, logits.data(), targets.data(), scales.data(),
                            dlogits.empty() ? nullptr : dlogits.data(), nullptr, sums.data()});
  ATROUS_LAUNCH((loss_kernel<T>), 1, kThreads, 0, stream, std::int64_t(t.blocks(dims.pixels)),
                static_cast<const double*>(sums.data()), loss.data());
}
ATROUS_INSTANTIATE(cross_entropy);

template <class T>
void cross_entropy_chain(Stream stream, Span<const T> factor, Span<const T> dlogits, Span<T> scaled) {
  elementwise(stream, TimesElement<T>{factor.data()}, scaled, dlogits);
}
ATROUS_INSTANTIATE(cross_entropy_chain);

}  // namespace atrous::kernels::cuda
