#include "atrous/autograd/point_filter.h"

#include <algorithm>
#include <utility>

#include "atrous/kernels/dense_crf/dense_crf.h"
#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/gaussian_filter/gaussian_filter.h"
#include "atrous/kernels/reduce/reduce.h"

namespace atrous {
namespace {

template <class T>
Span<const T> read(const Tensor& t) {
  return t.defined() ? t.span<T>() : Span<const T>();
}

// The sum of all elements. One number is read of the device.
template <class T>
double sum_of(const Tensor& x) {
  Tensor scratch = Tensor::empty({kernels::reduce_workspace_size(x.numel())}, Dtype::f64, x.device());
  Tensor result = Tensor::empty({1}, Dtype::f64, x.device());
  kernels::sum_forward<T>(x.stream(), x.span<T>(), scratch.span<double>(), result.span<double>());
  return result.item();
}

}  // namespace

const char* filter_method_name(FilterMethod method) {
  constexpr const char* kNames[] = {"lattice", "exact", "separable", "automatic"};
  return kNames[int(method)];
}
const char* normalization_name(Normalization normalization) {
  constexpr const char* kNames[] = {"none", "mean", "before", "after", "symmetric"};
  return kNames[int(normalization)];
}

NormalizerPowers normalizer_powers(Normalization normalization) {
  switch (normalization) {
    case Normalization::before:
      return {1, 0};
    case Normalization::after:
      return {0, 1};
    case Normalization::symmetric:
      return {0.5, 0.5};
    case Normalization::none:
    case Normalization::mean:
      break;
  }
  return {};
}

template <class T>
PointFilter<T>::PointFilter(const char* op, Stream stream, const kernels::LatticeDims& dims,
                            Span<const T> features, const GaussianFilterOptions& options)
    : stream_(stream),
      points_(dims.points),
      feature_count_(dims.features),
      normalization_(options.normalization),
      gradient_(options.feature_gradient) {
  if (options.method == FilterMethod::exact) {
    features_ = Tensor::empty({features.size()}, dtype_of<T>(), stream.device);
    kernels::scale_forward<T>(stream, 1.0, features, features_.span<T>());
  } else {
    ATROUS_CHECK(ValueError, options.method == FilterMethod::lattice, op,
                 "a filter by features is lattice or exact, not ", filter_method_name(options.method));
    lattice_.emplace(op, stream, dims, features);
    alpha_ = options.scale == FilterScale::alpha ? kernels::lattice_alpha(dims.features)
                                                 : kernels::lattice_mass(dims.features);
  }
  normalize();
}

template <class T>
PointFilter<T>::PointFilter(Stream stream, const kernels::SeparableGaussianDims& dims,
                            Normalization normalization)
    : stream_(stream),
      points_(dims.height * dims.width),
      feature_count_(2),
      normalization_(normalization),
      gradient_(FeatureGradient::identity),
      separable_(dims) {
  normalize();
}

template <class T>
void PointFilter<T>::normalize() {
  factor_ = alpha_;
  if (normalization_ == Normalization::none) return;
  const Tensor ones = Tensor::full({points_}, 1, dtype_of<T>(), stream_.device);
  n_ = Tensor::empty({points_}, dtype_of<T>(), stream_.device);
  raw(1, {}, alpha_, false, ones.span<T>(), n_.span<T>());
  if (normalization_ == Normalization::mean) {
    factor_ = alpha_ / std::max(sum_of<T>(n_) / double(points_), 1e-20);
    return;
  }
  const NormalizerPowers powers = normalizer_powers(normalization_);
  if (powers.pre > 0) scales_.pre = Tensor::empty({points_}, dtype_of<T>(), stream_.device);
  if (powers.post > 0) scales_.post = Tensor::empty({points_}, dtype_of<T>(), stream_.device);
  kernels::crf_normalizers<T>(stream_, powers.pre, powers.post, std::as_const(n_).span<T>(),
                              powers.pre > 0 ? scales_.pre.span<T>() : Span<T>(),
                              powers.post > 0 ? scales_.post.span<T>() : Span<T>());
}

template <class T>
void PointFilter<T>::raw(std::int64_t classes, const FilterScales& scales, double factor, bool transposed,
                         Span<const T> values, Span<T> out) const {
  if (lattice_) return lattice_->filter(classes, scales, factor, transposed, values, out);
  if (separable_) {
    kernels::SeparableGaussianDims dims = *separable_;
    dims.classes = classes;
    Tensor rows = Tensor::empty({values.size()}, dtype_of<T>(), stream_.device);
    kernels::separable_gaussian<T>(stream_, dims, read<T>(scales.pre), read<T>(scales.post), values,
                                   rows.span<T>(), out);
  } else {
    kernels::gaussian_filter_forward<T>(stream_, {points_, feature_count_, classes}, read<T>(features_),
                                        read<T>(scales.pre), read<T>(scales.post), values, out);
  }
  if (factor != 1) kernels::scale_forward<T>(stream_, factor, out, out);
}

template <class T>
void PointFilter<T>::apply(std::int64_t classes, bool transposed, Span<const T> values, Span<T> out) const {
  raw(classes, transposed ? scales_.transposed() : scales_, factor_, transposed, values, out);
}

template <class T>
void PointFilter<T>::raw_backward(std::int64_t classes, const FilterScales& scales, double factor,
                                  Span<const T> features, Span<const T> values, Span<const T> dout,
                                  Span<T> dfeatures) const {
  if (gradient_ == FeatureGradient::identity)
    return identity_backward(classes, scales, factor, features, values, dout, dfeatures);
  if (lattice_)
    return lattice_->backward_features(classes, scales, factor, features, values, dout, dfeatures);
  kernels::gaussian_filter_backward_features<T>(stream_, {points_, feature_count_, classes}, features,
                                                read<T>(scales.pre), read<T>(scales.post), values, dout,
                                                dfeatures);
  if (factor != 1) kernels::scale_forward<T>(stream_, factor, dfeatures, dfeatures);
}

// One filter of the rows of values and of their products with each feature side by side, and one of dout's.
template <class T>
void PointFilter<T>::identity_backward(std::int64_t classes, const FilterScales& scales, double factor,
                                       Span<const T> features, Span<const T> values, Span<const T> dout,
                                       Span<T> dfeatures) const {
  const kernels::GaussianDims dims{points_, feature_count_, classes};
  const std::int64_t wide = (feature_count_ + 1) * classes;
  const auto empty = [&] { return Tensor::empty({points_ * wide}, dtype_of<T>(), stream_.device); };
  Tensor v = empty(), g = empty(), kv = empty(), kg = empty();
  kernels::identity_rows<T>(stream_, dims, features, read<T>(scales.pre), values, v.span<T>());
  kernels::identity_rows<T>(stream_, dims, features, read<T>(scales.post), dout, g.span<T>());
  raw(wide, {}, factor, false, read<T>(v), kv.span<T>());
  raw(wide, {}, factor, true, read<T>(g), kg.span<T>());
  kernels::identity_backward_features<T>(stream_, dims, features, read<T>(v), read<T>(g), read<T>(kv),
                                         read<T>(kg), dfeatures);
}

template <class T>
void PointFilter<T>::backward_features(std::int64_t classes, Span<const T> features, Span<const T> values,
                                       Span<const T> dvalues, Span<const T> out, Span<const T> dout,
                                       Span<T> dfeatures) const {
  raw_backward(classes, scales_, factor_, features, values, dout, dfeatures);
  if (normalization_ == Normalization::none) return;
  // The filter of all ones moves with the features too.
  const Tensor ones = Tensor::full({points_}, 1, dtype_of<T>(), stream_.device);
  Tensor dn = Tensor::empty({points_}, dtype_of<T>(), stream_.device);
  if (normalization_ == Normalization::mean) {
    // factor = alpha / mean(n): dL/dn[i] = -<dout, out> / (P mean(n)), the same for every point.
    Tensor product = Tensor::empty({out.size()}, dtype_of<T>(), stream_.device);
    kernels::mul_forward<T>(stream_, dout, out, product.span<T>());
    dn.fill(-sum_of<T>(product) * factor_ / (alpha_ * double(points_)));
  } else {
    const NormalizerPowers powers = normalizer_powers(normalization_);
    kernels::crf_normalizers_backward<T>(stream_, {points_, classes}, powers.pre, powers.post, read<T>(n_),
                                         values, dvalues, out, dout, dn.span<T>());
  }
  Tensor of_n = Tensor::empty({dfeatures.size()}, dtype_of<T>(), stream_.device);
  raw_backward(1, {}, alpha_, features, ones.span<T>(), std::as_const(dn).span<T>(), of_n.span<T>());
  kernels::add_forward<T>(stream_, dfeatures, std::as_const(of_n).span<T>(), dfeatures);
}

template <class T>
std::int64_t PointFilter<T>::bytes() const {
  std::int64_t sum = lattice_ ? lattice_->bytes() : 0;
  for (const Tensor* t : {&features_, &n_, &scales_.pre, &scales_.post}) sum += t->bytes();
  return sum;
}

template class PointFilter<float>;
template class PointFilter<double>;

}  // namespace atrous
