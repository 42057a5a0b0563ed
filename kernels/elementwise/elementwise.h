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

/// y[i] = x[i] * min(max(x[i] + 3, 0), 6) / 6: 0 up to -3, x from 3 on. NaN stays NaN.
ATROUS_KERNEL(hard_swish_forward, Span<const T> x, Span<T> y);
/// dx[i] = dy[i] * (0 for x[i] <= -3, 1 for x[i] >= 3, else (2 x[i] + 3) / 6). Reads the input.
ATROUS_KERNEL(hard_swish_backward, Span<const T> x, Span<const T> dy, Span<T> dx);

/// y[i] = min(max(x[i] + 3, 0), 6) / 6. NaN stays NaN.
ATROUS_KERNEL(hard_sigmoid_forward, Span<const T> x, Span<T> y);
/// dx[i] = dy[i] / 6 where 0 < y[i] < 1, else 0. Reads the output y.
ATROUS_KERNEL(hard_sigmoid_backward, Span<const T> y, Span<const T> dy, Span<T> dx);

/// y[i] = 1 / (1 + exp(-x[i]))
ATROUS_KERNEL(sigmoid_forward, Span<const T> x, Span<T> y);
/// dx[i] = dy[i] y[i] (1 - y[i]). Reads the output y.
ATROUS_KERNEL(sigmoid_backward, Span<const T> y, Span<const T> dy, Span<T> dx);

/// y[i] = e^x[i]. Its backward is mul_forward: dx = dy * y.
ATROUS_KERNEL(exp_forward, Span<const T> x, Span<T> y);

/// y[i] = the greater of a[i] and b[i], a NaN before anything else.
ATROUS_KERNEL(maximum_forward, Span<const T> a, Span<const T> b, Span<T> y);
/// dx[i] = dy[i] where y[i] came from a[i] (`second`: from b[i]), else 0. Of equals it came from a.
ATROUS_KERNEL(maximum_backward, bool second, Span<const T> a, Span<const T> b, Span<const T> dy, Span<T> dx);

/// sum[i] = a[i] + b[i]; `sum` may be `a`.
ATROUS_KERNEL(add_forward, Span<const T> a, Span<const T> b, Span<T> sum);

/// product[i] = a[i] * b[i]. Its backward is the same kernel: da = dproduct * b.
ATROUS_KERNEL(mul_forward, Span<const T> a, Span<const T> b, Span<T> product);

/// y[i] = factor * x[i], the factor rounded to Accumulator<T>; y may be x. Its backward is the same kernel.
ATROUS_KERNEL(scale_forward, double factor, Span<const T> x, Span<T> y);

}  // namespace atrous::kernels
