#pragma once

#include <cstdint>

#include "atrous/autograd/variable.h"
#include "atrous/kernels/window.h"

// Pooling over windows and over whole images. Shapes: x [N, H, W, C], the result [N, OH, OW, C] with
//
//   OH = (H + padding.top + padding.bottom - window) / stride + 1
//
// rounded down, or up with `ceil_mode`, where a last window that would begin beyond the image and the padding
// before it is left out (PyTorch's rule). OW alike.

namespace atrous {

struct MaxPool2dOptions {
  PerAxis window = 2;
  PerAxis stride = 2;
  Padding padding = 0;
  bool ceil_mode = false;
};

struct AvgPool2dOptions {
  PerAxis window = 2;
  PerAxis stride = 2;
  Padding padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
};

/// The largest value under each window. Padding counts as minus infinity, which is also the result for a
/// window that lies in it altogether. The gradient goes to the first of equal values; a NaN under the window
/// is the result. Backward keeps one byte an output (four if the window has more than 256 taps), not x.
///
/// Throws ShapeError if no output pixel is left, ValueError for a window or stride below 1 or a negative
/// padding.
Variable max_pool2d(const Variable& x, const MaxPool2dOptions& options = {});

/// The mean under each window: the sum of the values inside the image, divided by the number of taps inside
/// the image and its padding (`count_include_pad`), or by that of the taps inside the image. Taps of a last
/// window of ceil mode beyond the padding never count. A window without any value gives 0. Throws as
/// max_pool2d.
Variable avg_pool2d(const Variable& x, const AvgPool2dOptions& options = {});

/// The mean of each channel over the whole image: [N, H, W, C] to [N, 1, 1, C]. Throws ShapeError for an
/// image without pixels.
Variable global_avg_pool2d(const Variable& x);

}  // namespace atrous
