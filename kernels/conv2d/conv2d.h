#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"
#include "atrous/kernels/window.h"

// The convolution and its gradients. A convolution slides a window of window_h x window_w taps over an image;
// each tap holds a matrix of in_channels x out_channels weights. Taps lie `rate` input pixels apart (rate > 1
// is the atrous convolution of DeepLab; other places call it dilation), windows `stride` pixels apart; reads
// outside of the image count as zero.
//
// On the CPU, single precision takes the tuned kernels of this folder: direct.h for every shape, winograd.h
// where it needs fewer products, in_place.h for short sums, weight_gradient.h; double and bf16 take the plain
// loops of conv2d_body.h. On CUDA, double takes those same loops, the others implicit_gemm.cuh and
// weight_gemm.cuh, and 1x1 windows gemm.h. All add up every output in one order that follows from the sizes
// alone.

namespace atrous::kernels {

/// Sizes of one convolution. out_h and out_w are window_positions() of the axis.
struct Conv2dDims {
  std::int64_t batch = 0, in_h = 0, in_w = 0, in_channels = 0;
  std::int64_t out_h = 0, out_w = 0, out_channels = 0;
  std::int64_t window_h = 1, window_w = 1;
  PerAxis stride = 1;
  Padding padding = 0;
  PerAxis rate = 1;
  /// Asks for plain sums: no algorithm whose rounding depends on the size of the map or the place in it.
  bool exact = false;
  /// Lets f32 factors be rounded to TF32 (10 bits of mantissa) where the device multiplies those faster; sums
  /// stay f32. Of no effect on the CPU and for other types.
  bool allow_tf32 = false;
  /// Lets the forward pass in f32 round its factors to bf16 (7 bits of mantissa) where the CPU multiplies
  /// those faster; sums stay f32. Of no effect on CUDA, for other types, where Winograd's way needs fewer
  /// products still, and for sizes that gain nothing (direct.h).
  bool allow_bf16 = false;

  ATROUS_HD constexpr std::int64_t out_pixels() const { return batch * out_h * out_w; }
  ATROUS_HD constexpr std::int64_t in_pixels() const { return batch * in_h * in_w; }
  ATROUS_HD constexpr std::int64_t taps() const { return window_h * window_w; }
  bool operator==(const Conv2dDims&) const = default;
};

/// out_h and out_w from the other sizes; 0 where the window does not fit.
constexpr Conv2dDims with_output_size(Conv2dDims d) {
  d.out_h = window_positions(d.in_h, d.padding.top, d.padding.bottom, d.window_h, d.rate.h, d.stride.h);
  d.out_w = window_positions(d.in_w, d.padding.left, d.padding.right, d.window_w, d.rate.w, d.stride.w);
  return d;
}

/// What is done to an output before it is written.
enum class Activation { none, relu, relu6, hard_swish };

/// The end of a convolution: y = activation(T(sum + bias) + residual). Inference puts the folded batch norm,
/// the shortcut of a residual unit and the activation here; training uses the bias alone. In f32 and
/// f64 the bits are those of the three steps one after the other.
template <class T>
struct Conv2dEpilogue {
  Span<const T> bias = {};  ///< [out_channels], or empty for none
  Activation activation = Activation::none;
  Span<const T> residual = {};  ///< shaped like y, or empty for none; conv2d_forward(_packed) alone takes it
  /// Channels of a pixel of y where y is a part of a concatenation: it begins at the part's first channel,
  /// and the channels that are not its own stay as they are. 0: out_channels. Of conv2d_forward(_packed) on
  /// the CPU, without a residual.
  std::int64_t y_channels = 0;

  ATROUS_HD std::int64_t y_channels_or(std::int64_t own) const { return y_channels ? y_channels : own; }
};

/// Elements of T that the kernels below need as `workspace` on a device, aligned to 16 bytes. Its content is
/// undefined before and after.
template <class T>
std::int64_t conv2d_forward_workspace_size(const Conv2dDims& dims, Device device = kCpu);
template <class T>
std::int64_t conv2d_forward_statistics_workspace_size(const Conv2dDims& dims, Device device = kCpu);
template <class T>
std::int64_t conv2d_forward_statistics_sums_size(const Conv2dDims& dims, Device device = kCpu);
template <class T>
std::int64_t conv2d_backward_input_workspace_size(const Conv2dDims& dims, Device device = kCpu);
template <class T>
std::int64_t conv2d_backward_weight_workspace_size(const Conv2dDims& dims, Device device = kCpu);
template <class T>
std::int64_t conv2d_backward_bias_workspace_size(const Conv2dDims& dims, Device device = kCpu);

/// The convolution.
///
///   y[n,oh,ow,k] = activation(bias[k] + sum over r,s,c of
///                  x[n, oh*stride.h + r*rate.h - padding.top, ow*stride.w + s*rate.w - padding.left, c] *
///                  weight[r,s,c,k] + residual[n,oh,ow,k])
///
///   x         [batch, in_h, in_w, in_channels]; reads outside of it count as zero
///   weight    [window_h, window_w, in_channels, out_channels]
///   y         [batch, out_h, out_w, out_channels], overwritten
ATROUS_KERNEL(conv2d_forward, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
              const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y);

/// conv2d_forward, and what a batch norm in training wants to know of its y:
///
///   mean[k] = mean over n,oh,ow of y[n,oh,ow,k],  var[k] = mean of (y[n,oh,ow,k] - mean[k])^2
///
/// of y as it is stored (rounded to T, after the epilogue), exact also where a mean is much larger than the
/// deviation. On CUDA the kernel takes them from its tiles before it writes them; elsewhere y is read again.
///
///   workspace  of conv2d_forward_statistics_workspace_size()
///   sums       doubles, of conv2d_forward_statistics_sums_size()
///   mean, var  [out_channels], overwritten; undefined if there is no output pixel
ATROUS_KERNEL(conv2d_forward_statistics, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
              const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<double> sums, Span<T> y,
              Span<double> mean, Span<double> var);

/// Weights in the order in which the kernels of this device and these sizes read them, for inference: packed
/// once, used for every image of the same size, and of those sizes that conv2d_same_packing() names. The
/// packed form is not to be stored in files.
template <class T>
std::int64_t conv2d_packed_weight_size(const Conv2dDims& dims, Device device = kCpu);
template <class T>
std::int64_t conv2d_forward_packed_workspace_size(const Conv2dDims& dims, Device device = kCpu);
/// Whether a weight that was packed for the sizes `a` is packed for `b` too.
template <class T>
bool conv2d_same_packing(const Conv2dDims& a, const Conv2dDims& b, Device device = kCpu);
ATROUS_KERNEL(conv2d_pack_weight, const Conv2dDims& dims, Span<const T> weight, Span<T> packed);
/// conv2d_forward with the same bits, from packed weights.
ATROUS_KERNEL(conv2d_forward_packed, const Conv2dDims& dims, Span<const T> x, Span<const T> packed,
              const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y);

/// The gradient by the input: every element of dx gathers from the windows that saw it.
///
///   dx[n,h,w,c] = sum over r,s,k of dy[n,oh,ow,k] * weight[r,s,c,k]
///                 where oh*stride.h + r*rate.h - padding.top = h and the same for columns
///
///   dy [batch, out_h, out_w, out_channels]; dx [batch, in_h, in_w, in_channels], overwritten
ATROUS_KERNEL(conv2d_backward_input, const Conv2dDims& dims, Span<const T> dy, Span<const T> weight,
              Span<T> workspace, Span<T> dx);

/// The gradient by the weight.
///
///   dweight[r,s,c,k] = sum over n,oh,ow of
///                      x[n, oh*stride.h + r*rate.h - padding.top, ow*stride.w + s*rate.w - padding.left, c]
///                      * dy[n,oh,ow,k]
///
///   x, dy as above; dweight [window_h, window_w, in_channels, out_channels], overwritten
ATROUS_KERNEL(conv2d_backward_weight, const Conv2dDims& dims, Span<const T> x, Span<const T> dy,
              Span<T> workspace, Span<T> dweight);

/// The gradient by the bias: dbias[k] = sum over n,oh,ow of dy[n,oh,ow,k]. Reads out_pixels() and
/// out_channels alone, so it serves every operation that adds one number to each channel.
ATROUS_KERNEL(conv2d_backward_bias, const Conv2dDims& dims, Span<const T> dy, Span<T> workspace,
              Span<T> dbias);

}  // namespace atrous::kernels
