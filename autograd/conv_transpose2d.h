#pragma once

#include "atrous/autograd/variable.h"
#include "atrous/core/factor_rounding.h"
#include "atrous/kernels/window.h"

// The transposed convolution: upsampling with learned weights. Other places call it deconvolution.

namespace atrous {

/// `output_padding` makes the result larger at the bottom and right (of the input sizes that a strided
/// convolution maps to one size, it picks one); it must be smaller than the stride or the rate of its axis.
struct ConvTranspose2dOptions {
  PerAxis stride = 1;
  Padding padding = 0;
  PerAxis output_padding = 0;
  PerAxis rate = 1;
  bool allow_tf32 = tf32_allowed();  ///< as in Conv2dOptions
};

/// Every input pixel adds its window of weights to the output, windows `stride` output pixels apart: the
/// adjoint of conv2d with the same options by its input.
///
///   y[n,i,j,k] = bias[k] + sum over r,s,c of x[n,h,w,c] * weight[r,s,k,c]
///                where h*stride.h + r*rate.h - padding.top = i and w*stride.w + s*rate.w - padding.left = j
///
///   x        [N, H, W, C]
///   weight   [R, S, K, C]: C input channels, K output channels
///   bias     [K], or undefined for none
///   returns  [N, OH, OW, K],  OH = (H-1)*stride.h - padding.top - padding.bottom + rate.h*(R-1) + 1 +
///            output_padding.h; OW alike
///
/// Padding is taken away from the output. Throws ShapeError if C differs between x and weight or no output
/// pixel is left, ValueError for a stride or rate below 1, a negative padding, or an output padding out of
/// range.
Variable conv_transpose2d(const Variable& x, const Variable& weight, const Variable& bias,
                          const ConvTranspose2dOptions& options = {});

}  // namespace atrous
