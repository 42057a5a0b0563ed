#pragma once

#include <cstdint>

#include "atrous/autograd/variable.h"

// Resizing of feature maps and logits [N, H, W, C] to a stated number of rows and columns. Networks for dense
// prediction compute on a coarse grid and stretch their logits back over the image; whether the corner
// pixels' centres or the image's outer edges are laid upon each other (align_corners) must be the same in
// training and in use.

namespace atrous {

struct ResizeOptions {
  std::int64_t out_h = 0, out_w = 0;  ///< pixels, at least 1
  /// True: the centres of the corner pixels coincide, s = o (in - 1) / (out - 1), and 0 where out is 1.
  /// False: half-pixel centres, s = max(0, (o + 1/2) in / out - 1/2).
  bool align_corners = true;
};

/// Bilinear resize, up or down, without smoothing (a map made smaller skips pixels).
///
///   y[n,oh,ow,c] = the bilinear interpolation of x[n,:,:,c] at row s(oh), column s(ow)
///
///   x        [N, H, W, C]
///   returns  [N, out_h, out_w, C]
///
/// The rules are PyTorch's (interpolate, mode "bilinear"). Throws ShapeError unless x has four axes and at
/// least one pixel, ValueError unless out_h and out_w are at least 1.
Variable resize_bilinear(const Variable& x, const ResizeOptions& options);
/// resize_bilinear(x) as channels [first, first + C) of y [N, out_h, out_w, channels of all], whose others
/// stay as they are: a concatenation without a pass of its own. Without a record; on the CPU.
void resize_bilinear_into(const Tensor& x, const ResizeOptions& options, std::int64_t first, Tensor& y);

/// The class of the greatest bilinearly resized logit, the first of equals; the same as resize_bilinear and
/// argmax_channels, but the resized logits are never stored. Not differentiable.
///
///   logits   [N, H, W, C], f32 or f64, C >= 1
///   returns  [N, out_h, out_w], u8 for C <= 255, else i32
Tensor upsample_argmax(const Tensor& logits, const ResizeOptions& options);

}  // namespace atrous
