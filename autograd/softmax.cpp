#include "atrous/autograd/softmax.h"

#include <vector>

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/softmax/softmax.h"

namespace atrous {
namespace {

kernels::SoftmaxDims softmax_dims(const char* op, const char* role, const Tensor& x) {
  ATROUS_CHECK(ShapeError, x.rank() >= 1 && x.dim(-1) >= 1, op, role, ' ', x.shape(),
               " needs at least one class on its last axis");
  return {x.numel() / x.dim(-1), x.dim(-1)};
}

}  // namespace

Variable softmax(const Variable& x) {
  const kernels::SoftmaxDims dims = softmax_dims(op_name(Op::softmax), "x", x.value());
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::softmax_forward<T>(x.stream(), dims, x.value().span<T>(), y.span<T>());
  });
  return record(Op::softmax, y, {x}, [dims, y = std::as_const(y)](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::softmax_backward<T>(dy.stream(), dims, y.span<T>(), dy.span<T>(), dx.span<T>());
    });
  });
}

Variable log_softmax(const Variable& x) {
  const kernels::SoftmaxDims dims = softmax_dims(op_name(Op::log_softmax), "x", x.value());
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::log_softmax_forward<T>(x.stream(), dims, x.value().span<T>(), y.span<T>());
  });
  return record(Op::log_softmax, y, {x}, [dims, y = std::as_const(y)](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::log_softmax_backward<T>(dy.stream(), dims, y.span<T>(), dy.span<T>(), dx.span<T>());
    });
  });
}

Tensor argmax_channels(const Tensor& logits) {
  const kernels::SoftmaxDims dims = softmax_dims("argmax_channels", "logits", logits);
  const bool small = dims.classes <= 255;
  const Shape pixels(std::vector<std::int64_t>(logits.shape().begin(), logits.shape().end() - 1));
  Tensor labels = Tensor::empty(pixels, small ? Dtype::u8 : Dtype::i32, logits.device());
  visit_float(logits.dtype(), [&]<class T>() {
    kernels::argmax_channels<T>(logits.stream(), dims, logits.span<T>(),
                                small ? labels.span<std::uint8_t>() : Span<std::uint8_t>(),
                                small ? Span<std::int32_t>() : labels.span<std::int32_t>());
  });
  return labels;
}

}  // namespace atrous
