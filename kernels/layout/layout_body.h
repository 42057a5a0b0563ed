#pragma once

#include "atrous/core/host_device.h"
#include "atrous/kernels/layout/layout.h"

// The arithmetic of one row of each kernel of layout.h.

namespace atrous::kernels {

template <class T>
struct CopyChannelsRow {
  ChannelRunDims dims;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t row) const {
    const T* from = x.data() + row * dims.x_channels + dims.x_begin;
    T* to = y.data() + row * dims.y_channels + dims.y_begin;
    for (std::int64_t c = 0; c < dims.count; ++c) to[c] = from[c];
  }
};

template <class T>
struct EmbedChannelsRow {
  ChannelRunDims dims;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t row) const {
    const T* from = x.data() + row * dims.x_channels + dims.x_begin;
    T* to = y.data() + row * dims.y_channels;
    for (std::int64_t c = 0; c < dims.y_begin; ++c) to[c] = T(0);
    for (std::int64_t c = 0; c < dims.count; ++c) to[dims.y_begin + c] = from[c];
    for (std::int64_t c = dims.y_begin + dims.count; c < dims.y_channels; ++c) to[c] = T(0);
  }
};

/// One row of pixels of the output, counted through the batch.
template <class T>
struct PadRow {
  PadDims dims;
  T value;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t row) const {
    const std::int64_t n = row / dims.out_h, h = row % dims.out_h - dims.top;
    T* to = y.data() + row * dims.out_w * dims.channels;
    const std::int64_t size = dims.out_w * dims.channels;
    // Elements begin..end-1 of the row come from x.
    std::int64_t begin = clamp(dims.left, dims.out_w) * dims.channels;
    std::int64_t end = clamp(dims.left + dims.in_w, dims.out_w) * dims.channels;
    if (h < 0 || h >= dims.in_h) begin = end = size;
    const std::int64_t shift = ((n * dims.in_h + h) * dims.in_w - dims.left) * dims.channels;
    for (std::int64_t i = 0; i < begin; ++i) to[i] = value;
    for (std::int64_t i = begin; i < end; ++i) to[i] = x.data()[shift + i];
    for (std::int64_t i = end; i < size; ++i) to[i] = value;
  }

 private:
  ATROUS_HD static std::int64_t clamp(std::int64_t v, std::int64_t high) {
    return v < 0 ? 0 : v > high ? high : v;
  }
};

}  // namespace atrous::kernels
