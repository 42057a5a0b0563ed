#pragma once

#include "atrous/kernels/kernel.h"

// Elementwise kernels: output element i depends on element i of each input, whatever the shape. Spans of one
// call have equal sizes.

namespace atrous::kernels {

/// y[i] = max(x[i], 0). NaN stays NaN.
ATROUS_KERNEL(relu_forward, Span<const T> x, Span<T> y);
/// dx[i] = dy[i] where y[i] > 0, else 0. Reads the output y, which layers keep anyway, not x.
ATROUS_KERNEL(relu_backward, Span<const T> y, Span<const T> dy, Span<T> dx);

/// y[i] = min(max(x[i], 0), 6). NaN stays NaN.
ATROUS_KERNEL(relu6_forward, Span<const T> x, Span<T> y);
/// dx[i] = dy[i] where 0 < y[i] < 6, else 0. Reads the output y.
ATROUS_KERNEL(relu6_backward, Span<const T> y, Span<const T> dy, Span<T> dx);

/// sum[i] = a[i] + b[i]; `sum` may be `a`.
ATROUS_KERNEL(add_forward, Span<const T> a, Span<const T> b, Span<T> sum);

/// product[i] = a[i] * b[i]. Its backward is the same kernel: da = dproduct * b.
ATROUS_KERNEL(mul_forward, Span<const T> a, Span<const T> b, Span<T> product);

/// y[i] = factor * x[i], the factor rounded to Accumulator<T>; y may be x. Its backward is the same kernel.
ATROUS_KERNEL(scale_forward, double factor, Span<const T> x, Span<T> y);

}  // namespace atrous::kernels
