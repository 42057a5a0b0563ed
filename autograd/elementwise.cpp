#include "atrous/autograd/elementwise.h"

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/elementwise/elementwise.h"

namespace atrous {

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

}  // namespace atrous
