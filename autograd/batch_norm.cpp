#include "atrous/autograd/batch_norm.h"

#include <cmath>

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/batch_norm/batch_norm.h"

namespace atrous {
namespace {

void check_channels(const char* role, const Tensor& t, const Variable& x, Dtype dtype) {
  const char* op = op_name(Op::batch_norm);
  ATROUS_CHECK(ShapeError, t.defined() && t.shape() == Shape({x.dim(3)}), op, role, ' ',
               t.defined() ? t.shape() : Shape({0}), " must be [", x.dim(3), "]: x is ", x.shape());
  ATROUS_CHECK(DtypeError, t.dtype() == dtype, op, role, " is ", t.dtype(), " and must be ", dtype, ": x is ",
               x.dtype());
  ATROUS_CHECK(DeviceError, t.device() == x.device(), op, role, " is on ", t.device(), ", x on ", x.device());
}

}  // namespace

Variable batch_norm(const Variable& x, const Variable& gamma, const Variable& beta, Tensor& running_mean,
                    Tensor& running_var, const BatchNormOptions& options) {
  const char* op = op_name(Op::batch_norm);
  check_rank(Op::batch_norm, "x", x, 4, "[N, H, W, C]");
  const Dtype accumulator = accumulator_dtype(x.dtype());
  check_channels("gamma", gamma.value(), x, x.dtype());
  check_channels("beta", beta.value(), x, x.dtype());
  check_channels("running_mean", running_mean, x, accumulator);
  check_channels("running_var", running_var, x, accumulator);
  ATROUS_CHECK(ValueError, options.epsilon >= 0 && std::isfinite(options.epsilon), op, "epsilon ",
               options.epsilon, " must be at least 0");
  ATROUS_CHECK(ValueError, options.decay >= 0 && options.decay <= 1, op, "decay ", options.decay,
               " must be within 0..1");

  const kernels::BatchNormDims dims{x.dim(0) * x.dim(1) * x.dim(2), x.dim(3)};
  const bool training = options.mode == BatchNormMode::training && dims.pixels > 1;
  const Device device = x.device();
  const Stream stream = x.stream();
  Tensor y = empty_like(x.value());
  Tensor mean, var;  // of the batch, or the running ones; [C] doubles
  visit_float(x.dtype(), [&]<class T>() {
    if (training) {
      mean = Tensor::empty({dims.channels}, Dtype::f64, device);
      var = Tensor::empty({dims.channels}, Dtype::f64, device);
      Tensor sums = Tensor::empty({kernels::batch_norm_sums_size(dims, device)}, Dtype::f64, device);
      kernels::batch_norm_statistics<T>(stream, dims, x.value().span<T>(), sums.span<double>(),
                                        mean.span<double>(), var.span<double>());
      kernels::batch_norm_update_running<T>(
          stream, dims, std::as_const(mean).span<double>(), std::as_const(var).span<double>(), options.decay,
          running_mean.span<Accumulator<T>>(), running_var.span<Accumulator<T>>());
    } else {
      // Copies: the running averages may change before the backward pass.
      mean = accumulator == Dtype::f64 ? running_mean.clone() : running_mean.to(Dtype::f64);
      var = accumulator == Dtype::f64 ? running_var.clone() : running_var.to(Dtype::f64);
    }
    Tensor coefficients = Tensor::empty({kernels::batch_norm_coefficients_size(dims)}, accumulator, device);
    kernels::batch_norm_forward<T>(stream, dims, x.value().span<T>(), std::as_const(mean).span<double>(),
                                   std::as_const(var).span<double>(), options.epsilon,
                                   gamma.value().span<T>(), beta.value().span<T>(),
                                   coefficients.span<Accumulator<T>>(), y.span<T>());
  });
  // Frozen, x is read for the gradient of gamma alone.
  const bool reads_x = training || gamma.requires_grad();
  return record(
      Op::batch_norm, y, {x, gamma, beta},
      [dims, training, epsilon = options.epsilon, x = reads_x ? x.value() : Tensor(), gamma = gamma.value(),
       mean = std::as_const(mean), var = std::as_const(var)](const Tensor& dy, Gradients& grads) {
        const bool sums_wanted = training || grads.needed(1) || grads.needed(2);
        Tensor dx, dgamma, dbeta, sums;
        if (grads.needed(0)) dx = grads.empty(0);
        if (sums_wanted) {
          dgamma = grads.needed(1) ? grads.empty(1) : empty_like(gamma);
          dbeta = grads.needed(2) ? grads.empty(2) : empty_like(gamma);
          sums = Tensor::empty({kernels::batch_norm_sums_size(dims, dy.device())}, Dtype::f64, dy.device());
        }
        Tensor coefficients = Tensor::empty({kernels::batch_norm_coefficients_size(dims)},
                                            accumulator_dtype(dy.dtype()), dy.device());
        visit_float(dy.dtype(), [&]<class T>() {
          const auto of = [](Tensor& t) { return t.defined() ? t.span<T>() : Span<T>(); };
          // Without x (frozen, only beta's sum is wanted) dy stands in for it: dgamma is thrown away.
          const Tensor& read = x.defined() ? x : dy;
          const auto& backward =
              training ? kernels::batch_norm_backward_training<T> : kernels::batch_norm_backward_frozen<T>;
          backward(dy.stream(), dims, read.span<T>(), dy.span<T>(), mean.span<double>(), var.span<double>(),
                   epsilon, gamma.span<T>(), sums.defined() ? sums.span<double>() : Span<double>(),
                   coefficients.span<Accumulator<T>>(), of(dx), of(dgamma), of(dbeta));
        });
      });
}

}  // namespace atrous
