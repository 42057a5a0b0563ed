#pragma once

#include "atrous/autograd/channel_statistics.h"
#include "atrous/autograd/conv2d_options.h"
#include "atrous/autograd/variable.h"

// The convolution: the operation in which a dense-prediction network spends nearly all of its time. One
// function covers ordinary, strided and atrous convolutions with any window and any padding.

namespace atrous {

/// Atrous convolution: a convolution whose taps lie `rate` input pixels apart (rate 1 is the ordinary one).
///
///   y[n,oh,ow,k] = bias[k] + sum over r,s,c of
///       x[n, oh*stride.h + r*rate.h - padding.top, ow*stride.w + s*rate.w - padding.left, c] *
///       weight[r,s,c,k]
///
///   x        [N, H, W, C]; reads outside of it count as zero
///   weight   [R, S, C, K]
///   bias     [K], or an undefined Variable for none
///   returns  [N, OH, OW, K],  OH = (H + padding.top + padding.bottom - rate.h*(R-1) - 1) / stride.h + 1 and
///            OW alike, rounded down
///
/// The window may be larger than the map as long as it fits into the padded one; taps that always lie in the
/// padding contribute nothing and get gradient 0.
///
/// Throws ShapeError if a rank or C differs, an axis of the weight is empty or no output pixel is left;
/// ValueError for a stride or rate below 1 or a padding below 0; DtypeError or DeviceError if the inputs do
/// not lie in one place in one type.
/// Source: Chen et al., "DeepLab", TPAMI 2018, section 3.1.
Variable conv2d(const Variable& x, const Variable& weight, const Variable& bias,
                const Conv2dOptions& options = {});

struct Conv2dWithStatistics {
  Variable y;
  ChannelStatistics statistics;  ///< of y as it is stored; not known if y has no pixel
};

/// conv2d for a batch norm in training behind it. On CUDA the statistics are taken from the outputs before
/// they are written: batch_norm need not read them once more.
Conv2dWithStatistics conv2d_with_statistics(const Variable& x, const Variable& weight, const Variable& bias,
                                            const Conv2dOptions& options = {});

}  // namespace atrous
