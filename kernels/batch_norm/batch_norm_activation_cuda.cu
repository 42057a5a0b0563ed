#include <cmath>
#include <limits>

#include "atrous/kernels/batch_norm/batch_norm_activation.h"
#include "atrous/kernels/batch_norm/batch_norm_gradient.cuh"

// Forward: one pass over x (and the residual). Backward: sums over what passes the activation, then the
// gradient. Without a residual no pass reads y: whether it was cut is found from x, which is read anyway.
//
// Coefficients of a channel: center, scale and shift of the forward pass; a, b and constant of
// dx = a g + b (x - center) + constant.

namespace atrous::kernels::cuda {
namespace {

/// An activation as two bounds: what is not above the lower one, or not below the upper one, is cut. NaN for
/// a bound that is not there: nothing compares with it. A NaN is passed.
template <class A>
struct Bounds {
  A low, high;
  explicit Bounds(Activation activation)
      : low(activation == Activation::none ? std::numeric_limits<A>::quiet_NaN() : A(0)),
        high(activation == Activation::relu6 ? A(6) : std::numeric_limits<A>::quiet_NaN()) {}
  __device__ __forceinline__ bool cuts(A y) const { return (y <= low) | (y >= high); }
  __device__ __forceinline__ A operator()(A v) const { return v <= low ? low : v >= high ? high : v; }
};

template <class A>
__device__ __forceinline__ A normalised(A x, A center, A scale, A shift) {
  return (x - center) * scale + shift;
}

/// v[0] is x, v[1] the residual.
template <class T, bool Residual>
struct NormaliseAndActivate {
  using A = Accumulator<T>;
  static constexpr int kInputs = Residual ? 2 : 1, kConstants = 3, kOutputs = 1;
  const T* in[kInputs];
  T* out[1];
  Bounds<A> bounds;
  const A* constants[3];  // center, scale, shift
  __device__ __forceinline__ void apply(const A (&v)[kInputs], const A (&k)[3], A (&y)[1]) const {
    A sum = normalised(v[0], k[0], k[1], k[2]);
    if constexpr (Residual) sum += v[1];
    y[0] = bounds(sum);
  }
};

/// What of dy passes: v[0] is x, v[1] is dy, v[2] is y if it is read.
template <class T, bool ReadsY>
struct Passing {
  using A = Accumulator<T>;
  static constexpr int kInputs = ReadsY ? 3 : 2;
  Bounds<A> bounds;
  __device__ __forceinline__ A operator()(const A (&v)[kInputs], A center, A scale, A shift) const {
    if constexpr (ReadsY)
      return bounds.cuts(v[2]) ? A(0) : v[1];
    else  // rounded as y was
      return bounds.cuts(A(T(normalised(v[0], center, scale, shift)))) ? A(0) : v[1];
  }
};

template <class T, bool ReadsY>
struct PassingSums {
  using A = Accumulator<T>;
  static constexpr int kInputs = ReadsY ? 3 : 2, kConstants = 3, kSums = 2;
  const T* in[kInputs];
  Passing<T, ReadsY> passing;
  const A* constants[3];  // center, scale, shift
  __device__ __forceinline__ void terms(const A (&v)[kInputs], const A (&k)[3], A (&q)[2]) const {
    const A g = passing(v, k[0], k[1], k[2]);
    q[0] = g;
    q[1] = g * (v[0] - k[0]);
  }
};

/// dx, and g where the residual's gradient is wanted.
template <class T, bool ReadsY, bool Residual>
struct PassingGradient {
  using A = Accumulator<T>;
  static constexpr int kInputs = ReadsY ? 3 : 2, kConstants = ReadsY ? 4 : 6, kOutputs = Residual ? 2 : 1;
  const T* in[kInputs];
  T* out[kOutputs];
  Passing<T, ReadsY> passing;
  const A* constants[kConstants];  // center, a, b, constant; scale and shift of the forward pass
  __device__ __forceinline__ void apply(const A (&v)[kInputs], const A (&k)[kConstants],
                                        A (&y)[kOutputs]) const {
    A g;
    if constexpr (ReadsY)
      g = passing(v, A(0), A(0), A(0));
    else
      g = passing(v, k[0], k[4], k[5]);
    // Frozen, b is 0 and x does not matter, not even an infinite one.
    const A through = k[2] == A(0) ? A(0) : k[2] * (v[0] - k[0]);
    y[0] = k[1] * g + (through + k[3]);
    if constexpr (Residual) y[1] = g;
  }
};

template <class T, bool ReadsY>
void backward(Stream stream, const BatchNormDims& dims, Activation activation, bool training,
              const BatchNormChannels<T>& norm, Span<const T> x, Span<const T> y, Span<const T> dy,
              Span<double> sums, Span<Accumulator<T>> coefficients, const BatchNormGradients<T>& gradients) {
  using A = Accumulator<T>;
  const std::int64_t channels = dims.channels;
  const Passing<T, ReadsY> passing{Bounds<A>(activation)};
  // Six arrays: the forward pass's center, scale and shift are the last three. The gradient's center, a, b
  // and constant become the first four: the constant takes the place of the forward center, which only the
  // sums read.
  const Span<A> forward = coefficients.part(3 * channels, 3 * channels);
  for_each(
      stream, channels,
      BatchNormCoefficients<T>{channels, norm.mean, norm.var, norm.epsilon, norm.gamma, norm.beta, forward});
  const bool wide = aligned<T>(x.data(), dy.data(), y.data());
  if (gradients.dgamma.empty()) {
    for_each(stream, channels,
             BatchNormFrozenCoefficients<T>{channels, norm.mean, norm.var, norm.epsilon, norm.gamma,
                                            coefficients});
  } else {
    PassingSums<T, ReadsY> rule{{x.data(), dy.data()}, passing, {}};
    for (int i = 0; i < 3; ++i) rule.constants[i] = forward.data() + i * channels;
    if constexpr (ReadsY) rule.in[2] = y.data();
    gradient_sums<T>(stream, dims, training, norm.mean, norm.var, norm.epsilon, norm.gamma, wide, rule, sums,
                     coefficients, gradients.dgamma, gradients.dbeta);
  }
  const auto map = [&]<bool Residual>() {
    PassingGradient<T, ReadsY, Residual> m{{x.data(), dy.data()}, {gradients.dx.data()}, passing, {}};
    for (int i = 0; i < m.kConstants; ++i) m.constants[i] = coefficients.data() + i * channels;
    if constexpr (ReadsY) m.in[2] = y.data();
    if constexpr (Residual) m.out[1] = gradients.dresidual.data();
    strip_map<T>(stream, dims.pixels, channels,
                 wide && aligned<T>(gradients.dx.data(), gradients.dresidual.data()), m);
  };
  if (gradients.dresidual.empty())
    map.template operator()<false>();
  else
    map.template operator()<true>();
}

}  // namespace

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
  const auto run = y.empty() ? backward<T, false> : backward<T, true>;
  run(stream, dims, activation, training, norm, x, y, dy, sums, coefficients, gradients);
}
ATROUS_INSTANTIATE(batch_norm_activation_backward);

}  // namespace atrous::kernels::cuda
