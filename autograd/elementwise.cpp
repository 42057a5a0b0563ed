#include "atrous/autograd/elementwise.h"

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/elementwise/dropout.h"
#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/elementwise/scale_channels.h"

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

Variable hard_swish(const Variable& x) {
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::hard_swish_forward<T>(x.stream(), x.value().span<T>(), y.span<T>());
  });
  return record(Op::hard_swish, y, {x}, [x = x.value()](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::hard_swish_backward<T>(dy.stream(), x.span<T>(), dy.span<T>(), dx.span<T>());
    });
  });
}

Variable hard_sigmoid(const Variable& x) {
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::hard_sigmoid_forward<T>(x.stream(), x.value().span<T>(), y.span<T>());
  });
  return record(Op::hard_sigmoid, y, {x}, [y = std::as_const(y)](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::hard_sigmoid_backward<T>(dy.stream(), y.span<T>(), dy.span<T>(), dx.span<T>());
    });
  });
}

Variable sigmoid(const Variable& x) {
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(),
              [&]<class T>() { kernels::sigmoid_forward<T>(x.stream(), x.value().span<T>(), y.span<T>()); });
  return record(Op::sigmoid, y, {x}, [y = std::as_const(y)](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::sigmoid_backward<T>(dy.stream(), y.span<T>(), dy.span<T>(), dx.span<T>());
    });
  });
}

Variable exp(const Variable& x) {
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(),
              [&]<class T>() { kernels::exp_forward<T>(x.stream(), x.value().span<T>(), y.span<T>()); });
  return record(Op::exp, y, {x}, [y = std::as_const(y)](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::mul_forward<T>(dy.stream(), dy.span<T>(), y.span<T>(), dx.span<T>());
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

Variable maximum(const Variable& a, const Variable& b) {
  check_same(Op::maximum, "a", a, "b", b);
  Tensor y = empty_like(a.value());
  visit_float(a.dtype(), [&]<class T>() {
    kernels::maximum_forward<T>(a.stream(), a.value().span<T>(), b.value().span<T>(), y.span<T>());
  });
  const Tensor kept_a = a.value(), kept_b = b.value();
  return record(Op::maximum, y, {a, b}, [kept_a, kept_b](const Tensor& dy, Gradients& grads) {
    for (int i = 0; i < 2; ++i) {
      if (!grads.needed(i)) continue;
      Tensor dx = grads.empty(i);
      visit_float(dy.dtype(), [&]<class T>() {
        kernels::maximum_backward<T>(dy.stream(), i == 1, kept_a.span<T>(), kept_b.span<T>(), dy.span<T>(),
                                     dx.span<T>());
      });
    }
  });
}

Variable scale_channels(const Variable& x, const Variable& factors) {
  constexpr Op op = Op::scale_channels;
  check_rank(op, "x", x, 4, "[N, H, W, C]");
  check_rank(op, "factors", factors, 4, "[N, 1, 1, C]");
  check_match(op, "x", x, "factors", factors);
  ATROUS_CHECK(ShapeError, factors.shape() == Shape({x.dim(0), 1, 1, x.dim(3)}), op_name(op), "factors ",
               factors.shape(), " of x ", x.shape(), "; they are [N, 1, 1, C]");
  const kernels::ScaleChannelsDims dims{x.dim(0), x.dim(1) * x.dim(2), x.dim(3)};
  Tensor y = empty_like(x.value());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::scale_channels_forward<T>(x.stream(), dims, x.value().span<T>(), factors.value().span<T>(),
                                       y.span<T>());
  });
  // Each is kept only if the other one's gradient is wanted.
  const Tensor kept_x = factors.requires_grad() ? x.value() : Tensor();
  const Tensor kept_factors = x.requires_grad() ? factors.value() : Tensor();
  return record(op, y, {x, factors}, [dims, kept_x, kept_factors](const Tensor& dy, Gradients& grads) {
    visit_float(dy.dtype(), [&]<class T>() {
      if (grads.needed(0)) {
        Tensor dx = grads.empty(0);
        kernels::scale_channels_forward<T>(dy.stream(), dims, dy.span<T>(), kept_factors.span<T>(),
                                           dx.span<T>());
      }
      if (grads.needed(1)) {
        Tensor dfactors = grads.empty(1);
        kernels::scale_channels_backward_factors<T>(dy.stream(), dims, kept_x.span<T>(), dy.span<T>(),
                                                    dfactors.span<T>());
      }
    });
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
