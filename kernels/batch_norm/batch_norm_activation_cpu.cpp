#include <algorithm>

#include "atrous/kernels/batch_norm/batch_norm_activation.h"
#include "atrous/kernels/elementwise/elementwise.h"

// The kernels that a fused one stands for, one after the other.

namespace atrous::kernels::cpu {
namespace {

template <class T>
void activate(Stream stream, Activation activation, Span<T> y) {
  if (activation == Activation::relu) relu_forward<T>(stream, y, y);
  if (activation == Activation::relu6) relu6_forward<T>(stream, y, y);
}

}  // namespace

template <class T>
void batch_norm_activation_forward(Stream stream, const BatchNormDims& dims, Activation activation,
                                   Span<const T> x, Span<const T> residual, Span<const double> mean,
                                   Span<const double> var, double epsilon, Span<const T> gamma,
                                   Span<const T> beta, Span<Accumulator<T>> coefficients, Span<T> y) {
  batch_norm_forward<T>(stream, dims, x, mean, var, epsilon, gamma, beta, coefficients, y);
  if (!residual.empty()) add_forward<T>(stream, y, residual, y);
  activate(stream, activation, y);
}
ATROUS_INSTANTIATE(batch_norm_activation_forward);

template <class T>
void batch_norm_activation_backward(Stream stream, const BatchNormDims& dims, Activation activation,
                                    bool training, Span<const T> x, Span<const T> y, Span<const T> dy,
                                    Span<const double> mean, Span<const double> var, double epsilon,
                                    Span<const T> gamma, Span<const T> beta, Span<double> sums,
                                    Span<Accumulator<T>> coefficients, Span<T> dx, Span<T> dresidual,
                                    Span<T> dgamma, Span<T> dbeta) {
  if (y.empty()) {
    batch_norm_forward<T>(stream, dims, x, mean, var, epsilon, gamma, beta, coefficients, dx);
    activate(stream, activation, dx);
    y = dx;
  }
  // What passes the activation stands in dx until the gradient takes its place.
  switch (activation) {
    case Activation::none:
      std::copy(dy.begin(), dy.end(), dx.begin());
      break;
    case Activation::relu:
      relu_backward<T>(stream, y, dy, dx);
      break;
    case Activation::relu6:
      relu6_backward<T>(stream, y, dy, dx);
      break;
  }
  std::copy(dx.begin(), dx.begin() + dresidual.size(), dresidual.begin());
  const auto& backward = training ? cpu::batch_norm_backward_training<T> : cpu::batch_norm_backward_frozen<T>;
  backward(stream, dims, x, dx, mean, var, epsilon, gamma, sums, coefficients, dx, dgamma, dbeta);
}
ATROUS_INSTANTIATE(batch_norm_activation_backward);

}  // namespace atrous::kernels::cpu
