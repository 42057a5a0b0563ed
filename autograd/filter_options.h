#pragma once

// How points are filtered by a Gaussian of their features: what gaussian_filter() and the dense CRF share.

namespace atrous {

/// How the sum over all pairs is found.
enum class FilterMethod {
  lattice,    ///< the permutohedral lattice: linear in the points, approximate (kernels/permutohedral)
  exact,      ///< the sum itself, quadratic in the points
  separable,  ///< rows, then columns: exact, for places in an image as the only features
  automatic   ///< of a dense CRF's terms: separable where that is possible and faster, else the lattice
};

/// What the filter is divided by, with n = K 1, the filter of all ones.
enum class Normalization {
  none,      ///< K
  mean,      ///< K / mean(n)
  before,    ///< K D^-1, D = diag(n): what each point gives away adds up to 1
  after,     ///< D^-1 K: what each point receives is a mean
  symmetric  ///< D^-1/2 K D^-1/2
};

/// What the lattice's result is multiplied by (only seen where nothing is normalised).
enum class FilterScale {
  alpha,  ///< a point on a vertex sees itself with weight 1: as everybody's
  mass    ///< sums over dense points are those of the Gaussian
};

/// What the gradient by the features is the derivative of.
enum class FeatureGradient {
  method,   ///< of the method: of the sum, or of the lattice as the piecewise smooth function that it is
  identity  ///< of the Gaussian, by the method's own filters:
            ///< df[i] = sum over j of k_ij (g_i . v_j + g_j . v_i) (f_j - f_i); smoother than the lattice's,
            ///< and the slower of both, with 2 (d + 1) filters
};

/// "lattice", "symmetric", ...
const char* filter_method_name(FilterMethod method);
const char* normalization_name(Normalization normalization);

struct GaussianFilterOptions {
  FilterMethod method = FilterMethod::lattice;  ///< lattice or exact
  Normalization normalization = Normalization::none;
  FilterScale scale = FilterScale::alpha;
  FeatureGradient feature_gradient = FeatureGradient::method;
};

}  // namespace atrous
