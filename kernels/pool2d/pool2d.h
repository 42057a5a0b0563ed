#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"
#include "atrous/kernels/window.h"

// Pooling: each channel of an output pixel is the maximum or the mean of that channel under a window.
// Floats with 16 channels or more take pool2d_fast.h, everything else the plain loops of pool2d_body.h.

namespace atrous::kernels {

struct Pool2dDims {
  std::int64_t batch, in_h, in_w, channels, out_h, out_w;
  PerAxis window, stride;
  Padding padding;
  bool count_include_pad;  ///< average pooling: whether padding counts in the divisor

  std::int64_t taps() const { return window.h * window.w; }
};

/// Where each maximum was found: tap r*window.w + s of the output's window. One byte an output where the
/// window has at most 256 taps, else four; both spans empty where nobody will ask.
struct MaxTaps {
  Span<std::uint8_t> narrow;
  Span<std::int32_t> wide;
};

/// y[n,oh,ow,c] = max over taps r,s inside the image of x[n, oh*stride + r - padding.top, ow*stride + s -
/// padding.left, c]; the first of equal values is taken, a NaN before anything else. A window that lies in
/// the padding altogether gives minus infinity.
///
///   x     [N, H, W, C]
///   y     [N, OH, OW, C]
///   taps  [N, OH, OW, C] in one of its spans, or empty
ATROUS_KERNEL(max_pool2d_forward, const Pool2dDims& dims, Span<const T> x, Span<T> y, MaxTaps taps);
/// dx[n,h,w,c] = sum of dy over the outputs whose maximum was found there.
ATROUS_KERNEL(max_pool2d_backward, const Pool2dDims& dims, Span<const T> dy, MaxTaps taps, Span<T> dx);

/// y[n,oh,ow,c] = sum over the taps inside the image / divisor(oh,ow); 0 for a window that lies in the
/// padding altogether. The divisor is the number of taps inside the image; with count_include_pad that of the
/// taps inside the image and its padding (a last window of ceil mode may reach beyond both).
ATROUS_KERNEL(avg_pool2d_forward, const Pool2dDims& dims, Span<const T> x, Span<T> y);
/// dx[n,h,w,c] = sum over the windows that hold (h,w) of dy[n,oh,ow,c] / divisor(oh,ow)
ATROUS_KERNEL(avg_pool2d_backward, const Pool2dDims& dims, Span<const T> dy, Span<T> dx);

/// y[n,c] = mean over h,w of x[n,h,w,c], as sums of rows, then their sum.
ATROUS_KERNEL(global_avg_pool2d_forward, std::int64_t batch, std::int64_t height, std::int64_t width,
              std::int64_t channels, Span<const T> x, Span<T> y);
/// dx[n,h,w,c] = dy[n,c] / (H*W)
ATROUS_KERNEL(global_avg_pool2d_backward, std::int64_t batch, std::int64_t pixels, std::int64_t channels,
              Span<const T> dy, Span<T> dx);

}  // namespace atrous::kernels
