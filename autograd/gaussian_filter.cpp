#include "atrous/autograd/gaussian_filter.h"

#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

#include "atrous/autograd/check.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/point_filter.h"
#include "atrous/kernels/dense_crf/dense_crf.h"

namespace atrous {
namespace {

// What is computed with: f32 for bf16.
Tensor working(const Tensor& t) { return t.dtype() == Dtype::bf16 ? t.to(Dtype::f32) : t; }

template <class F>
void visit(Dtype dtype, const F& f) {
  if (dtype == Dtype::f64)
    f.template operator()<double>();
  else
    f.template operator()<float>();
}

// Image n of [N, H, W, channels].
template <class T>
Span<const T> image_of(const Tensor& t, std::int64_t n) {
  const std::int64_t size = t.dim(1) * t.dim(2) * t.dim(3);
  return t.span<T>().part(n * size, size);
}
template <class T>
Span<T> image_of(Tensor& t, std::int64_t n) {
  const std::int64_t size = t.dim(1) * t.dim(2) * t.dim(3);
  return t.span<T>().part(n * size, size);
}

// y and dx of every image. `filter_of(n)` is image n's.
template <class T, class FilterOf>
Tensor filtered(const FilterOf& filter_of, bool transposed, const Tensor& from) {
  Tensor to = empty_like(from);
  for (std::int64_t n = 0; n < from.dim(0); ++n)
    filter_of(n).apply(from.dim(3), transposed, image_of<T>(from, n), image_of<T>(to, n));
  return to;
}

template <class T, class FilterOf>
Tensor feature_gradient(const FilterOf& filter_of, const Tensor& features, const Tensor& x, const Tensor& dx,
                        const Tensor& y, const Tensor& dy) {
  Tensor df = empty_like(features);
  for (std::int64_t n = 0; n < x.dim(0); ++n)
    filter_of(n).backward_features(x.dim(3), image_of<T>(features, n), image_of<T>(x, n), image_of<T>(dx, n),
                                   image_of<T>(y, n), image_of<T>(dy, n), image_of<T>(df, n));
  return df;
}

// [2 + C] deviations, checked; on the host.
Tensor checked_sigma(Op op, const Variable& sigma, std::int64_t channels) {
  check_rank(op, "sigma", sigma, 1, channels > 0 ? "[2 + C]" : "[2]");
  ATROUS_CHECK(ShapeError, sigma.dim(0) == 2 + channels, op_name(op), "sigma ", sigma.shape(),
               " must have 2 + ", channels, " elements");
  const Tensor doubles = sigma.value().to(Dtype::f64).to(kCpu);
  for (const double s : doubles.span<double>())
    ATROUS_CHECK(ValueError, s > 0 && std::isfinite(s), op_name(op), "a standard deviation of ", s,
                 " is not positive and finite");
  return doubles;
}

template <class T>
Tensor features_of(const kernels::PixelFeatureDims& dims, const Tensor& image, const Tensor& sigma) {
  Tensor f =
      Tensor::empty({dims.batch, dims.height, dims.width, 2 + dims.channels}, sigma.dtype(), sigma.device());
  kernels::pixel_features_forward<T>(sigma.stream(), dims,
                                     image.defined() ? image.span<T>() : Span<const T>(), sigma.span<T>(),
                                     f.span<T>());
  return f;
}

// dimage stays undefined unless it is wanted.
template <class T>
Tensor sigma_gradient(const kernels::PixelFeatureDims& dims, const Tensor& features, const Tensor& sigma,
                      const Tensor& df, Tensor dimage = {}) {
  Tensor sums = Tensor::empty({dims.batch * dims.height, 2 + dims.channels}, Dtype::f64, df.device());
  Tensor dsigma = empty_like(sigma);
  kernels::pixel_features_backward<T>(df.stream(), dims, features.span<T>(), sigma.span<T>(), df.span<T>(),
                                      sums.span<double>(), dimage.defined() ? dimage.span<T>() : Span<T>(),
                                      dsigma.span<T>());
  return dsigma;
}

}  // namespace

// The filters of all images, in the type that is computed in: one of the two vectors.
struct GaussianFilter::Built {
  Variable features;
  Tensor places;  // the features' values in that type
  std::vector<PointFilter<float>> f32;
  std::vector<PointFilter<double>> f64;

  template <class T>
  static auto& of(auto& built) {
    if constexpr (std::is_same_v<T, float>)
      return built.f32;
    else
      return built.f64;
  }
};

GaussianFilter::GaussianFilter(const Variable& features, const GaussianFilterOptions& options) {
  constexpr Op kOp = Op::gaussian_filter;
  check_rank(kOp, "features", features, 4, "[N, H, W, d]");
  ATROUS_CHECK(ShapeError, features.dim(1) > 0 && features.dim(2) > 0 && features.dim(3) > 0, op_name(kOp),
               "features ", features.shape(), " have no points");
  auto built = std::make_shared<Built>();
  built->features = features;
  built->places = working(features.value());
  const std::int64_t count = features.dim(3);
  const kernels::LatticeDims dims{features.dim(1) * features.dim(2), count,
                                  features.dim(1) > 1 ? features.dim(2) : 0};
  visit(features.dtype(), [&]<class T>() {
    for (std::int64_t n = 0; n < features.dim(0); ++n)
      Built::of<T>(*built).emplace_back(op_name(kOp), built->places.stream(), dims,
                                        image_of<T>(std::as_const(built->places), n), options);
  });
  built_ = std::move(built);
}

Variable GaussianFilter::operator()(const Variable& x) const {
  constexpr Op kOp = Op::gaussian_filter;
  const Variable& features = built_->features;
  check_rank(kOp, "x", x, 4, "[N, H, W, C]");
  check_match(kOp, "x", x, "features", features);
  for (const int axis : {0, 1, 2})
    ATROUS_CHECK(ShapeError, x.dim(axis) == features.dim(axis), op_name(kOp), "features ", features.shape(),
                 " do not belong to x ", x.shape());
  ATROUS_CHECK(ShapeError, x.dim(3) > 0, op_name(kOp), "x ", x.shape(), " has no channels");
  const Dtype dtype = x.dtype();
  const Tensor values = working(x.value());
  Variable result;
  visit(dtype, [&]<class T>() {
    const auto filters = [built = built_](std::int64_t n) -> const PointFilter<T>& {
      return Built::of<T>(*built)[std::size_t(n)];
    };
    const Tensor y = filtered<T>(filters, false, values);
    result =
        record(kOp, y.to(dtype), {x, features}, [=, built = built_](const Tensor& dout, Gradients& grads) {
          const Tensor dy = working(dout), dx = filtered<T>(filters, true, dy);
          if (grads.needed(0)) grads.set(0, dx.to(dtype));
          if (!grads.needed(1)) return;
          const Tensor df = feature_gradient<T>(filters, built->places, values, dx, y, dy);
          grads.set(1, df.to(dtype));
        });
  });
  return result;
}

Variable gaussian_filter(const Variable& x, const Variable& features, const GaussianFilterOptions& options) {
  return GaussianFilter(features, options)(x);
}

Variable spatial_gaussian(const Variable& x, const Variable& sigma, Normalization normalization) {
  constexpr Op kOp = Op::spatial_gaussian;
  check_rank(kOp, "x", x, 4, "[N, H, W, C]");
  check_match(kOp, "x", x, "sigma", sigma);
  ATROUS_CHECK(ShapeError, x.dim(1) > 0 && x.dim(2) > 0 && x.dim(3) > 0, op_name(kOp), "x ", x.shape(),
               " has no pixels or no channels");
  const Tensor on_host = checked_sigma(kOp, sigma, 0), deviations = working(sigma.value()),
               values = working(x.value());
  const Dtype dtype = x.dtype();
  Variable result;
  visit(dtype, [&]<class T>() {
    const kernels::SeparableGaussianDims dims{x.dim(1), x.dim(2), x.dim(3), on_host.span<double>()[0],
                                              on_host.span<double>()[1]};
    const auto filter = std::make_shared<const PointFilter<T>>(values.stream(), dims, normalization);
    const auto of_any = [filter](std::int64_t) -> const PointFilter<T>& { return *filter; };
    const Tensor y = filtered<T>(of_any, false, values);
    result = record(kOp, y.to(dtype), {x, sigma}, [=](const Tensor& dout, Gradients& grads) {
      const Tensor dy = working(dout), dx = filtered<T>(of_any, true, dy);
      if (grads.needed(0)) grads.set(0, dx.to(dtype));
      if (!grads.needed(1)) return;
      const kernels::PixelFeatureDims places{dy.dim(0), dy.dim(1), dy.dim(2), 0};
      const Tensor features = features_of<T>(places, {}, deviations);
      const Tensor df = feature_gradient<T>(of_any, features, values, dx, y, dy);
      grads.set(1, sigma_gradient<T>(places, features, deviations, df).to(dtype));
    });
  });
  return result;
}

Variable pixel_features(const Variable& image, const Variable& sigma, const Shape& shape) {
  constexpr Op kOp = Op::pixel_features;
  if (image.defined()) {
    check_rank(kOp, "image", image, 4, "[N, H, W, C]");
    check_match(kOp, "image", image, "sigma", sigma);
  }
  const Shape places = image.defined() ? image.shape() : shape;
  ATROUS_CHECK(ShapeError, places.rank() == 4, op_name(kOp), "shape ", places, " must be [N, H, W, C]");
  const kernels::PixelFeatureDims dims{places[0], places[1], places[2], image.defined() ? places[3] : 0};
  checked_sigma(kOp, sigma, dims.channels);
  const Tensor deviations = working(sigma.value()),
               colours = image.defined() ? working(image.value()) : Tensor();
  const Dtype dtype = sigma.dtype();
  Variable result;
  visit(dtype, [&]<class T>() {
    const Tensor y = features_of<T>(dims, colours, deviations);
    result = record(kOp, y.to(dtype), {image, sigma}, [=](const Tensor& dout, Gradients& grads) {
      const Tensor dimage = grads.needed(0) ? empty_like(colours) : Tensor();
      const Tensor dsigma = sigma_gradient<T>(dims, y, deviations, working(dout), dimage);
      if (dimage.defined()) grads.set(0, dimage.to(dtype));
      if (grads.needed(1)) grads.set(1, dsigma.to(dtype));
    });
  });
  return result;
}

}  // namespace atrous
