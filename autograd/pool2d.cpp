#include "atrous/autograd/pool2d.h"

#include <algorithm>

#include "atrous/autograd/check.h"
#include "atrous/autograd/conv2d_options.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/pool2d/pool2d.h"

namespace atrous {
namespace {

std::int64_t positions(std::int64_t in, std::int64_t before, std::int64_t after, std::int64_t window,
                       std::int64_t stride, bool ceil_mode) {
  if (!ceil_mode) return window_positions(in, before, after, window, 1, stride);
  const std::int64_t room = in + before + after - window + stride - 1;  // rounded up from here on
  if (room < 0) return 0;
  const std::int64_t out = room / stride + 1;
  return (out - 1) * stride >= in + before ? out - 1 : out;
}

template <class Options>
kernels::Pool2dDims checked_dims(Op op, const Variable& x, const Options& o, bool count_include_pad) {
  check_rank(op, "x", x, 4, "[N, H, W, C]");
  check_sliding(op, o.stride, o.padding, 1);
  ATROUS_CHECK(ValueError,
               o.window.h >= 1 && o.window.w >= 1 && o.window.h < (1 << 24) && o.window.w < (1 << 24) &&
                   o.window.h * o.window.w < std::int64_t{1} << 31,
               op_name(op), "window ", o.window, " must be at least 1x1 and have fewer than 2^31 taps");
  const Padding& p = o.padding;
  const kernels::Pool2dDims d{
      .batch = x.dim(0),
      .in_h = x.dim(1),
      .in_w = x.dim(2),
      .channels = x.dim(3),
      .out_h = positions(x.dim(1), p.top, p.bottom, o.window.h, o.stride.h, o.ceil_mode),
      .out_w = positions(x.dim(2), p.left, p.right, o.window.w, o.stride.w, o.ceil_mode),
      .window = o.window,
      .stride = o.stride,
      .padding = p,
      .count_include_pad = count_include_pad};
  ATROUS_CHECK(ShapeError, d.out_h > 0 && d.out_w > 0, op_name(op), "window ", o.window, " with padding ", p,
               " leaves no output pixel of x ", x.shape());
  return d;
}

// The taps' tensor seen as the kernel wants it.
kernels::MaxTaps taps_of(Tensor& taps) {
  if (taps.dtype() == Dtype::u8) return {.narrow = taps.span<std::uint8_t>(), .wide = {}};
  return {.narrow = {}, .wide = taps.span<std::int32_t>()};
}

}  // namespace

Variable max_pool2d(const Variable& x, const MaxPool2dOptions& options) {
  const kernels::Pool2dDims dims = checked_dims(Op::max_pool2d, x, options, true);
  const Shape shape = {dims.batch, dims.out_h, dims.out_w, dims.channels};
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  Tensor taps;
  if (wants_grad({x})) taps = Tensor::empty(shape, dims.taps() <= 256 ? Dtype::u8 : Dtype::i32, x.device());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::max_pool2d_forward<T>(x.stream(), dims, x.value().span<T>(), y.span<T>(),
                                   taps.defined() ? taps_of(taps) : kernels::MaxTaps());
  });
  return record(Op::max_pool2d, y, {x}, [dims, taps](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0), where = taps;
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::max_pool2d_backward<T>(dy.stream(), dims, dy.span<T>(), taps_of(where), dx.span<T>());
    });
  });
}

Variable avg_pool2d(const Variable& x, const AvgPool2dOptions& options) {
  const kernels::Pool2dDims dims = checked_dims(Op::avg_pool2d, x, options, options.count_include_pad);
  Tensor y = Tensor::empty({dims.batch, dims.out_h, dims.out_w, dims.channels}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::avg_pool2d_forward<T>(x.stream(), dims, x.value().span<T>(), y.span<T>());
  });
  return record(Op::avg_pool2d, y, {x}, [dims](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::avg_pool2d_backward<T>(dy.stream(), dims, dy.span<T>(), dx.span<T>());
    });
  });
}

Variable global_avg_pool2d(const Variable& x) {
  constexpr Op op = Op::global_avg_pool2d;
  check_rank(op, "x", x, 4, "[N, H, W, C]");
  const std::int64_t batch = x.dim(0), height = x.dim(1), width = x.dim(2), channels = x.dim(3);
  ATROUS_CHECK(ShapeError, height > 0 && width > 0, op_name(op), "x ", x.shape(), " has no pixels");
  Tensor y = Tensor::empty({batch, 1, 1, channels}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::global_avg_pool2d_forward<T>(x.stream(), batch, height, width, channels, x.value().span<T>(),
                                          y.span<T>());
  });
  return record(op, y, {x}, [batch, height, width, channels](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::global_avg_pool2d_backward<T>(dy.stream(), batch, height * width, channels, dy.span<T>(),
                                             dx.span<T>());
    });
  });
}

}  // namespace atrous
