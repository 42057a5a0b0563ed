#pragma once

#include <cstdint>
#include <optional>

#include "atrous/autograd/filter_options.h"
#include "atrous/autograd/lattice.h"
#include "atrous/kernels/gaussian_filter/separable_gaussian.h"

// A filter of one set of points, normalised: what gaussian_filter() makes for each image, and a dense CRF
// once for all its iterations.

namespace atrous {

/// The powers of 1 / n in pre and in post.
struct NormalizerPowers {
  double pre = 0, post = 0;
};
NormalizerPowers normalizer_powers(Normalization normalization);

template <class T>
class PointFilter {
 public:
  /// By the lattice or exactly. `features` [P, d]; a copy is kept for the exact sum.
  PointFilter(const char* op, Stream stream, const kernels::LatticeDims& dims, Span<const T> features,
              const GaussianFilterOptions& options);
  /// The separable Gaussian of an image's places. classes of `dims` are not read.
  PointFilter(Stream stream, const kernels::SeparableGaussianDims& dims, Normalization normalization);

  std::int64_t points() const { return points_; }
  /// out = post K pre values, or its transpose (pre K' post).
  void apply(std::int64_t classes, bool transposed, Span<const T> values, Span<T> out) const;
  /// dfeatures [P, d] of <dout, apply(values)>, what n has of it included. out and dvalues are the results of
  /// apply(values), and of the transposed one of dout. Features of a separable filter: (x / sigma_x, y /
  /// sigma_y).
  void backward_features(std::int64_t classes, Span<const T> features, Span<const T> values,
                         Span<const T> dvalues, Span<const T> out, Span<const T> dout,
                         Span<T> dfeatures) const;

  const Lattice<T>* lattice() const { return lattice_ ? &*lattice_ : nullptr; }
  const FilterScales& scales() const { return scales_; }
  /// A factor of every result, beside the scales.
  double factor() const { return factor_; }
  std::int64_t bytes() const;

 private:
  void raw(std::int64_t classes, const FilterScales& scales, double factor, bool transposed,
           Span<const T> values, Span<T> out) const;
  void normalize();
  void raw_backward(std::int64_t classes, const FilterScales& scales, double factor, Span<const T> features,
                    Span<const T> values, Span<const T> dout, Span<T> dfeatures) const;
  void identity_backward(std::int64_t classes, const FilterScales& scales, double factor,
                         Span<const T> features, Span<const T> values, Span<const T> dout,
                         Span<T> dfeatures) const;

  Stream stream_;
  std::int64_t points_;
  std::int64_t feature_count_;
  Normalization normalization_;
  FeatureGradient gradient_;
  double alpha_ = 1;   // the lattice's scale
  double factor_ = 1;  // alpha, or alpha / mean(n)
  std::optional<Lattice<T>> lattice_;
  Tensor features_;  // of the exact sum
  std::optional<kernels::SeparableGaussianDims> separable_;
  Tensor n_;
  FilterScales scales_;
};

}  // namespace atrous
