#include "atrous/kernels/batch_norm/batch_norm_activation.h"

#include <type_traits>

#include "atrous/kernels/batch_norm/batch_norm_passes.h"
#include "atrous/kernels/elementwise/elementwise.h"

// The kernels that a fused one stands for, one after the other on each chunk of pixels while it is in the
// cache. For floats and doubles the bits are those of the separate kernels; bf16 is rounded once, at the end.

namespace atrous::kernels::cpu {
namespace {

template <class T>
void activate(Stream stream, Activation activation, Span<T> y) {
  if (activation == Activation::relu) relu_forward<T>(stream, y, y);
  if (activation == Activation::relu6) relu6_forward<T>(stream, y, y);
}

/// g = dy where the activation passes y, else 0; g may be y.
template <class T>
void pass(Stream stream, Activation activation, Span<const T> y, Span<const T> dy, Span<T> g) {
  if (activation == Activation::none) std::copy(dy.begin(), dy.end(), g.begin());
  if (activation == Activation::relu) relu_backward<T>(stream, y, dy, g);
  if (activation == Activation::relu6) relu6_backward<T>(stream, y, dy, g);
}

/// y = (x - center) scale + shift + residual.
template <class T>
void normalise_and_add(Stream stream, const BatchNormDims& dims, Span<const T> x, Span<const T> residual,
                       const Accumulator<T>* k, Span<T> y) {
  using A = Accumulator<T>;
  const std::int64_t channels = dims.channels, pixels = y.size() / channels;
  const A *center = k, *scale = k + channels, *shift = k + 2 * channels;
  if (residual.empty() || sizeof(T) == sizeof(A)) {
    chunk_normalise(x.data(), pixels, channels, center, scale, shift, y.data(), false);
    if (!residual.empty()) add_forward<T>(stream, y, residual, y);
    return;
  }
  for (std::int64_t i = 0; i < y.size(); i += channels)
    for (std::int64_t c = 0; c < channels; ++c)
      y[i + c] = T((A(x[i + c]) - center[c]) * scale[c] + shift[c] + A(residual[i + c]));
}

/// y = activation((x - center) scale + shift + residual).
template <class T>
void normalise_and_activate(Stream stream, const BatchNormDims& dims, Activation activation, Span<const T> x,
                            Span<const T> residual, const Accumulator<T>* k, Span<T> y, bool past_cache) {
  const std::int64_t channels = dims.channels;
  if constexpr (std::is_same_v<T, float>) {
    simd::chunk_normalise(x.data(), y.size() / channels, channels, k, k + channels, k + 2 * channels,
                          residual.empty() ? nullptr : residual.data(), int(activation), y.data(),
                          past_cache);
    if (past_cache) streaming_fence();
  } else {
    normalise_and_add(stream, dims, x, residual, k, y);
    activate(stream, activation, y);
  }
}

}  // namespace

template <class T>
void batch_norm_activation_forward(Stream stream, const BatchNormDims& dims, Activation activation,
                                   const BatchNormChannels<T>& norm, Span<const T> x, Span<const T> residual,
                                   Span<Accumulator<T>> coefficients, Span<T> y) {
  const std::int64_t channels = dims.channels;
  for_each(channels, BatchNormCoefficients<T>{channels, norm.mean, norm.var, norm.epsilon, norm.gamma,
                                              norm.beta, coefficients});
  const bool past_cache = leaves_cache(dims, y);
  for_each_chunk(dims, true, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    const std::int64_t at = first * channels, n = count * channels;
    normalise_and_activate(stream, dims, activation, x.part(at, n),
                           residual.empty() ? residual : residual.part(at, n), coefficients.data(),
                           y.part(at, n), past_cache);
  });
}
ATROUS_INSTANTIATE(batch_norm_activation_forward);

template <class T>
void batch_norm_training_forward(Stream stream, const BatchNormDims& dims, Activation activation,
                                 Span<const T> x, Span<const T> residual, double epsilon, Span<const T> gamma,
                                 Span<const T> beta, Span<double> sums, Span<double> mean, Span<double> var,
                                 Span<Accumulator<T>> coefficients, Span<T> y) {
  batch_norm_statistics<T>(stream, dims, x, sums, mean, var);
  batch_norm_activation_forward<T>(stream, dims, activation, {mean, var, epsilon, gamma, beta}, x, residual,
                                   coefficients, y);
}
ATROUS_INSTANTIATE(batch_norm_training_forward);

template <class T>
void batch_norm_activation_backward(Stream stream, const BatchNormDims& dims, Activation activation,
                                    bool training, const BatchNormChannels<T>& norm, Span<const T> x,
                                    Span<const T> y, Span<const T> dy, Span<double> sums,
                                    Span<Accumulator<T>> coefficients,
                                    const BatchNormGradients<T>& gradients) {
  const std::int64_t channels = dims.channels;
  const Span<T> dx = gradients.dx;
  // What passes the activation stands in dresidual, or in dx until the gradient takes its place.
  const Span<T> g = gradients.dresidual.empty() ? dx : gradients.dresidual;
  const Span<Accumulator<T>> forward = coefficients.part(3 * channels, 3 * channels);
  const bool recomputed = y.empty() && activation != Activation::none;
  if (recomputed)
    for_each(channels, BatchNormCoefficients<T>{channels, norm.mean, norm.var, norm.epsilon, norm.gamma,
                                                norm.beta, forward});
  // The sums' coefficients come after them: the first array, the center, is all that is written meanwhile.
  const auto passing = [&](std::int64_t first, std::int64_t count) -> const T* {
    const std::int64_t at = first * channels, n = count * channels;
    const Span<T> out = g.part(at, n);
    if (recomputed) normalise_and_add(stream, dims, x.part(at, n), Span<const T>(), forward.data(), out);
    pass<T>(stream, activation, y.empty() ? Span<const T>(out) : y.part(at, n), dy.part(at, n), out);
    return out.data();
  };
  if (!gradients.dgamma.empty())
    gradient_sums(dims, training, x, norm.mean, norm.var, norm.epsilon, norm.gamma, sums, coefficients,
                  gradients.dgamma, gradients.dbeta, passing);
  else
    for_each_chunk(dims, false,
                   [&](std::int64_t, std::int64_t first, std::int64_t count) { passing(first, count); });
  if (training)
    input_gradient<T>(dims, x, g, coefficients, dx);
  else
    scaled_gradient<T>(dims, norm.mean, norm.var, norm.epsilon, norm.gamma, g, coefficients, dx);
}
ATROUS_INSTANTIATE(batch_norm_activation_backward);

}  // namespace atrous::kernels::cpu
