#include "atrous/kernels/dense_crf/dense_crf.h"
#include "atrous/kernels/dense_crf/dense_crf_body.h"
#include "atrous/kernels/for_each.h"

namespace atrous::kernels::cpu {

template <class T>
void crf_add_message(Stream, const CrfDims& dims, CrfCompatibility kind, Span<const T> mu,
                     Span<const T> message, Span<T> z) {
  for_each_row(z.size(), kind == CrfCompatibility::matrix ? dims.classes : 1,
               CrfAddMessage<T>{dims, kind, mu, message, z});
}
ATROUS_INSTANTIATE_F32_F64(crf_add_message);

template <class T>
void crf_relax(Stream, double relax, Span<const T> old, Span<T> q) {
  for_each(q.size(), CrfRelax<T>{T(relax), old, q});
}
ATROUS_INSTANTIATE_F32_F64(crf_relax);

template <class T>
void pixel_features_forward(Stream, const PixelFeatureDims& dims, Span<const T> image, Span<const T> sigma,
                            Span<T> features) {
  for_each_row(dims.batch * dims.height * dims.width, 2 + dims.channels,
               PixelFeatures<T>{dims, image, sigma, features});
}
ATROUS_INSTANTIATE_F32_F64(pixel_features_forward);

template <class T>
void pixel_features_backward(Stream, const PixelFeatureDims& dims, Span<const T> features,
                             Span<const T> sigma, Span<const T> dfeatures, Span<double> sums, Span<T> dimage,
                             Span<T> dsigma) {
  const std::int64_t rows = dims.batch * dims.height, count = 2 + dims.channels;
  for_each_row(rows * count, dims.width,
               PixelFeaturesBackward<T>{dims, features, sigma, dfeatures, sums, dimage});
  for_each(count, PixelSigmaSum<T>{rows, count, sums, sigma, dsigma});
}
ATROUS_INSTANTIATE_F32_F64(pixel_features_backward);

template <class T>
void crf_normalizers(Stream, double pre_power, double post_power, Span<const T> n, Span<T> pre,
                     Span<T> post) {
  for_each(n.size(), CrfNormalizers<T>{pre_power, post_power, n, pre, post});
}
ATROUS_INSTANTIATE_F32_F64(crf_normalizers);

template <class T>
void crf_normalizers_backward(Stream, const CrfDims& dims, double pre_power, double post_power,
                              Span<const T> n, Span<const T> values, Span<const T> dvalues, Span<const T> out,
                              Span<const T> dout, Span<T> dn) {
  for_each_row(dims.points, dims.classes,
               CrfNormalizersBackward<T>{dims, pre_power, post_power, n, values, dvalues, out, dout, dn});
}
ATROUS_INSTANTIATE_F32_F64(crf_normalizers_backward);

template <class T>
void crf_unary(Stream, double share, double uniform, double clip, Span<const T> p, Span<T> u) {
  for_each(u.size(), CrfUnary<T>{share, uniform, clip, p, u});
}
ATROUS_INSTANTIATE(crf_unary);

template <class T>
void crf_unary_of_targets(Stream, const CrfDims& dims, const CrfLabelCosts& costs,
                          Span<const std::int32_t> targets, Span<T> u) {
  for_each(u.size(),
           CrfUnaryOfTargets<T>{dims.classes, T(costs.right), T(costs.wrong), T(costs.unknown), targets, u});
}
ATROUS_INSTANTIATE_F32_F64(crf_unary_of_targets);

}  // namespace atrous::kernels::cpu
