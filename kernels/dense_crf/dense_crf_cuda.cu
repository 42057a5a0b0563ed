#include "atrous/kernels/dense_crf/dense_crf.h"
#include "atrous/kernels/dense_crf/dense_crf_body.h"
#include "atrous/kernels/for_each_cuda.cuh"
#include "atrous/kernels/reduce/block_reduce.cuh"

namespace atrous::kernels::cuda {
namespace {

constexpr int kRowThreads = 128;

// A block owns a row of an image: the gradient by its pixels, and for each feature the row's part of the
// gradient by sigma. Floor: bytes of features and dfeatures, and of dimage.
template <class T>
__global__ void __launch_bounds__(kRowThreads) pixel_features_backward_kernel(PixelFeaturesBackward<T> body) {
  const std::int64_t count = 2 + body.d.channels, row = blockIdx.x;
  for (std::int64_t k = 0; k < count; ++k) {
    double sum = 0;
    for (std::int64_t x = threadIdx.x; x < body.d.width; x += kRowThreads)
      sum += body.pixel(row * body.d.width + x, k);
    sum = block_reduce<kRowThreads>(sum, Sum());
    if (threadIdx.x == 0) body.sums[row * count + k] = sum;
  }
}

// A block owns feature blockIdx.x and adds up what the rows have of it.
template <class T>
__global__ void __launch_bounds__(kRowThreads) pixel_sigma_sum_kernel(PixelSigmaSum<T> body) {
  const std::int64_t k = blockIdx.x;
  double sum = 0;
  for (std::int64_t r = threadIdx.x; r < body.rows; r += kRowThreads) sum += body.sums[r * body.count + k];
  sum = block_reduce<kRowThreads>(sum, Sum());
  if (threadIdx.x == 0) body.finish(k, sum);
}

}  // namespace

template <class T>
void crf_add_message(Stream stream, const CrfDims& dims, CrfCompatibility kind, Span<const T> mu,
                     Span<const T> message, Span<T> z) {
  for_each(stream, z.size(), CrfAddMessage<T>{dims, kind, mu, message, z});
}
ATROUS_INSTANTIATE_F32_F64(crf_add_message);

template <class T>
void crf_relax(Stream stream, double relax, Span<const T> old, Span<T> q) {
  for_each(stream, q.size(), CrfRelax<T>{T(relax), old, q});
}
ATROUS_INSTANTIATE_F32_F64(crf_relax);

template <class T>
void pixel_features_forward(Stream stream, const PixelFeatureDims& dims, Span<const T> image,
                            Span<const T> sigma, Span<T> features) {
  for_each(stream, dims.batch * dims.height * dims.width, PixelFeatures<T>{dims, image, sigma, features});
}
ATROUS_INSTANTIATE_F32_F64(pixel_features_forward);

template <class T>
void pixel_features_backward(Stream stream, const PixelFeatureDims& dims, Span<const T> features,
                             Span<const T> sigma, Span<const T> dfeatures, Span<double> sums, Span<T> dimage,
                             Span<T> dsigma) {
  const std::int64_t rows = dims.batch * dims.height, count = 2 + dims.channels;
  if (rows > 0)
    ATROUS_LAUNCH((pixel_features_backward_kernel<T>), unsigned(rows), kRowThreads, 0, stream,
                  (PixelFeaturesBackward<T>{dims, features, sigma, dfeatures, sums, dimage}));
  ATROUS_LAUNCH((pixel_sigma_sum_kernel<T>), unsigned(count), kRowThreads, 0, stream,
                (PixelSigmaSum<T>{rows, count, sums, sigma, dsigma}));
}
ATROUS_INSTANTIATE_F32_F64(pixel_features_backward);

template <class T>
void crf_normalizers(Stream stream, double pre_power, double post_power, Span<const T> n, Span<T> pre,
                     Span<T> post) {
  for_each(stream, n.size(), CrfNormalizers<T>{pre_power, post_power, n, pre, post});
}
ATROUS_INSTANTIATE_F32_F64(crf_normalizers);

template <class T>
void crf_normalizers_backward(Stream stream, const CrfDims& dims, double pre_power, double post_power,
                              Span<const T> n, Span<const T> values, Span<const T> dvalues, Span<const T> out,
                              Span<const T> dout, Span<T> dn) {
  for_each(stream, dims.points,
           CrfNormalizersBackward<T>{dims, pre_power, post_power, n, values, dvalues, out, dout, dn});
}
ATROUS_INSTANTIATE_F32_F64(crf_normalizers_backward);

template <class T>
void crf_unary(Stream stream, double share, double uniform, double clip, Span<const T> p, Span<T> u) {
  for_each(stream, u.size(), CrfUnary<T>{share, uniform, clip, p, u});
}
ATROUS_INSTANTIATE(crf_unary);

template <class T>
void crf_unary_of_targets(Stream stream, const CrfDims& dims, const CrfLabelCosts& costs,
                          Span<const std::int32_t> targets, Span<T> u) {
  for_each(stream, u.size(),
           CrfUnaryOfTargets<T>{dims.classes, T(costs.right), T(costs.wrong), T(costs.unknown), targets, u});
}
ATROUS_INSTANTIATE_F32_F64(crf_unary_of_targets);

}  // namespace atrous::kernels::cuda
