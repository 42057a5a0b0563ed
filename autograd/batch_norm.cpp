#include "atrous/autograd/batch_norm.h"

#include <cmath>

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/kernels/batch_norm/batch_norm_activation.h"

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

void check_inputs(const Variable& x, const Variable& gamma, const Variable& beta, const Tensor& running_mean,
                  const Tensor& running_var, const BatchNormOptions& options, const Variable& residual,
                  const ChannelStatistics& statistics) {
  const char* op = op_name(Op::batch_norm);
  check_rank(Op::batch_norm, "x", x, 4, "[N, H, W, C]");
  const Dtype accumulator = accumulator_dtype(x.dtype());
  check_channels("gamma", gamma.value(), x, x.dtype());
  check_channels("beta", beta.value(), x, x.dtype());
  check_channels("running_mean", running_mean, x, accumulator);
  check_channels("running_var", running_var, x, accumulator);
  if (residual.defined()) check_same(Op::batch_norm, "residual", residual, "x", x);
  if (statistics.known()) {
    check_channels("mean", statistics.mean, x, Dtype::f64);
    check_channels("var", statistics.var, x, Dtype::f64);
  }
  ATROUS_CHECK(ValueError, options.epsilon >= 0 && std::isfinite(options.epsilon), op, "epsilon ",
               options.epsilon, " must be at least 0");
  ATROUS_CHECK(ValueError, options.decay >= 0 && options.decay <= 1, op, "decay ", options.decay,
               " must be within 0..1");
  ATROUS_CHECK(ValueError, options.activation != Activation::hard_swish, op,
               "takes no activation but relu and relu6");
}

template <class T>
Span<const T> read(const Tensor& t) {
  return t.defined() ? t.span<T>() : Span<const T>();
}
template <class T>
Span<T> write(Tensor& t) {
  return t.defined() ? t.span<T>() : Span<T>();
}

// What the backward pass keeps. A tensor that it does not read is undefined.
struct Kept {
  kernels::BatchNormDims dims;
  bool training = false;
  double epsilon;
  Activation activation;
  ChannelStatistics statistics = {};
  Tensor x = {}, y = {}, gamma, beta;

  void backward(const Tensor& dy, Gradients& grads) const;
};

void Kept::backward(const Tensor& dy, Gradients& grads) const {
  const Device device = dy.device();
  const bool fused = activation != Activation::none;
  const bool sums_wanted = training || grads.needed(1) || grads.needed(2);
  Tensor dx, dresidual, dgamma, dbeta, sums;
  if (grads.needed(0)) dx = grads.empty(0);
  if (!fused && grads.needed(3)) grads.set(3, dy);
  if (fused && grads.needed(3)) dresidual = grads.empty(3);
  if (fused && !dx.defined()) dx = empty_like(dy);  // its kernel always makes it
  if (sums_wanted) {
    dgamma = grads.needed(1) ? grads.empty(1) : empty_like(gamma);
    dbeta = grads.needed(2) ? grads.empty(2) : empty_like(gamma);
    sums = Tensor::empty({kernels::batch_norm_sums_size(dims, device)}, Dtype::f64, device);
  }
  Tensor coefficients = Tensor::empty({fused ? kernels::batch_norm_activation_coefficients_size(dims)
                                             : kernels::batch_norm_coefficients_size(dims)},
                                      accumulator_dtype(dy.dtype()), device);
  visit_float(dy.dtype(), [&]<class T>() {
    const auto mean = statistics.mean.span<double>(), var = statistics.var.span<double>();
    const auto k = coefficients.span<Accumulator<T>>();
    // Without x (frozen, gamma has no gradient) dy stands in for it: what is made of it is thrown away.
    const auto read_x = x.defined() ? x.span<T>() : dy.span<T>();
    if (fused)
      return kernels::batch_norm_activation_backward<T>(
          dy.stream(), dims, activation, training, {mean, var, epsilon, gamma.span<T>(), beta.span<T>()},
          read_x, read<T>(y), dy.span<T>(), write<double>(sums), k,
          {write<T>(dx), write<T>(dresidual), write<T>(dgamma), write<T>(dbeta)});
    const auto& backward =
        training ? kernels::batch_norm_backward_training<T> : kernels::batch_norm_backward_frozen<T>;
    backward(dy.stream(), dims, read_x, dy.span<T>(), mean, var, epsilon, gamma.span<T>(),
             write<double>(sums), k, write<T>(dx), write<T>(dgamma), write<T>(dbeta));
  });
}

}  // namespace

Variable batch_norm(const Variable& x, const Variable& gamma, const Variable& beta, Tensor& running_mean,
                    Tensor& running_var, const BatchNormOptions& options, const Variable& residual,
                    const ChannelStatistics& statistics) {
  check_inputs(x, gamma, beta, running_mean, running_var, options, residual, statistics);
  Kept kept{.dims = {x.dim(0) * x.dim(1) * x.dim(2), x.dim(3)},
            .epsilon = options.epsilon,
            .activation = options.activation,
            .gamma = gamma.value(),
            .beta = beta.value()};
  const kernels::BatchNormDims& dims = kept.dims;
  kept.training = options.mode == BatchNormMode::training && dims.pixels > 1;
  const bool computed = kept.training && !statistics.known();
  Tensor y = empty_like(x.value());
  ChannelStatistics& s = kept.statistics;
  if (kept.training) s = statistics;
  if (!s.known())
    for (Tensor* t : {&s.mean, &s.var}) *t = Tensor::empty({dims.channels}, Dtype::f64, x.device());
  Tensor coefficients = Tensor::empty({kernels::batch_norm_activation_coefficients_size(dims)},
                                      accumulator_dtype(x.dtype()), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    using A = Accumulator<T>;
    const Stream stream = x.stream();
    const auto of_x = x.value().span<T>(), of_gamma = gamma.value().span<T>(),
               of_beta = beta.value().span<T>();
    const auto added = residual.defined() ? residual.value().span<T>() : Span<const T>();
    const Span<const double> mean = std::as_const(s.mean).span<double>(),
                             var = std::as_const(s.var).span<double>();
    if (!kept.training)  // copies: the running averages may change before the backward pass
      kernels::batch_norm_running_statistics<T>(stream, std::as_const(running_mean).span<A>(),
                                                std::as_const(running_var).span<A>(), s.mean.span<double>(),
                                                s.var.span<double>());
    if (computed) {
      Tensor sums = Tensor::empty({kernels::batch_norm_sums_size(dims, x.device())}, Dtype::f64, x.device());
      kernels::batch_norm_training_forward<T>(stream, dims, options.activation, of_x, added, options.epsilon,
                                              of_gamma, of_beta, sums.span<double>(), s.mean.span<double>(),
                                              s.var.span<double>(), coefficients.span<A>(), y.span<T>());
    } else {
      kernels::batch_norm_activation_forward<T>(stream, dims, options.activation,
                                                {mean, var, options.epsilon, of_gamma, of_beta}, of_x, added,
                                                coefficients.span<A>(), y.span<T>());
    }
    if (kept.training)
      kernels::batch_norm_update_running<T>(stream, dims, mean, var, options.decay, running_mean.span<A>(),
                                            running_var.span<A>());
  });
  // Frozen, x is read for the gradient of gamma alone. What an activation cut is seen in y; without a
  // residual a device sees it in x too, which saves the reading of y, and the CPU would compute y anew.
  if (kept.training || gamma.requires_grad()) kept.x = x.value();
  if (options.activation != Activation::none &&
      (residual.defined() || x.device().is_cpu() || !kept.x.defined()))
    kept.y = y;
  return record(Op::batch_norm, y, {x, gamma, beta, residual},
                [kept](const Tensor& dy, Gradients& grads) { kept.backward(dy, grads); });
}

}  // namespace atrous
