#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/dtype.h"
#include "atrous/core/span.h"

// The arithmetic of one element of each kernel of elementwise.h: a function of values, which every kernel
// calls, and a body that applies it to element i of its spans.

namespace atrous::kernels {

struct Relu {
  template <class A>
  ATROUS_HD A operator()(A x) const {
    return x <= A(0) ? A(0) : x;
  }
};

/// The gradient that passes y = relu(x).
struct ReluGradient {
  template <class A>
  ATROUS_HD A operator()(A y, A dy) const {
    return y <= A(0) ? A(0) : dy;
  }
};

struct Relu6 {
  template <class A>
  ATROUS_HD A operator()(A x) const {
    const A positive = x <= A(0) ? A(0) : x;
    return positive >= A(6) ? A(6) : positive;
  }
};

/// The gradient that passes y = relu6(x). Both comparisons are always made, so that a loop has no branch. A
/// NaN passes dy on, as in relu.
struct Relu6Gradient {
  template <class A>
  ATROUS_HD A operator()(A y, A dy) const {
    return ((y <= A(0)) | (y >= A(6))) ? A(0) : dy;
  }
};

struct HardSwish {
  template <class A>
  ATROUS_HD A operator()(A x) const {
    const A inside = x * (x + A(3)) * A(1.0 / 6), positive = x >= A(3) ? x : inside;
    return x <= A(-3) ? A(0) : positive;
  }
};

/// The gradient that passes y = hard_swish(x).
struct HardSwishGradient {
  template <class A>
  ATROUS_HD A operator()(A x, A dy) const {
    const A inside = dy * ((x + x + A(3)) * A(1.0 / 6)), positive = x >= A(3) ? dy : inside;
    return x <= A(-3) ? A(0) : positive;
  }
};

struct HardSigmoid {
  template <class A>
  ATROUS_HD A operator()(A x) const {
    const A shifted = x + A(3), positive = shifted <= A(0) ? A(0) : shifted;
    return positive >= A(6) ? A(1) : positive * A(1.0 / 6);
  }
};

/// The gradient that passes y = hard_sigmoid(x).
struct HardSigmoidGradient {
  template <class A>
  ATROUS_HD A operator()(A y, A dy) const {
    return (y <= A(0)) | (y >= A(1)) ? A(0) : dy * A(1.0 / 6);
  }
};

/// Where exp(-x) is infinite, 1 / (1 + exp(-x)) is 0, its limit.
struct Sigmoid {
  template <class A>
  ATROUS_HD A operator()(A x) const {
    return A(1) / (A(1) + std::exp(-x));
  }
};

struct SigmoidGradient {
  template <class A>
  ATROUS_HD A operator()(A y, A dy) const {
    return dy * (y * (A(1) - y));
  }
};

// The choice changes no bit; without it ptxas 13.0 spills registers for double.
struct Exp {
  template <class A>
  ATROUS_HD A operator()(A x) const {
    return x == A(0) ? A(1) : std::exp(x);
  }
};

/// Whether the maximum of a and b is b: it is greater, or a NaN beside a number.
template <class A>
ATROUS_HD bool second_is_maximum(A a, A b) {
  return (a < b) | ((b != b) & (a == a));
}

struct Maximum {
  template <class A>
  ATROUS_HD A operator()(A a, A b) const {
    return second_is_maximum(a, b) ? b : a;
  }
};

struct MaximumGradient {
  bool second;
  template <class A>
  ATROUS_HD A operator()(A a, A b, A dy) const {
    return second_is_maximum(a, b) == second ? dy : A(0);
  }
};

struct Plus {
  template <class A>
  ATROUS_HD A operator()(A a, A b) const {
    return a + b;
  }
};

struct Times {
  template <class A>
  ATROUS_HD A operator()(A a, A b) const {
    return a * b;
  }
};

template <class A>
struct TimesFactor {
  A factor;
  ATROUS_HD A operator()(A x) const { return factor * x; }
};

/// y[i] = f(x[i])
template <class T, class F>
struct UnaryBody {
  Span<const T> x;
  Span<T> y;
  F f = {};
  ATROUS_HD void operator()(std::int64_t i) const { y[i] = T(f(Accumulator<T>(x[i]))); }
};

/// y[i] = f(a[i], b[i])
template <class T, class F>
struct BinaryBody {
  Span<const T> a, b;
  Span<T> y;
  F f = {};
  ATROUS_HD void operator()(std::int64_t i) const { y[i] = T(f(Accumulator<T>(a[i]), Accumulator<T>(b[i]))); }
};

/// y[i] = f(a[i], b[i], c[i])
template <class T, class F>
struct TernaryBody {
  Span<const T> a, b, c;
  Span<T> y;
  F f = {};
  ATROUS_HD void operator()(std::int64_t i) const {
    y[i] = T(f(Accumulator<T>(a[i]), Accumulator<T>(b[i]), Accumulator<T>(c[i])));
  }
};

template <class T>
using ReluForward = UnaryBody<T, Relu>;
template <class T>
using ReluBackward = BinaryBody<T, ReluGradient>;
template <class T>
using Relu6Forward = UnaryBody<T, Relu6>;
template <class T>
using Relu6Backward = BinaryBody<T, Relu6Gradient>;
template <class T>
using AddForward = BinaryBody<T, Plus>;
template <class T>
using MulForward = BinaryBody<T, Times>;
template <class T>
using ScaleForward = UnaryBody<T, TimesFactor<Accumulator<T>>>;

}  // namespace atrous::kernels
