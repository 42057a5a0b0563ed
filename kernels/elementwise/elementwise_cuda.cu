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
