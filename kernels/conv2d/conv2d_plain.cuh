#pragma once

#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/for_each_cuda.cuh"

// The plain convolution on CUDA: a thread computes one output element by the bodies of conv2d_body.h. It
// serves double, and sizes that the tiled kernels refuse; they are compared with it.

namespace atrous::kernels::cuda {

/// Element i of rows of `width` elements, by a body that takes pieces of a row.
template <class Body>
struct ElementOfRow {
  std::int64_t width;
  Body body;
  ATROUS_HD void operator()(std::int64_t i) const { body(i / width, i % width, i % width + 1); }
};

template <class Body>
void for_each_element(Stream stream, std::int64_t rows, std::int64_t width, const Body& body) {
  for_each(stream, rows * width, ElementOfRow<Body>{width, body});
}

template <class T>
void plain_forward(Stream stream, const Conv2dDims& d, Span<const T> x, Span<const T> weight,
                   const Conv2dEpilogue<T>& epilogue, Span<T> y) {
  for_each_element(stream, d.out_pixels(), d.out_channels, Conv2dForward<T, 1>{d, x, weight, epilogue, y});
}

template <class T>
void plain_backward_input(Stream stream, const Conv2dDims& d, Span<const T> dy, Span<const T> weight,
                          Span<const T> bias, Span<T> dx) {
  for_each_element(stream, d.in_pixels(), d.in_channels, Conv2dBackwardInput<T, 1>{d, dy, weight, bias, dx});
}

template <class T>
void plain_backward_weight(Stream stream, const Conv2dDims& d, Span<const T> x, Span<const T> dy,
                           Span<T> dweight) {
  for_each_element(stream, d.taps() * d.in_channels, d.out_channels,
                   Conv2dBackwardWeight<T, 1>{d, x, dy, dweight});
}

}  // namespace atrous::kernels::cuda
