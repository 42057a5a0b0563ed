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

// The same gradient by filters alone, whichever K they apply: with v = pre values and g = post dout,
//   dfeatures[i,k] = g_i . (K (f_k v) - f_k K v)_i + v_i . (K' (f_k g) - f_k K' g)_i
// So rows of v, f_1 v .. f_d v side by side are filtered, and rows of g; then both come together.

/// rows[i,0] = scale[i] values[i], rows[i,k] = features[i,k-1] rows[i,0]
///   scale  [P], or empty for ones
///   rows   [P, d + 1, classes], overwritten
ATROUS_KERNEL(identity_rows, const GaussianDims& dims, Span<const T> features, Span<const T> scale,
              Span<const T> values, Span<T> rows);
///   v, g    identity_rows of values and pre, and of dout and post
///   kv, kg  K v and K' g
ATROUS_KERNEL(identity_backward_features, const GaussianDims& dims, Span<const T> features, Span<const T> v,
              Span<const T> g, Span<const T> kv, Span<const T> kg, Span<T> dfeatures);

}  // namespace atrous::kernels
