#include "atrous/kernels/layout/layout.h"

#include "atrous/kernels/for_each.h"
#include "atrous/kernels/layout/layout_body.h"

namespace atrous::kernels::cpu {

template <class T>
void copy_channels(Stream, const ChannelRunDims& dims, Span<const T> x, Span<T> y) {
  for_each_row(dims.rows, dims.count, CopyChannelsRow<T>{dims, x, y});
}
ATROUS_INSTANTIATE(copy_channels);

template <class T>
void embed_channels(Stream, const ChannelRunDims& dims, Span<const T> x, Span<T> y) {
  for_each_row(dims.rows, dims.y_channels, EmbedChannelsRow<T>{dims, x, y});
}
ATROUS_INSTANTIATE(embed_channels);

template <class T>
void pad_forward(Stream, const PadDims& dims, double value, Span<const T> x, Span<T> y) {
  for_each_row(dims.batch * dims.out_h, dims.out_w * dims.channels, PadRow<T>{dims, T(value), x, y});
}
ATROUS_INSTANTIATE(pad_forward);

}  // namespace atrous::kernels::cpu
