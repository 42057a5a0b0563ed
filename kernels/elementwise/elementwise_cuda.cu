#include "atrous/kernels/elementwise/elementwise.cuh"
#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/elementwise/elementwise_body.h"

namespace atrous::kernels::cuda {

template <class T>
void relu_forward(Stream stream, Span<const T> x, Span<T> y) {
  elementwise(stream, Relu(), y, x);
}
ATROUS_INSTANTIATE(relu_forward);

template <class T>
void relu_backward(Stream stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  elementwise(stream, ReluGradient(), dx, y, dy);
}
ATROUS_INSTANTIATE(relu_backward);

template <class T>
void relu6_forward(Stream stream, Span<const T> x, Span<T> y) {
  elementwise(stream, Relu6(), y, x);
}
ATROUS_INSTANTIATE(relu6_forward);

template <class T>
void relu6_backward(Stream stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  elementwise(stream, Relu6Gradient(), dx, y, dy);
}
ATROUS_INSTANTIATE(relu6_backward);

template <class T>
void hard_swish_forward(Stream stream, Span<const T> x, Span<T> y) {
  elementwise(stream, HardSwish(), y, x);
}
ATROUS_INSTANTIATE(hard_swish_forward);

template <class T>
void hard_swish_backward(Stream stream, Span<const T> x, Span<const T> dy, Span<T> dx) {
  elementwise(stream, HardSwishGradient(), dx, x, dy);
}
ATROUS_INSTANTIATE(hard_swish_backward);

template <class T>
void hard_sigmoid_forward(Stream stream, Span<const T> x, Span<T> y) {
  elementwise(stream, HardSigmoid(), y, x);
}
ATROUS_INSTANTIATE(hard_sigmoid_forward);

template <class T>
void hard_sigmoid_backward(Stream stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  elementwise(stream, HardSigmoidGradient(), dx, y, dy);
}
ATROUS_INSTANTIATE(hard_sigmoid_backward);

template <class T>
void sigmoid_forward(Stream stream, Span<const T> x, Span<T> y) {
  elementwise(stream, Sigmoid(), y, x);
}
ATROUS_INSTANTIATE(sigmoid_forward);

template <class T>
void sigmoid_backward(Stream stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  elementwise(stream, SigmoidGradient(), dx, y, dy);
}
ATROUS_INSTANTIATE(sigmoid_backward);

template <class T>
void exp_forward(Stream stream, Span<const T> x, Span<T> y) {
  elementwise(stream, Exp(), y, x);
}
ATROUS_INSTANTIATE(exp_forward);

template <class T>
void maximum_forward(Stream stream, Span<const T> a, Span<const T> b, Span<T> y) {
  elementwise(stream, Maximum(), y, a, b);
}
ATROUS_INSTANTIATE(maximum_forward);

template <class T>
void maximum_backward(Stream stream, bool second, Span<const T> a, Span<const T> b, Span<const T> dy,
                      Span<T> dx) {
  elementwise(stream, MaximumGradient{second}, dx, a, b, dy);
}
ATROUS_INSTANTIATE(maximum_backward);

template <class T>
void add_forward(Stream stream, Span<const T> a, Span<const T> b, Span<T> sum) {
  elementwise(stream, Plus(), sum, a, b);
}
ATROUS_INSTANTIATE(add_forward);

template <class T>
void mul_forward(Stream stream, Span<const T> a, Span<const T> b, Span<T> product) {
  elementwise(stream, Times(), product, a, b);
}
ATROUS_INSTANTIATE(mul_forward);

template <class T>
void scale_forward(Stream stream, double factor, Span<const T> x, Span<T> y) {
  elementwise(stream, TimesFactor<Accumulator<T>>{Accumulator<T>(factor)}, y, x);
}
ATROUS_INSTANTIATE(scale_forward);

}  // namespace atrous::kernels::cuda
