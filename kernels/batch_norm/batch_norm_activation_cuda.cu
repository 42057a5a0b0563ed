#include "atrous/kernels/batch_norm/batch_norm_activation.h"
#include "atrous/kernels/batch_norm/batch_norm_gradient.cuh"
#include "atrous/kernels/batch_norm/batch_norm_on_chip.cuh"

// Forward: one pass over x (and the residual). Backward: sums over what passes the activation, then the
// gradient. Without a residual no pass reads y: whether it was cut is found from x, which is read anyway.

namespace atrous::kernels::cuda {

template <class T>
void batch_norm_activation_forward(Stream stream, const BatchNormDims& dims, Activation activation,
                                   const BatchNormChannels<T>& norm, Span<const T> x, Span<const T> residual,
                                   Span<Accumulator<T>> coefficients, Span<T> y) {
  using A = Accumulator<T>;
  const std::int64_t c = dims.channels;
  for_each(
      stream, c,
      BatchNormCoefficients<T>{c, norm.mean, norm.var, norm.epsilon, norm.gamma, norm.beta, coefficients});
  const Bounds<A> bounds(activation);
  const A* k = coefficients.data();
  const bool wide = aligned<T>(x.data(), residual.data(), y.data());
  if (residual.empty())
    strip_map<T>(stream, dims.pixels, c, wide,
                 NormaliseAndActivate<T, false>{{x.data()}, {y.data()}, bounds, {k, k + c, k + 2 * c}});
  else
    strip_map<T>(stream, dims.pixels, c, wide,
                 NormaliseAndActivate<T, true>{
                     {x.data(), residual.data()}, {y.data()}, bounds, {k, k + c, k + 2 * c}});
}
ATROUS_INSTANTIATE(batch_norm_activation_forward);

template <class T>
void batch_norm_activation_backward(Stream stream, const BatchNormDims& dims, Activation activation,
                                    bool training, const BatchNormChannels<T>& norm, Span<const T> x,
                                    Span<const T> y, Span<const T> dy, Span<double> sums,
                                    Span<Accumulator<T>> coefficients,
                                    const BatchNormGradients<T>& gradients) {
  const BackwardPass<T> pass{stream, dims, activation, training,     norm,     x,
                             y,      dy,   sums,       coefficients, gradients};
  if (backward_on_chip(pass)) return;
  switch (pass.cut()) {
    case Cut::nothing:
      return backward_in_passes<Cut::nothing>(pass);
    case Cut::seen_in_x:
      return backward_in_passes<Cut::seen_in_x>(pass);
    case Cut::seen_in_y:
      return backward_in_passes<Cut::seen_in_y>(pass);
  }
}
ATROUS_INSTANTIATE(batch_norm_activation_backward);

template <class T>
void batch_norm_training_forward(Stream stream, const BatchNormDims& dims, Activation activation,
                                 Span<const T> x, Span<const T> residual, double epsilon, Span<const T> gamma,
                                 Span<const T> beta, Span<double> sums, Span<double> mean, Span<double> var,
                                 Span<Accumulator<T>> coefficients, Span<T> y) {
  if (forward_on_chip<T>(stream, dims, activation, x, residual, epsilon, gamma, beta, sums, mean, var,
                         coefficients, y))
    return;
  batch_norm_statistics<T>(stream, dims, x, sums, mean, var);
  batch_norm_activation_forward<T>(stream, dims, activation, {mean, var, epsilon, gamma, beta}, x, residual,
                                   coefficients, y);
}
ATROUS_INSTANTIATE(batch_norm_training_forward);

}  // namespace atrous::kernels::cuda
