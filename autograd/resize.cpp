#include "atrous/autograd/resize.h"

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/resize/resize.h"

namespace atrous {
namespace {

kernels::ResizeDims resize_dims(const char* op, const char* role, const Tensor& x,
                                const ResizeOptions& options) {
  ATROUS_CHECK(ShapeError, x.rank() == 4, op, role, ' ', x.shape(), " must be [N, H, W, C]");
  ATROUS_CHECK(ShapeError, x.dim(1) > 0 && x.dim(2) > 0, op, role, ' ', x.shape(), " has no pixels");
  ATROUS_CHECK(ValueError, options.out_h > 0 && options.out_w > 0, op, "asked for ", options.out_h,
               " rows and ", options.out_w, " columns; at least 1 of each is needed");
  // The rule multiplies positions: keep their products far inside 64 bits.
  constexpr std::int64_t kMost = std::int64_t(1) << 30;
  ATROUS_CHECK(ValueError,
               options.out_h < kMost && options.out_w < kMost && x.dim(1) < kMost && x.dim(2) < kMost, op,
               role, ' ', x.shape(), " to ", options.out_h, 'x', options.out_w, ": sides go up to 2^30");
  return {.batch = x.dim(0),
          .in_h = x.dim(1),
          .in_w = x.dim(2),
          .out_h = options.out_h,
          .out_w = options.out_w,
          .channels = x.dim(3),
          .align_corners = options.align_corners};
}

}  // namespace

Variable resize_bilinear(const Variable& x, const ResizeOptions& options) {
  const kernels::ResizeDims dims = resize_dims(op_name(Op::resize_bilinear), "x", x.value(), options);
  Tensor y = Tensor::empty({dims.batch, dims.out_h, dims.out_w, dims.channels}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::resize_bilinear_forward<T>(x.stream(), dims, x.value().span<T>(), y.span<T>());
  });
  return record(Op::resize_bilinear, y, {x}, [dims](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::resize_bilinear_backward<T>(dy.stream(), dims, dy.span<T>(), dx.span<T>());
    });
  });
}

void resize_bilinear_into(const Tensor& x, const ResizeOptions& options, std::int64_t first, Tensor& y) {
  const char* const op = op_name(Op::resize_bilinear);
  kernels::ResizeDims dims = resize_dims(op, "x", x, options);
  const Shape own = {dims.batch, dims.out_h, dims.out_w, dims.channels};
  ATROUS_CHECK(ShapeError,
               y.rank() == 4 && y.shape().with(3, dims.channels) == own && first >= 0 &&
                   first + dims.channels <= y.dim(3),
               op, own, " does not fit into ", y.shape(), " from channel ", first, " on");
  ATROUS_CHECK(DeviceError, x.device().is_cpu() && y.device().is_cpu(), op, "into a part of ", y.shape(),
               ": on the CPU alone");
  dims.y_channels = y.dim(3);
  visit_float(x.dtype(), [&]<class T>() {
    const Span<T> all = y.span<T>();
    if (all.empty()) return;
    kernels::resize_bilinear_forward<T>(x.stream(), dims, x.span<T>(), all.part(first, all.size() - first));
  });
}

Tensor upsample_argmax(const Tensor& logits, const ResizeOptions& options) {
  const kernels::ResizeDims dims = resize_dims("upsample_argmax", "logits", logits, options);
  ATROUS_CHECK(ShapeError, dims.channels > 0, "upsample_argmax", "logits ", logits.shape(),
               " have no classes");
  const bool small = dims.channels <= 255;
  Tensor labels =
      Tensor::empty({dims.batch, dims.out_h, dims.out_w}, small ? Dtype::u8 : Dtype::i32, logits.device());
  visit_float(logits.dtype(), [&]<class T>() {
    kernels::resize_argmax<T>(logits.stream(), dims, logits.span<T>(),
                              small ? labels.span<std::uint8_t>() : Span<std::uint8_t>(),
                              small ? Span<std::int32_t>() : labels.span<std::int32_t>());
  });
  return labels;
}

}  // namespace atrous
