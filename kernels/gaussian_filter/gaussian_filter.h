#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// Gaussian filtering of points as the sum itself, over all pairs: what permutohedral approximates. For small
// fields (64 x 64 pixels are 17 million pairs), and the oracle of the tests.

namespace atrous::kernels {

struct GaussianDims {
  std::int64_t points, features, classes;
};

/// out[i] = post[i] sum over j of exp(-|f_i - f_j|^2 / 2) pre[j] values[j], the term j = i included. Sums run
/// over j ascending. The transposed filter swaps pre and post.
///   features   [P, d], in standard deviations
///   pre, post  [P], or empty for ones
///   values     [P, classes]
///   out        [P, classes], overwritten
ATROUS_KERNEL(gaussian_filter_forward, const GaussianDims& dims, Span<const T> features, Span<const T> pre,
              Span<const T> post, Span<const T> values, Span<T> out);

/// The gradient of <dout, out> by the features:
///   dfeatures[i] = sum over j of k_ij (g_i . v_j + g_j . v_i) (f_j - f_i),   g = post dout, v = pre values
ATROUS_KERNEL(gaussian_filter_backward_features, const GaussianDims& dims, Span<const T> features,
              Span<const T> pre, Span<const T> post, Span<const T> values, Span<const T> dout,
              Span<T> dfeatures);

}  // namespace atrous::kernels
