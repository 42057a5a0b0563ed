#pragma once

#include <limits>
#include <type_traits>

#include "atrous/kernels/batch_norm/batch_norm_activation.h"
#include "atrous/kernels/batch_norm/batch_norm_body.h"
#include "atrous/kernels/reduce/channel_strips.cuh"

// What the kernels with and without an activation, in two launches and on the chip, do to one element and to
// the sums of one channel.

namespace atrous::kernels::cuda {

template <class T>
bool aligned(const T* a, const T* b = nullptr, const T* c = nullptr) {
  return in_vectors<T>(kVector<T>, a, b, c);
}

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

/// The forward map: v[0] is x, v[1] the residual.
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

/// Where it is seen what an activation cut: nothing was; in x, from which y is made anew; in y.
enum class Cut { nothing, seen_in_x, seen_in_y };

/// g, what of dy passes: v[0] is x, v[1] is dy, v[2] is y if it is read.
template <class T, Cut C>
struct Passing {
  using A = Accumulator<T>;
  static constexpr int kInputs = C == Cut::seen_in_y ? 3 : 2;
  Bounds<A> bounds;
  __device__ __forceinline__ A operator()(const A (&v)[kInputs], A center, A scale, A shift) const {
    if constexpr (C == Cut::nothing)
      return v[1];
    else if constexpr (C == Cut::seen_in_y)
      return bounds.cuts(v[2]) ? A(0) : v[1];
    else  // rounded as y was
      return bounds.cuts(A(T(normalised(v[0], center, scale, shift)))) ? A(0) : v[1];
  }
};

/// The rule of the two sums: g and g (x - center).
template <class T, Cut C>
struct PassingSums {
  using A = Accumulator<T>;
  // Seen in x: center, scale and shift. Else the mean: A(mean) is the center.
  using Constant = std::conditional_t<C == Cut::seen_in_x, A, double>;
  static constexpr int kInputs = Passing<T, C>::kInputs, kConstants = C == Cut::seen_in_x ? 3 : 1, kSums = 2;
  const T* in[kInputs];
  Passing<T, C> passing;
  const Constant* constants[kConstants];
  __device__ __forceinline__ A arriving(const A (&v)[kInputs], const A (&k)[kConstants]) const {
    if constexpr (C == Cut::seen_in_x)
      return passing(v, k[0], k[1], k[2]);
    else
      return passing(v, A(0), A(0), A(0));
  }
  __device__ __forceinline__ void terms(const A (&v)[kInputs], const A (&k)[kConstants], A (&q)[2]) const {
    const A g = arriving(v, k);
    q[0] = g;
    q[1] = g * (v[0] - k[0]);
  }
};

/// dx = a g + (b (x - center) + constant).
template <class A>
__device__ __forceinline__ A input_gradient(A x, A g, A center, A a, A b, A constant) {
  // Frozen, b is 0 and x does not matter, not even an infinite one.
  const A through = b == A(0) ? A(0) : b * (x - center);
  return a * g + (through + constant);
}

/// dx, and g where the residual's gradient is wanted.
template <class T, Cut C, bool Residual>
struct PassingGradient {
  using A = Accumulator<T>;
  static constexpr int kInputs = Passing<T, C>::kInputs, kConstants = C == Cut::seen_in_x ? 6 : 4,
                       kOutputs = Residual ? 2 : 1;
  const T* in[kInputs];
  T* out[kOutputs];
  Passing<T, C> passing;
  const A* constants[kConstants];  // center, a, b, constant; scale and shift of the forward pass
  __device__ __forceinline__ void apply(const A (&v)[kInputs], const A (&k)[kConstants],
                                        A (&y)[kOutputs]) const {
    A g;
    if constexpr (C == Cut::seen_in_x)
      g = passing(v, k[0], k[4], k[5]);
    else
      g = passing(v, A(0), A(0), A(0));
    y[0] = input_gradient(v[0], g, k[0], k[1], k[2], k[3]);
    if constexpr (Residual) y[1] = g;
  }
};

/// What follows from the two sums of one channel.
template <class T>
struct GradientFinish {
  BatchNormGradientCoefficients<T> body;
  Span<double> sum_dy, sum_dyx;
  __device__ void operator()(std::int64_t c, const double (&total)[2]) const {
    sum_dy[c] = total[0];
    sum_dyx[c] = total[1];
    body(c);
  }
};

/// A backward pass as it goes through its steps: what it reads, its workspaces, what it writes.
template <class T>
struct BackwardPass {
  Stream stream;
  BatchNormDims dims;
  Activation activation;
  bool training;
  BatchNormChannels<T> norm;
  Span<const T> x, y, dy;
  Span<double> sums;
  // The gradient's center, a, b and constant are the first four arrays. The forward pass's center, scale and
  // shift, for Cut::seen_in_x, are the last three of six: the constant takes the place of the forward center,
  // which only the sums read.
  Span<Accumulator<T>> coefficients;
  BatchNormGradients<T> gradients;

  template <Cut C>
  PassingSums<T, C> sums_rule() const {
    PassingSums<T, C> rule{{x.data(), dy.data()}, {Bounds<Accumulator<T>>(activation)}, {}};
    if constexpr (C == Cut::seen_in_y) rule.in[2] = y.data();
    for (int i = 0; i < rule.kConstants; ++i) {
      if constexpr (C == Cut::seen_in_x)
        rule.constants[i] = coefficients.data() + (3 + i) * dims.channels;
      else
        rule.constants[i] = norm.mean.data();
    }
    return rule;
  }
  template <Cut C, bool Residual>
  PassingGradient<T, C, Residual> map() const {
    PassingGradient<T, C, Residual> m{
        {x.data(), dy.data()}, {gradients.dx.data()}, {Bounds<Accumulator<T>>(activation)}, {}};
    for (int i = 0; i < m.kConstants; ++i) m.constants[i] = coefficients.data() + i * dims.channels;
    if constexpr (C == Cut::seen_in_y) m.in[2] = y.data();
    if constexpr (Residual) m.out[1] = gradients.dresidual.data();
    return m;
  }
  GradientFinish<T> finish() const {
    const std::int64_t c = dims.channels;
    const Span<double> total = sums.part(sums.size() - 2 * c, 2 * c);
    const Span<double> sum_dy = total.part(0, c), sum_dyx = total.part(c, c);
    return {{dims.pixels, c, training, norm.mean, norm.var, sum_dy, sum_dyx, norm.epsilon, norm.gamma,
             coefficients, gradients.dgamma, gradients.dbeta},
            sum_dy,
            sum_dyx};
  }
  Cut cut() const {
    if (activation == Activation::none) return Cut::nothing;
    return y.empty() ? Cut::seen_in_x : Cut::seen_in_y;
  }
  bool vectors_in() const { return aligned<T>(x.data(), dy.data(), y.data()); }
  bool vectors_out() const { return aligned<T>(gradients.dx.data(), gradients.dresidual.data()); }
  /// The forward pass's coefficients, where a y that was not kept is made anew.
  template <Cut C>
  void make_forward_coefficients() const {
    const std::int64_t c = dims.channels;
    if constexpr (C == Cut::seen_in_x)
      for_each(stream, c,
               BatchNormCoefficients<T>{c, norm.mean, norm.var, norm.epsilon, norm.gamma, norm.beta,
                                        coefficients.part(3 * c, 3 * c)});
  }
};

/// The sums and what follows from them: dgamma, dbeta and the coefficients of dx.
template <Cut C, class T>
void backward_sums(const BackwardPass<T>& pass) {
  const std::int64_t pixels = pass.dims.pixels, channels = pass.dims.channels;
  pass.template make_forward_coefficients<C>();
  if (pass.gradients.dgamma.empty())
    for_each(pass.stream, channels,
             BatchNormFrozenCoefficients<T>{channels, pass.norm.mean, pass.norm.var, pass.norm.epsilon,
                                            pass.norm.gamma, pass.coefficients});
  else
    strip_sums<T>(pass.stream, pixels, channels, pass.vectors_in(), pass.template sums_rule<C>(),
                  pass.sums.data(), pass.finish());
}

/// Frozen, or where the maps do not fit on the chip: the sums, then dx.
template <Cut C, class T>
void backward_in_passes(const BackwardPass<T>& pass) {
  const std::int64_t pixels = pass.dims.pixels, channels = pass.dims.channels;
  backward_sums<C>(pass);
  if (pass.gradients.dx.empty()) return;
  const bool wide = pass.vectors_in() && pass.vectors_out();
  if constexpr (C != Cut::seen_in_x)  // there, there was no residual
    if (!pass.gradients.dresidual.empty())
      return strip_map<T>(pass.stream, pixels, channels, wide, pass.template map<C, true>());
  strip_map<T>(pass.stream, pixels, channels, wide, pass.template map<C, false>());
}

}  // namespace atrous::kernels::cuda
