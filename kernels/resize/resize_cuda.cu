#include "atrous/kernels/resize/resize.h"
#include "atrous/kernels/resize/resize_body.h"
#include "atrous/kernels/resize/resize_gather.cuh"
#include "atrous/kernels/resize/resize_rows.cuh"

// f32 and bf16 bilinear resizing by the tuned kernels, in vectors of 16 bytes where the channels allow it;
// doubles, huge axes, label maps and antialiasing by the plain bodies.

namespace atrous::kernels::cuda {
namespace {

template <class T>
bool is_tuned(const ResizeDims& d) {
  constexpr std::int64_t kRow = 1 << 28;
  return sizeof(T) < 8 && is_small(rows_of(d)) && is_small(columns_of(d)) && d.channels > 0 &&
         d.in_w * d.channels < kRow && d.out_w * d.channels < kRow;
}

}  // namespace

template <class T>
void resize_bilinear_forward(Stream stream, const ResizeDims& dims, Span<const T> x, Span<T> y) {
  if (y.empty()) return;
  if constexpr (sizeof(T) < 8)
    if (is_tuned<T>(dims)) {
      const auto launch = [&](auto width) {
        constexpr int V = width();
        const unsigned tiles =
            unsigned((dims.out_w * dims.channels / V + kResizeThreads - 1) / kResizeThreads);
        const std::int64_t groups = (dims.out_h + kResizeRows - 1) / kResizeRows;
        ATROUS_LAUNCH((resize_rows_kernel<T, V>), unsigned(dims.batch * groups * tiles), kResizeThreads, 0,
                      stream, resize_work(dims, tiles), x.data(), y.data());
      };
      if (in_vectors<T>(dims.channels, x.data(), y.data()))
        return launch(std::integral_constant<int, kVector<T>>());
      return launch(std::integral_constant<int, 1>());
    }
  for_each_element(stream, dims.batch * dims.out_h * dims.out_w, dims.channels,
                   ResizeBilinearForward<T>{dims, x, y});
}
ATROUS_INSTANTIATE(resize_bilinear_forward);

template <class T>
void resize_bilinear_backward(Stream stream, const ResizeDims& dims, Span<const T> dy, Span<T> dx) {
  if (dx.empty()) return;
  if constexpr (sizeof(T) < 8)
    if (is_tuned<T>(dims)) {
      const auto launch = [&](auto width) {
        constexpr int V = width();
        const ResizeGatherTile tile = resize_gather_tile(dims, V);
        if (tile.columns == 0) return false;
        ATROUS_LAUNCH((resize_gather_kernel<T, V>),
                      unsigned(dims.batch * dims.in_h * tile.tiles * tile.chunks), kResizeThreads, 0, stream,
                      resize_work(dims, 0), tile, dy.data(), dx.data());
        return true;
      };
      if (in_vectors<T>(dims.channels, dy.data(), dx.data())
              ? launch(std::integral_constant<int, kVector<T>>())
              : launch(std::integral_constant<int, 1>()))
        return;
    }
  for_each_element(stream, dims.batch * dims.in_h * dims.in_w, dims.channels,
                   ResizeBilinearBackward<T>{dims, dy, dx});
}
ATROUS_INSTANTIATE(resize_bilinear_backward);

template <class T>
void resize_argmax(Stream stream, const ResizeDims& dims, Span<const T> x, Span<std::uint8_t> labels8,
                   Span<std::int32_t> labels32) {
  if (labels8.empty())
    for_each(stream, labels32.size(), ResizeArgmax<T, std::int32_t>{dims, x, labels32});
  else
    for_each(stream, labels8.size(), ResizeArgmax<T, std::uint8_t>{dims, x, labels8});
}
ATROUS_INSTANTIATE(resize_argmax);

template <class T>
void resize_nearest(Stream stream, const ResizeDims& dims, Span<const T> x, Span<T> y) {
  for_each_element(stream, dims.batch * dims.out_h * dims.out_w, dims.channels, ResizeNearest<T>{dims, x, y});
}
template decltype(resize_nearest<std::uint8_t>) resize_nearest<std::uint8_t>;
template decltype(resize_nearest<std::int32_t>) resize_nearest<std::int32_t>;

template <class T>
void resize_antialias_forward(Stream stream, const ResizeDims& dims, Span<const T> x, Span<T> workspace,
                              Span<T> y) {
  const std::int64_t rows = dims.batch * dims.in_h, inner = dims.out_w * dims.channels;
  const Span<T> narrow = workspace.part(0, rows * inner);
  for_each_element(stream, rows * dims.out_w, dims.channels,
                   ResizeAntialiasAxis<T>{dims.in_w, dims.out_w, dims.channels, x, narrow});
  for_each_element(stream, dims.batch * dims.out_h, inner,
                   ResizeAntialiasAxis<T>{dims.in_h, dims.out_h, inner, narrow, y});
}
ATROUS_INSTANTIATE(resize_antialias_forward);

}  // namespace atrous::kernels::cuda
