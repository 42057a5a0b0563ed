#include "atrous/kernels/upsample/upsample.h"
#include "atrous/kernels/upsample/upsample_body.h"
#include "atrous/kernels/upsample/upsample_loss.cuh"

namespace atrous::kernels::cuda {
namespace {

// One row of the losses that the plain bodies left.
template <class A>
struct SumOfRow {
  std::int64_t width;
  const A* losses;
  double* sums;
  __device__ void operator()(std::int64_t row) const {
    double sum = 0;
    for (std::int64_t i = 0; i < width; ++i) sum += double(losses[row * width + i]);
    sums[row] = sum;
  }
};

struct Zero {
  std::int64_t* counts;
  __device__ void operator()(std::int64_t i) const { counts[i] = 0; }
};

__device__ void count_one(std::int64_t* counts, std::int64_t cell, unsigned long long pixels) {
  static_assert(sizeof(unsigned long long) == sizeof(std::int64_t));
  atomicAdd(reinterpret_cast<unsigned long long*>(counts) + cell, pixels);
}

template <class T>
struct UpsampleConfusion {
  ResizeDims d;
  const T* logits;
  const std::int32_t* targets;
  std::int64_t* counts;
  __device__ void operator()(std::int64_t p) const {
    if (targets[p] >= 0) count_one(counts, targets[p] * d.channels + resized_argmax(d, logits, p), 1);
  }
};

constexpr int kSharedClasses = 64;  // up to this many, a tile counts in shared memory first

// A block owns a tile of fine pixels; `cells` counters in shared memory, or none.
template <class T>
__global__ void __launch_bounds__(kUpsampleThreads)
    upsample_confusion_kernel(UpsampleWork g, int cells, const T* logits, const std::int32_t* targets,
                              std::int64_t* counts) {
  ATROUS_DYN_SHARED(shared);
  UpsampleTile<T> tile(g, shared);
  auto* const local = reinterpret_cast<unsigned*>(tile.coarse + g.tiles.points() * g.classes);
  for (int i = int(threadIdx.x); i < cells; i += kUpsampleThreads) local[i] = 0;
  tile.load(logits);
  __syncthreads();
  for (int i = 0; i < kUpsamplePixels; ++i) {
    const std::int64_t p = tile.index(i);
    const int target = p < 0 ? -1 : targets[p];
    if (target < 0) continue;
    const auto pixel = tile.pixel(i);
    // Rounded to T, as if the fine logits had been stored.
    const auto logit = [&](int c) { return float(Accumulator<T>(T(pixel.logit(c)))); };
    float best = logit(0);
    int arg = 0;
    for (int c = 1; c < g.classes; ++c) {
      const float value = logit(c);
      if (value > best) best = value, arg = c;
    }
    if (cells > 0)
      atomicAdd(local + target * g.classes + arg, 1u);
    else
      count_one(counts, std::int64_t(target) * g.classes + arg, 1);
  }
  __syncthreads();
  for (int i = int(threadIdx.x); i < cells; i += kUpsampleThreads)
    if (local[i] > 0) count_one(counts, i, local[i]);
}

// More shared memory than every kernel may have by itself is asked for.
template <class Kernel>
unsigned shared_for(Kernel* kernel, std::int64_t bytes) {
  if (bytes > 48 << 10)
    ATROUS_CUDA_CHECK("upsample",
                      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
  return unsigned(bytes);
}

std::int64_t fine_pixels(const ResizeDims& d) { return d.batch * d.out_h * d.out_w; }

}  // namespace

template <class T>
void upsample_cross_entropy_losses(Stream stream, const ResizeDims& dims, Span<const T> logits,
                                   Span<const std::int32_t> targets, Span<Accumulator<T>> losses) {
  if constexpr (sizeof(T) < 8)
    if (takes_upsample_tiles<T>(dims) && dims.batch > 0) {
      const unsigned bytes = shared_for(upsample_losses_kernel<T>, upsample_shared_bytes(dims));
      ATROUS_LAUNCH((upsample_losses_kernel<T>), unsigned(UpsampleTiles(dims).count(dims)), kUpsampleThreads,
                    bytes, stream, UpsampleWork(dims), logits.data(), targets.data(), losses.data());
      return;
    }
  for_each(stream, fine_pixels(dims), UpsampleLoss<T>{dims, logits, targets, losses});
}
ATROUS_INSTANTIATE(upsample_cross_entropy_losses);

template <class T>
void upsample_cross_entropy(Stream stream, const ResizeDims& dims, Span<const T> logits,
                            Span<const std::int32_t> targets, Span<const Accumulator<T>> scales,
                            Span<double> sums, Span<Accumulator<T>> workspace, Span<T> loss,
                            Span<T> dlogits) {
  const auto add_up = [&] {
    ATROUS_LAUNCH((sum_losses_kernel<T>), 1u, kUpsampleThreads, 0, stream, sums.size(), sums.data(),
                  loss.data());
  };
  if constexpr (sizeof(T) < 8)
    if (takes_upsample_tiles<T>(dims)) {
      const unsigned tiles = unsigned(UpsampleTiles(dims).count(dims));
      const std::int64_t bytes = upsample_shared_bytes(dims);
      const auto launch = [&](auto* kernel) {
        const unsigned shared = shared_for(kernel, bytes);
        if (tiles > 0)
          ATROUS_LAUNCH(kernel, tiles, kUpsampleThreads, shared, stream, UpsampleWork(dims), logits.data(),
                        targets.data(), scales.data(), sums.data(), workspace.data());
      };
      if (dlogits.empty()) {
        launch(upsample_loss_kernel<T, false>);
      } else {
        launch(upsample_loss_kernel<T, true>);
        for_each_element(stream, dims.batch * dims.in_h * dims.in_w, dims.channels,
                         UpsampleParts<T>{UpsampleWork(dims), workspace.data(), dlogits.data()});
      }
      return add_up();
    }
  using A = Accumulator<T>;
  const std::int64_t pixels = fine_pixels(dims);
  const Span<A> largest = workspace.part(0, pixels), factor = workspace.part(pixels, pixels),
                losses = workspace.part(2 * pixels, pixels);
  for_each(stream, pixels, UpsampleStatistics<T>{dims, logits, targets, scales, largest, factor, losses});
  for_each(stream, dims.batch * dims.out_h, SumOfRow<A>{dims.out_w, losses.data(), sums.data()});
  add_up();
  if (!dlogits.empty())
    for_each_element(stream, dims.batch * dims.in_h * dims.in_w, dims.channels,
                     UpsampleGradient<T>{dims, logits, targets, scales, largest, factor, dlogits});
}
ATROUS_INSTANTIATE(upsample_cross_entropy);

template <class T>
void upsample_confusion(Stream stream, const ResizeDims& dims, Span<const T> logits,
                        Span<const std::int32_t> targets, Span<std::int64_t> counts) {
  for_each(stream, counts.size(), Zero{counts.data()});
  if constexpr (sizeof(T) < 8)
    if (takes_upsample_tiles<T>(dims) && dims.batch > 0) {
      const int cells = dims.channels <= kSharedClasses ? int(dims.channels * dims.channels) : 0;
      const UpsampleTiles tiles(dims);
      const std::int64_t bytes = 4 * (kUpsampleTaps + tiles.points() * dims.channels + cells);
      const unsigned shared = shared_for(upsample_confusion_kernel<T>, bytes);
      ATROUS_LAUNCH((upsample_confusion_kernel<T>), unsigned(tiles.count(dims)), kUpsampleThreads, shared,
                    stream, UpsampleWork(dims), cells, logits.data(), targets.data(), counts.data());
      return;
    }
  for_each(stream, fine_pixels(dims),
           UpsampleConfusion<T>{dims, logits.data(), targets.data(), counts.data()});
}
ATROUS_INSTANTIATE(upsample_confusion);

}  // namespace atrous::kernels::cuda
