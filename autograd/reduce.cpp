#include "atrous/autograd/reduce.h"

#include "atrous/autograd/graph.h"
#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/reduce/reduce.h"

namespace atrous {
namespace {

// Scratch and the one result of a reduction of x.
struct Reduction {
  Tensor scratch, result;
  explicit Reduction(const Tensor& x)
      : scratch(Tensor::empty({kernels::reduce_workspace_size(x.numel())}, Dtype::f64, x.device())),
        result(Tensor::empty({}, Dtype::f64, x.device())) {}
  Span<double> room() { return scratch.span<double>(); }
  Span<double> out() { return result.span<double>(); }
};

Variable scaled_sum(Op op, const Variable& x, double factor) {
  Reduction r(x.value());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::sum_forward<T>(x.stream(), x.value().span<T>(), r.room(), r.out());
  });
  kernels::scale_forward<double>(x.stream(), factor, std::as_const(r.result).span<double>(), r.out());
  return record(op, r.result.to(x.dtype()), {x}, [factor](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::sum_backward<T>(dy.stream(), factor, dy.span<T>(), dx.span<T>());
    });
  });
}

}  // namespace

Variable sum(const Variable& x) { return scaled_sum(Op::sum, x, 1); }
Variable mean(const Variable& x) { return scaled_sum(Op::mean, x, 1 / double(x.value().numel())); }

double sum_of_squares(const Tensor& x) {
  Reduction r(x);
  visit_float(x.dtype(),
              [&]<class T>() { kernels::sum_of_squares<T>(x.stream(), x.span<T>(), r.room(), r.out()); });
  return r.result.item();
}

double max_abs(const Tensor& x) {
  Reduction r(x);
  visit_float(x.dtype(), [&]<class T>() { kernels::max_abs<T>(x.stream(), x.span<T>(), r.room(), r.out()); });
  return r.result.item();
}

bool all_finite(const Tensor& x) {
  Reduction r(x);
  visit_float(x.dtype(),
              [&]<class T>() { kernels::all_finite<T>(x.stream(), x.span<T>(), r.room(), r.out()); });
  return r.result.item() != 0;
}

}  // namespace atrous
