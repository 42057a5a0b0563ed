#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/elementwise/elementwise_body.h"
#include "atrous/kernels/for_each.h"

namespace atrous::kernels::cpu {

template <class T>
void relu_forward(Stream, Span<const T> x, Span<T> y) {
  for_each(y.size(), ReluForward<T>{x, y});
}
ATROUS_INSTANTIATE(relu_forward);

template <class T>
void relu_backward(Stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  for_each(dx.size(), ReluBackward<T>{y, dy, dx});
}
ATROUS_INSTANTIATE(relu_backward);

template <class T>
void relu6_forward(Stream, Span<const T> x, Span<T> y) {
  for_each(y.size(), Relu6Forward<T>{x, y});
}
ATROUS_INSTANTIATE(relu6_forward);

template <class T>
void relu6_backward(Stream, Span<const T> y, Span<const T> dy, Span<T> dx) {
  for_each(dx.size(), Relu6Backward<T>{y, dy, dx});
}
ATROUS_INSTANTIATE(relu6_backward);

template <class T>
void add_forward(Stream, Span<const T> a, Span<const T> b, Span<T> sum) {
  for_each(sum.size(), AddForward<T>{a, b, sum});
}
ATROUS_INSTANTIATE(add_forward);

template <class T>
void mul_forward(Stream, Span<const T> a, Span<const T> b, Span<T> product) {
  for_each(product.size(), MulForward<T>{a, b, product});
}
ATROUS_INSTANTIATE(mul_forward);

template <class T>
void scale_forward(Stream, double factor, Span<const T> x, Span<T> y) {
  for_each(y.size(), ScaleForward<T>{T(factor), x, y});
}
ATROUS_INSTANTIATE(scale_forward);

}  // namespace atrous::kernels::cpu
