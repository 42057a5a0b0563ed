#include "atrous/autograd/elementwise.h"

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/elementwise/dropout.h"
#include "atrous/kernels/elementwise/elementwise.h"

namespace atrous {
namespace {

// Forward and backward of dropout: x times the mask.
void apply_dropout(const DropoutOptions& options, const Tensor& x, Tensor& y) {
  const kernels::DropoutRule rule{options.probability, options.seed, options.call};
  visit_float(x.dtype(), [&]<class T>() {
    if (!options.channelwise) return kernels::dropout_forward<T>(x.stream(), rule, x.span<T>(), y.span<T>());
    const int last = x.rank() - 1;
    const kernels::ChannelDropoutDims dims{x.dim(0), x.shape().with(0, 1).with(last, 1).numel(), x.dim(last)};
    Tensor factors = Tensor::empty({dims.batch, dims.channels}, accumulator_dtype(x.dtype()), x.device());
    kernels::channel_dropout_forward<T>(x.stream(), rule, dims, x.span<T>(), factors.span<Accumulator<T>>(),
                                        y.span<T>());
  });
}

}  // namespace

Variable relu(const Variable& x) {
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(),
              [&]<class T>() { kernels::relu_forward<T>(x.stream(), x.value().span<T>(), y.span<T>()); });
  return record(Op::relu, y, {x}, [y = std::as_const(y)](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::relu_backward<T>(dy.stream(), y.span<T>(), dy.span<T>(), dx.span<T>());
    });
  });
}

Variable relu6(const Variable& x) {
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(),
              [&]<class T>() { kernels::relu6_forward<T>(x.stream(), x.value().span<T>(), y.span<T>()); });
  return record(Op::relu6, y, {x}, [y = std::as_const(y)](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::relu6_backward<T>(dy.stream(), y.span<T>(), dy.span<T>(), dx.span<T>());
    });
  });
}

Variable add(const Variable& a, const Variable& b) {
  check_same(Op::add, "a", a, "b", b);
  Tensor y = empty_like(a.value());
  visit_float(a.dtype(), [&]<class T>() {
    kernels::add_forward<T>(a.stream(), a.value().span<T>(), b.value().span<T>(), y.span<T>());
  });
  return record(Op::add, y, {a, b}, [](const Tensor& dy, Gradients& grads) {
    if (grads.needed(0)) grads.set(0, dy);
    if (grads.needed(1)) grads.set(1, dy);
  });
}

Variable mul(const Variable& a, const Variable& b) {
  check_same(Op::mul, "a", a, "b", b);
  Tensor y = empty_like(a.value());
  visit_float(a.dtype(), [&]<class T>() {
    kernels::mul_forward<T>(a.stream(), a.value().span<T>(), b.value().span<T>(), y.span<T>());
  });
  // Each factor is kept only if the other one's gradient is wanted.
  const Tensor kept_a = b.requires_grad() ? a.value() : Tensor();
  const Tensor kept_b = a.requires_grad() ? b.value() : Tensor();
  return record(Op::mul, y, {a, b}, [kept_a, kept_b](const Tensor& dy, Gradients& grads) {
    const Tensor* factors[] = {&kept_b, &kept_a};
    for (int i = 0; i < 2; ++i) {
      if (!grads.needed(i)) continue;
      Tensor dx = grads.empty(i);
      visit_float(dy.dtype(), [&]<class T>() {
        kernels::mul_forward<T>(dy.stream(), dy.span<T>(), factors[i]->span<T>(), dx.span<T>());
      });
    }
  });
}

Variable scale(const Variable& x, double factor) {
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::scale_forward<T>(x.stream(), factor, x.value().span<T>(), y.span<T>());
  });
  return record(Op::scale, y, {x}, [factor](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::scale_forward<T>(dy.stream(), factor, dy.span<T>(), dx.span<T>());
    });
  });
}

Variable dropout(const Variable& x, const DropoutOptions& options) {
  const Op op = Op::dropout;
  ATROUS_CHECK(ValueError, options.probability >= 0 && options.probability <= 1, op_name(op), "probability ",
               options.probability, " is not in [0, 1]");
  ATROUS_CHECK(ShapeError, !options.channelwise || x.value().rank() >= 2, op_name(op), "channelwise, and x ",
               x.shape(), " has fewer than two axes");
  Tensor y = empty_like(x.value());
  apply_dropout(options, x.value(), y);
  return record(op, y, {x}, [options](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    apply_dropout(options, dy, dx);
  });
}

}  // namespace atrous
