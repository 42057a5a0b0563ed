#pragma once

#include <cstdint>

#include "atrous/kernels/kernel.h"

// What mean field does with filtered marginals: features of pixels, the scales that normalise a filter, the
// messages of one label to another. models/dense_crf.h has the whole.

namespace atrous::kernels {

struct CrfDims {
  std::int64_t points, classes;
};

/// What one label costs beside another.
enum class CrfCompatibility {
  potts,     ///< w where they differ: mu has one element
  diagonal,  ///< minus v[a] where both are a: mu [classes]
  matrix     ///< mu[a,b], a penalty: mu [classes, classes]
};

/// What a probability may be by rounding.
inline constexpr double kMostProbability = 1 + 1e-3;
/// u = -log(max(clip, share p + uniform)), at least 0: energies of probabilities. NaN where p is not in
/// 0..kMostProbability, infinite where the logarithm is that of 0.
ATROUS_KERNEL(crf_unary, double share, double uniform, double clip, Span<const T> p, Span<T> u);

/// What each class costs at a pixel with this label: `right` for the label, `wrong` for the others.
struct CrfLabelCosts {
  double right, wrong, unknown;
};
/// u[p,c], from targets of cross_entropy_targets: `unknown` for every class where targets[p] is -1.
///   targets  [points]
///   u        [points, classes], overwritten
ATROUS_KERNEL(crf_unary_of_targets, const CrfDims& dims, const CrfLabelCosts& costs,
              Span<const std::int32_t> targets, Span<T> u);

/// z[i] -= mu message[i], for Potts without the sum over all labels, which every label of a pixel would have.
ATROUS_KERNEL(crf_add_message, const CrfDims& dims, CrfCompatibility kind, Span<const T> mu,
              Span<const T> message, Span<T> z);

/// q = (1 - relax) old + relax q
ATROUS_KERNEL(crf_relax, double relax, Span<const T> old, Span<T> q);

/// What a pixel of an image is compared by: (x / sigma[0], y / sigma[1], image[.,c] / sigma[2 + c]).
struct PixelFeatureDims {
  std::int64_t batch, height, width, channels;  ///< 0 channels: places alone
};
///   image     [batch, height, width, channels]
///   features  [batch, height, width, 2 + channels], overwritten
ATROUS_KERNEL(pixel_features_forward, const PixelFeatureDims& dims, Span<const T> image, Span<const T> sigma,
              Span<T> features);
///   dimage  like image, or empty if it is not wanted
///   dsigma  [2 + channels], overwritten: -sum of features dfeatures / sigma
///   sums    [batch height, 2 + channels], scratch
ATROUS_KERNEL(pixel_features_backward, const PixelFeatureDims& dims, Span<const T> features,
              Span<const T> sigma, Span<const T> dfeatures, Span<double> sums, Span<T> dimage,
              Span<T> dsigma);

/// Scales from n, the filter of all ones: each of pre and post is n^-power, n at least 1e-20; an empty one is
/// not written.
ATROUS_KERNEL(crf_normalizers, double pre_power, double post_power, Span<const T> n, Span<T> pre,
              Span<T> post);
/// The gradient by n:  dn[i] = -(post_power <dout[i], out[i]> + pre_power <dvalues[i], values[i]>) / n[i]
ATROUS_KERNEL(crf_normalizers_backward, const CrfDims& dims, double pre_power, double post_power,
              Span<const T> n, Span<const T> values, Span<const T> dvalues, Span<const T> out,
              Span<const T> dout, Span<T> dn);

}  // namespace atrous::kernels
