#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// Kernels that move elements and compute nothing: channels between tensors, and borders around images.

namespace atrous::kernels {

/// A run of `count` channels, from channel x_begin of x [rows, x_channels] to channel y_begin of
/// y [rows, y_channels]. A row is everything but the last axis.
struct ChannelRunDims {
  std::int64_t rows;
  std::int64_t x_channels, x_begin;  // x_channels = 0: every row is the same one of x
  std::int64_t y_channels, y_begin;
  std::int64_t count;
};

/// y[row, y_begin + c] = x[row, x_begin + c] for c < count. The other channels of y stay as they are: a
/// concatenation is one call for each part.
ATROUS_KERNEL(copy_channels, const ChannelRunDims& dims, Span<const T> x, Span<T> y);

/// The same, and zeros in the other channels of y: the backward of taking a slice.
ATROUS_KERNEL(embed_channels, const ChannelRunDims& dims, Span<const T> x, Span<T> y);

/// A border around x [batch, in_h, in_w, channels]: y [batch, out_h, out_w, channels] has x's pixel (0, 0) at
/// (top, left). Negative offsets, and outputs that end before x does, crop.
struct PadDims {
  std::int64_t batch, in_h, in_w, channels;
  std::int64_t top, left, out_h, out_w;
  /// The way back: the dims under which the gradient of y becomes the gradient of x (with value 0).
  constexpr PadDims transposed() const { return {batch, out_h, out_w, channels, -top, -left, in_h, in_w}; }
};

/// y[n,oh,ow,c] = x[n, oh - top, ow - left, c], or `value` (rounded to T) where that is outside of x.
ATROUS_KERNEL(pad_forward, const PadDims& dims, double value, Span<const T> x, Span<T> y);

}  // namespace atrous::kernels
