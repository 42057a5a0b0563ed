#include "atrous/kernels/for_each.h"
#include "atrous/kernels/gaussian_filter/gaussian_filter.h"
#include "atrous/kernels/gaussian_filter/gaussian_filter_body.h"

namespace atrous::kernels::cpu {

template <class T>
void gaussian_filter_forward(Stream, const GaussianDims& dims, Span<const T> features, Span<const T> pre,
                             Span<const T> post, Span<const T> values, Span<T> out) {
  for_each_row(dims.points, dims.points * (dims.features + dims.classes),
               GaussianFilter<T>{dims, features, pre, post, values, out});
}
ATROUS_INSTANTIATE_F32_F64(gaussian_filter_forward);

template <class T>
void gaussian_filter_backward_features(Stream, const GaussianDims& dims, Span<const T> features,
                                       Span<const T> pre, Span<const T> post, Span<const T> values,
                                       Span<const T> dout, Span<T> dfeatures) {
  for_each_row(dims.points * dims.features, dims.points * (dims.features + dims.classes),
               GaussianBackwardFeatures<T>{dims, features, pre, post, values, dout, dfeatures});
}
ATROUS_INSTANTIATE_F32_F64(gaussian_filter_backward_features);

template <class T>
void identity_rows(Stream, const GaussianDims& dims, Span<const T> features, Span<const T> scale,
                   Span<const T> values, Span<T> rows) {
  for_each_row(rows.size(), 4, IdentityRows<T>{dims, features, scale, values, rows});
}
ATROUS_INSTANTIATE_F32_F64(identity_rows);

template <class T>
void identity_backward_features(Stream, const GaussianDims& dims, Span<const T> features, Span<const T> v,
                                Span<const T> g, Span<const T> kv, Span<const T> kg, Span<T> dfeatures) {
  for_each_row(dfeatures.size(), dims.classes,
               IdentityBackwardFeatures<T>{dims, features, v, g, kv, kg, dfeatures});
}
ATROUS_INSTANTIATE_F32_F64(identity_backward_features);

}  // namespace atrous::kernels::cpu
