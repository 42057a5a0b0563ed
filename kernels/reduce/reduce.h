#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// Reductions. A sum is a tree whose shape depends on the number of elements alone: leaves of 1024 elements
// with 16 running sums each, then pairs of leaves, pairs of pairs, and so on. So 1 and 2 threads give the
// same bits, and the error grows with the logarithm of the length. Sums of floats are kept in double and
// rounded once, at the end.
//
// Results are one double in memory of the device, `scratch` is reduce_workspace_size(x.size()) doubles.

namespace atrous::kernels {

/// Doubles of scratch for a reduction of n elements: one a leaf.
std::int64_t reduce_workspace_size(std::int64_t n);

/// result[0] = sum over i of x[i]; 0 for no elements.
ATROUS_KERNEL(sum_forward, Span<const T> x, Span<double> scratch, Span<double> result);
/// result[0] = sum over i of x[i]^2, squared in double.
ATROUS_KERNEL(sum_of_squares, Span<const T> x, Span<double> scratch, Span<double> result);
/// result[0] = max over i of |x[i]|; NaN if any is; 0 for no elements.
ATROUS_KERNEL(max_abs, Span<const T> x, Span<double> scratch, Span<double> result);
/// result[0] = 1 if no element is infinite or NaN, else 0.
ATROUS_KERNEL(all_finite, Span<const T> x, Span<double> scratch, Span<double> result);

/// dx[i] = factor * dy[0]: the backward of a sum (factor 1) and of a mean.
ATROUS_KERNEL(sum_backward, double factor, Span<const T> dy, Span<T> dx);

/// A matrix: everything but the last axis, and the last axis.
struct RowsDims {
  std::int64_t rows, channels;
};

/// Doubles of scratch for channel_sums.
std::int64_t channel_sums_workspace_size(const RowsDims& dims, Device device = kCpu);

/// y[c] = sum over rows of x[row, c]: the gradient of a bias. Groups of rows (8 on the CPU) are added in
/// Accumulator<T>, all else in double.
///   x  [rows, channels]
///   y  [channels]
ATROUS_KERNEL(channel_sums, const RowsDims& dims, Span<const T> x, Span<double> scratch, Span<T> y);

}  // namespace atrous::kernels
