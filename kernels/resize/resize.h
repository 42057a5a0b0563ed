#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// Resizing of images, logits and label maps. Bilinear resizing reads the four input pixels around the place
// that an output pixel maps to; the map is resize_rule.h's: corners aligned, or half-pixel centres. It does
// not smooth: an image made much smaller loses what lies between the pixels read, which is what
// resize_antialias_forward is for. Label maps are resized by the nearest pixel, because the mean of two
// classes is none. Any size from 1 on goes to any other. All maps are [batch, height, width, channels].

namespace atrous::kernels {

struct ResizeDims {
  std::int64_t batch, in_h, in_w, out_h, out_w, channels;
  bool align_corners;
  /// Channels of a pixel of y where y is a part of a concatenation: it begins at the part's first channel,
  /// and the channels that are not its own stay as they are. 0: channels. Of resize_bilinear_forward on the
  /// CPU.
  std::int64_t y_channels = 0;

  ATROUS_HD std::int64_t y_channels_or_own() const { return y_channels ? y_channels : channels; }
};

/// Bilinear resize of every channel plane.
///   x  [batch, in_h, in_w, channels]
///   y  [batch, out_h, out_w, channels], overwritten
ATROUS_KERNEL(resize_bilinear_forward, const ResizeDims& dims, Span<const T> x, Span<T> y);
/// Its adjoint: each dx gathers the outputs that read it, in order.
///   dy [batch, out_h, out_w, channels]
///   dx [batch, in_h, in_w, channels], overwritten
ATROUS_KERNEL(resize_bilinear_backward, const ResizeDims& dims, Span<const T> dy, Span<T> dx);

/// The class of the greatest bilinearly upsampled logit, without the upsampled logits: the same bits as
/// resize_bilinear_forward and argmax_channels. Of labels8 and labels32 the one that is not empty is
/// overwritten.
///   x       [batch, in_h, in_w, channels], logits
///   labels  [batch, out_h, out_w], 0..channels-1; labels8 for at most 256 channels
ATROUS_KERNEL(resize_argmax, const ResizeDims& dims, Span<const T> x, Span<std::uint8_t> labels8,
              Span<std::int32_t> labels32);

/// The nearest pixel of every channel plane, for label maps: T is std::uint8_t or std::int32_t.
///
///   corners aligned      input floor(o (in - 1) / (out - 1) + 1/2): TensorFlow's rule, halves go up
///   half-pixel centres   input floor((o + 1/2) in / out): PyTorch's "nearest-exact"
ATROUS_KERNEL(resize_nearest, const ResizeDims& dims, Span<const T> x, Span<T> y);

/// Elements of T that resize_antialias_forward wants as its workspace.
std::int64_t resize_antialias_workspace_size(const ResizeDims& dims);
/// Bilinear resize that smooths first where it shrinks: the triangle filter, stretched by the scale.
///
///   y[o] = sum over i of t((i + 1/2 - c) / f) x[i] / sum over i of t((i + 1/2 - c) / f)
///   c = (o + 1/2) in / out, f = max(in / out, 1), t(u) = max(0, 1 - |u|)
///
/// by columns, then by rows. Half-pixel centres always (align_corners is ignored). Where the axis grows it is
/// resize_bilinear_forward's half-pixel rule. Source: Pillow's BILINEAR filter (Resample.c), there on bytes.
///   x  [batch, in_h, in_w, channels]
///   y  [batch, out_h, out_w, channels], overwritten
ATROUS_KERNEL(resize_antialias_forward, const ResizeDims& dims, Span<const T> x, Span<T> workspace,
              Span<T> y);

}  // namespace atrous::kernels
