#include "atrous/kernels/elementwise/elementwise.h"

#include <type_traits>

#include "atrous/kernels/elementwise/elementwise_body.h"
#include "atrous/kernels/elementwise/elementwise_simd.h"
#include "atrous/kernels/for_each.h"

namespace atrous::kernels::cpu {
namespace {

// Floats go through `simd(begin, n)`, a loop for the instruction set of this machine; all else through
// `body`.
template <class T, class Simd, class Body>
void for_each_or_simd(std::int64_t n, const Simd& simd, const Body& body) {
  if constexpr (std::is_same_v<T, float>)
    parallel_for(n, kElementGrain, [&](std::int64_t begin, std::int64_t end) { simd(begin, end - begin); });
  else
    for_each(n, body);
}

}  // namespace

template <class T>
void relu_forward(Stream, Span<const T> x, Span<T> y) {
  for_each_or_simd<T>(
      y.size(), [=](auto i, auto n) { simd::relu_forward(x.data() + i, y.data() + i, n); },
      ReluForward<T>{x, y});
}
ATROUS_INSTANTIATE(relu_forward);

template <class T>
void relu_backward(Stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  for_each_or_simd<T>(
      dx.size(), [=](auto i, auto n) { simd::relu_backward(y.data() + i, dy.data() + i, dx.data() + i, n); },
      ReluBackward<T>{y, dy, dx});
}
ATROUS_INSTANTIATE(relu_backward);

template <class T>
void relu6_forward(Stream, Span<const T> x, Span<T> y) {
  for_each_or_simd<T>(
      y.size(), [=](auto i, auto n) { simd::relu6_forward(x.data() + i, y.data() + i, n); },
      Relu6Forward<T>{x, y});
}
ATROUS_INSTANTIATE(relu6_forward);

template <class T>
void relu6_backward(Stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  for_each_or_simd<T>(
      dx.size(), [=](auto i, auto n) { simd::relu6_backward(y.data() + i, dy.data() + i, dx.data() + i, n); },
      Relu6Backward<T>{y, dy, dx});
}
ATROUS_INSTANTIATE(relu6_backward);

template <class T>
void hard_swish_forward(Stream, Span<const T> x, Span<T> y) {
  for_each_or_simd<T>(
      y.size(), [=](auto i, auto n) { simd::hard_swish_forward(x.data() + i, y.data() + i, n); },
      UnaryBody<T, HardSwish>{x, y});
}
ATROUS_INSTANTIATE(hard_swish_forward);

template <class T>
void hard_swish_backward(Stream, Span<const T> x, Span<const T> dy, Span<T> dx) {
  for_each_or_simd<T>(
      dx.size(),
      [=](auto i, auto n) { simd::hard_swish_backward(x.data() + i, dy.data() + i, dx.data() + i, n); },
      BinaryBody<T, HardSwishGradient>{x, dy, dx});
}
ATROUS_INSTANTIATE(hard_swish_backward);

template <class T>
void hard_sigmoid_forward(Stream, Span<const T> x, Span<T> y) {
  for_each(y.size(), UnaryBody<T, HardSigmoid>{x, y});
}
ATROUS_INSTANTIATE(hard_sigmoid_forward);

template <class T>
void hard_sigmoid_backward(Stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  for_each(dx.size(), BinaryBody<T, HardSigmoidGradient>{y, dy, dx});
}
ATROUS_INSTANTIATE(hard_sigmoid_backward);

template <class T>
void sigmoid_forward(Stream, Span<const T> x, Span<T> y) {
  for_each(y.size(), UnaryBody<T, Sigmoid>{x, y});
}
ATROUS_INSTANTIATE(sigmoid_forward);

template <class T>
void sigmoid_backward(Stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  for_each(dx.size(), BinaryBody<T, SigmoidGradient>{y, dy, dx});
}
ATROUS_INSTANTIATE(sigmoid_backward);

template <class T>
void exp_forward(Stream, Span<const T> x, Span<T> y) {
  for_each(y.size(), UnaryBody<T, Exp>{x, y});
}
ATROUS_INSTANTIATE(exp_forward);

template <class T>
void maximum_forward(Stream, Span<const T> a, Span<const T> b, Span<T> y) {
  for_each(y.size(), BinaryBody<T, Maximum>{a, b, y});
}
ATROUS_INSTANTIATE(maximum_forward);

template <class T>
void maximum_backward(Stream, bool second, Span<const T> a, Span<const T> b, Span<const T> dy, Span<T> dx) {
  for_each(dx.size(), TernaryBody<T, MaximumGradient>{a, b, dy, dx, {second}});
}
ATROUS_INSTANTIATE(maximum_backward);

template <class T>
void add_forward(Stream, Span<const T> a, Span<const T> b, Span<T> sum) {
  for_each_or_simd<T>(
      sum.size(), [=](auto i, auto n) { simd::add_forward(a.data() + i, b.data() + i, sum.data() + i, n); },
      AddForward<T>{a, b, sum});
}
ATROUS_INSTANTIATE(add_forward);

template <class T>
void mul_forward(Stream, Span<const T> a, Span<const T> b, Span<T> product) {
  for_each_or_simd<T>(
      product.size(),
      [=](auto i, auto n) { simd::mul_forward(a.data() + i, b.data() + i, product.data() + i, n); },
      MulForward<T>{a, b, product});
}
ATROUS_INSTANTIATE(mul_forward);

template <class T>
void scale_forward(Stream, double factor, Span<const T> x, Span<T> y) {
  for_each_or_simd<T>(
      y.size(), [=](auto i, auto n) { simd::scale_forward(float(factor), x.data() + i, y.data() + i, n); },
      ScaleForward<T>{x, y, {Accumulator<T>(factor)}});
}
ATROUS_INSTANTIATE(scale_forward);

}  // namespace atrous::kernels::cpu
