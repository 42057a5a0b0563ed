#include <algorithm>
#include <mutex>
#include <type_traits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/upsample/upsample.h"
#include "atrous/kernels/upsample/upsample_body.h"
#include "atrous/kernels/upsample/upsample_fast.h"
#include "atrous/kernels/upsample/upsample_tile.h"

namespace atrous::kernels {
namespace {

std::int64_t out_pixels(const ResizeDims& d) { return d.batch * d.out_h * d.out_w; }

template <class T>
bool is_fast(const ResizeDims& d) {
  return std::is_same_v<T, float> && fast::takes(d);
}

// body(p) for p in 0..n-1, each of which costs about `cost` operations.
template <class Body>
void for_each_pixel(std::int64_t n, std::int64_t cost, const Body& body) {
  parallel_for(n, 1 + (1 << 14) / (cost + 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) body(p);
  });
}

}  // namespace

template <class T>
std::int64_t upsample_cross_entropy_sums_size(const ResizeDims& d, Device device) {
  if (!device.is_cpu() && takes_upsample_tiles<T>(d)) return UpsampleTiles(d).count(d);
  if (device.is_cpu() && is_fast<T>(d)) return fast::upsample_chunks(d);
  return d.batch * d.out_h;
}
template <class T>
std::int64_t upsample_cross_entropy_workspace_size(const ResizeDims& d, bool gradient, Device device) {
  if (!device.is_cpu() && takes_upsample_tiles<T>(d))
    return gradient ? UpsampleTiles(d).count(d) * UpsampleTiles(d).points() * d.channels : 0;
  if (device.is_cpu() && is_fast<T>(d)) return gradient ? fast::upsample_chunks(d) * d.in_w * d.channels : 0;
  return 3 * out_pixels(d);
}
ATROUS_INSTANTIATE(upsample_cross_entropy_sums_size);
ATROUS_INSTANTIATE(upsample_cross_entropy_workspace_size);

namespace cpu {

template <class T>
void upsample_cross_entropy_losses(Stream, const ResizeDims& dims, Span<const T> logits,
                                   Span<const std::int32_t> targets, Span<Accumulator<T>> losses) {
  if constexpr (std::is_same_v<T, float>)
    if (fast::takes(dims)) return fast::upsample_losses(dims, logits, targets, losses);
  for_each_pixel(out_pixels(dims), 16 * dims.channels, UpsampleLoss<T>{dims, logits, targets, losses});
}
ATROUS_INSTANTIATE(upsample_cross_entropy_losses);

template <class T>
void upsample_cross_entropy(Stream, const ResizeDims& dims, Span<const T> logits,
                            Span<const std::int32_t> targets, Span<const Accumulator<T>> scales,
                            Span<double> sums, Span<Accumulator<T>> workspace, Span<T> loss,
                            Span<T> dlogits) {
  const std::int64_t pixels = out_pixels(dims), rows = dims.batch * dims.out_h;
  const auto add_up = [&] {
    double sum = 0;
    for (const double part : sums) sum += part;
    loss[0] = T(Accumulator<T>(sum));
  };
  if constexpr (std::is_same_v<T, float>)
    if (fast::takes(dims)) {
      fast::upsample_cross_entropy(dims, logits, targets, scales, sums, workspace, dlogits);
      return add_up();
    }
  const auto largest = workspace.part(0, pixels), factor = workspace.part(pixels, pixels),
             losses = workspace.part(2 * pixels, pixels);
  for_each_pixel(pixels, 16 * dims.channels,
                 UpsampleStatistics<T>{dims, logits, targets, scales, largest, factor, losses});
  for (std::int64_t row = 0; row < rows; ++row) {
    sums[row] = 0;
    for (const auto loss_of_pixel : losses.part(row * dims.out_w, dims.out_w))
      sums[row] += double(loss_of_pixel);
  }
  add_up();
  const UpsampleGradient<T> body{dims, logits, targets, scales, largest, factor, dlogits};
  for_each_pixel(dlogits.size(), 1 << 10,
                 [&](std::int64_t i) { body.element(i / dims.channels, i % dims.channels); });
}
ATROUS_INSTANTIATE(upsample_cross_entropy);

template <class T>
void upsample_confusion(Stream, const ResizeDims& dims, Span<const T> logits,
                        Span<const std::int32_t> targets, Span<std::int64_t> counts) {
  std::fill(counts.begin(), counts.end(), 0);
  if constexpr (std::is_same_v<T, float>)
    if (fast::takes(dims)) return fast::upsample_confusion(dims, logits, targets, counts);
  std::mutex lock;
  for_each_pixel(out_pixels(dims), 8 * dims.channels, [&](std::int64_t p) {
    if (targets[p] < 0) return;
    const std::int64_t found = resized_argmax(dims, logits.data(), p);
    const std::lock_guard hold(lock);
    ++counts[targets[p] * dims.channels + found];
  });
}
ATROUS_INSTANTIATE(upsample_confusion);

}  // namespace cpu
}  // namespace atrous::kernels
