#pragma once

#include <memory>

#include "atrous/autograd/filter_options.h"
#include "atrous/autograd/variable.h"

// Gaussian filtering of the pixels of an image, or of any points, by any features: the pairwise term of a
// fully connected CRF, and the bilateral filter. All of it is differentiable, by what is filtered and by what
// decides who is near.

namespace atrous {

/// Each point's values summed over all points of its image, itself included, by how near their features are:
///
///   y[n,i,c] = post[i] sum over j of exp(-|f[n,i] - f[n,j]|^2 / 2) pre[j] x[n,j,c]
///
/// with pre and post by the normalisation.
///
///   x         [N, H, W, C]; points without an image are [N, 1, P, C]
///   features  [N, H, W, d] in standard deviations, d in 1..32 for the lattice
///   returns   [N, H, W, C]
///
/// bf16 is computed in f32. Throws ShapeError if N, H or W differ, ValueError for features that are not
/// finite or farther apart than the lattice counts (2^30 / (d + 1) deviations), for 2^31 / (d + 1) points an
/// image, and for a method that is neither lattice nor exact. Source: Krahenbuhl and Koltun, "Efficient
/// Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011; Adams et al. 2010 for the
/// lattice.
Variable gaussian_filter(const Variable& x, const Variable& features,
                         const GaussianFilterOptions& options = {});

/// The same, built once for a set of features and applied any number of times.
class GaussianFilter {
 public:
  explicit GaussianFilter(const Variable& features, const GaussianFilterOptions& options = {});
  Variable operator()(const Variable& x) const;

 private:
  struct Built;
  std::shared_ptr<const Built> built_;
};

/// gaussian_filter by places alone, f = (x / sigma[0], y / sigma[1]): rows, then columns. Exact but for taps
/// beyond 5 standard deviations.
///
///   x        [N, H, W, C]
///   sigma    [2]: pixels across, pixels down
///   returns  [N, H, W, C]
///
/// bf16 is computed in f32; on CUDA the host reads sigma, and computes the gradient by it between the
/// filters. Throws ShapeError for another sigma or an image without pixels, ValueError unless
/// both are positive and finite.
Variable spatial_gaussian(const Variable& x, const Variable& sigma,
                          Normalization normalization = Normalization::none);

/// Features of pixels: (x / sigma[0], y / sigma[1], image[..,c] / sigma[2 + c]).
///
///   image    [N, H, W, C], or undefined: places alone, for `shape`
///   sigma    [2 + C], standard deviations: pixels, then units of the image
///   shape    {N, H, W, any}; read without an image alone
///   returns  [N, H, W, 2 + C]
///
/// Throws ShapeError for a sigma of another size, ValueError unless every element of it is positive and
/// finite.
Variable pixel_features(const Variable& image, const Variable& sigma, const Shape& shape = {});

}  // namespace atrous
