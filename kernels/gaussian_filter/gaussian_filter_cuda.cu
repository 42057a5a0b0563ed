#include "atrous/kernels/cuda.cuh"
#include "atrous/kernels/gaussian_filter/gaussian_filter.h"
#include "atrous/kernels/gaussian_filter/gaussian_filter_body.h"

namespace atrous::kernels::cuda {
namespace {

// A block owns 64 points and goes through all points in tiles of 32. A thread has one of the 64, `own`, and
// is in one of 4 groups: it finds the weights of the own point with every fourth of the tile's, then adds up
// every fourth run of classes (or every fourth feature), j ascending.
constexpr int kOwn = 64, kTile = 32, kGroups = 4, kThreads = kOwn * kGroups;
constexpr int kRun = 8, kClasses = kGroups * kRun;           // of the filter: classes of a thread, of a block
constexpr int kSlice = 8, kFeatures = 16, kOwnFeatures = 4;  // of its gradient

constexpr int kOwnPairs = kTile / kGroups;

// The blocks that launch bounds ask for leave each thread so many registers that nothing spills.

/// Where this thread works.
struct Place {
  std::int64_t point;  // own, perhaps beyond the last
  int own, group;
};
__device__ __forceinline__ Place this_place() {
  const int own = int(threadIdx.x) % kOwn;
  return {std::int64_t(blockIdx.x) * kOwn + own, own, int(threadIdx.x) / kOwn};
}

// Classes blockIdx.y * kClasses and following. Exponentials: points^2, once for each 32 classes.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) gaussian_filter_kernel(GaussianFilter<T> f) {
  ATROUS_SHARED(T, weights, [kTile][kOwn]);
  ATROUS_SHARED(T, values, [kTile][kClasses]);
  const Place me = this_place();
  const std::int64_t first_class = std::int64_t(blockIdx.y) * kClasses;
  const bool here = me.point < f.d.points;
  T sums[kRun] = {};
  for (std::int64_t first = 0; first < f.d.points; first += kTile) {
    for (int t = me.group; t < kTile; t += kGroups) {
      const std::int64_t j = first + t;
      T weight = 0;
      if (here && j < f.d.points) {
        weight = gaussian_weight(f.features.data() + me.point * f.d.features,
                                 f.features.data() + j * f.d.features, f.d.features);
        if (!f.pre.empty()) weight *= f.pre[j];
      }
      weights[t][me.own] = weight;
    }
    for (int e = int(threadIdx.x); e < kTile * kClasses; e += kThreads) {
      const std::int64_t j = first + e / kClasses, c = first_class + e % kClasses;
      values[e / kClasses][e % kClasses] =
          j < f.d.points && c < f.d.classes ? f.values[j * f.d.classes + c] : T(0);
    }
    __syncthreads();
    for (int t = 0; t < kTile; ++t) {
      const T weight = weights[t][me.own];
      ATROUS_UNROLL
      for (int c = 0; c < kRun; ++c) sums[c] += weight * values[t][me.group * kRun + c];
    }
    __syncthreads();  // the tile is read
  }
  if (!here) return;
  const T after = f.post.empty() ? T(1) : f.post[me.point];
  ATROUS_UNROLL
  for (int c = 0; c < kRun; ++c) {
    const std::int64_t at = first_class + me.group * kRun + c;
    if (at < f.d.classes) f.out[me.point * f.d.classes + at] = after * sums[c];
  }
}

// Features blockIdx.y * kFeatures and following. The products of all pairs are found 8 classes at a time.
template <class T>
__global__ void __launch_bounds__(kThreads, 1) gaussian_backward_kernel(GaussianBackwardFeatures<T> f) {
  ATROUS_SHARED(T, own_values, [kSlice][kOwn]);
  ATROUS_SHARED(T, own_dout, [kSlice][kOwn]);
  ATROUS_SHARED(T, values, [kTile][kSlice]);
  ATROUS_SHARED(T, dout, [kTile][kSlice]);
  ATROUS_SHARED(T, factors, [kTile][kOwn]);
  const Place me = this_place();
  const std::int64_t classes = f.d.classes, points = f.d.points;
  const bool here = me.point < points;
  const T before = here && !f.pre.empty() ? f.pre[me.point] : T(1),
          after = here && !f.post.empty() ? f.post[me.point] : T(1);
  const auto element = [&](Span<const T> x, std::int64_t i, std::int64_t c) {
    return i < points && c < classes ? x[i * classes + c] : T(0);
  };
  T sums[kOwnFeatures] = {}, own_features[kOwnFeatures] = {};
  std::int64_t feature[kOwnFeatures];
  ATROUS_UNROLL
  for (int k = 0; k < kOwnFeatures; ++k) {
    feature[k] = std::int64_t(blockIdx.y) * kFeatures + me.group + k * kGroups;
    if (here && feature[k] < f.d.features) own_features[k] = f.features[me.point * f.d.features + feature[k]];
  }
  for (std::int64_t first = 0; first < points; first += kTile) {
    T gv[kOwnPairs] = {}, vg[kOwnPairs] = {};
    for (std::int64_t c0 = 0; c0 < classes; c0 += kSlice) {
      for (int c = me.group; c < kSlice; c += kGroups) {
        own_values[c][me.own] = element(f.values, me.point, c0 + c);
        own_dout[c][me.own] = element(f.dout, me.point, c0 + c);
      }
      for (int e = int(threadIdx.x); e < kTile * kSlice; e += kThreads) {
        values[e / kSlice][e % kSlice] = element(f.values, first + e / kSlice, c0 + e % kSlice);
        dout[e / kSlice][e % kSlice] = element(f.dout, first + e / kSlice, c0 + e % kSlice);
      }
      __syncthreads();
      for (int c = 0; c < kSlice; ++c) {
        const T v = own_values[c][me.own], g = own_dout[c][me.own];
        ATROUS_UNROLL
        for (int k = 0; k < kOwnPairs; ++k) {
          gv[k] += g * values[me.group + k * kGroups][c];
          vg[k] += dout[me.group + k * kGroups][c] * v;
        }
      }
      __syncthreads();  // the slice is read
    }
    ATROUS_UNROLL
    for (int k = 0; k < kOwnPairs; ++k) {
      const int t = me.group + k * kGroups;
      const std::int64_t j = first + t;
      T factor = 0;
      if (here && j < points) {
        gv[k] *= after * (f.pre.empty() ? T(1) : f.pre[j]);
        vg[k] *= (f.post.empty() ? T(1) : f.post[j]) * before;
        factor = gaussian_weight(f.features.data() + me.point * f.d.features,
                                 f.features.data() + j * f.d.features, f.d.features) *
                 (gv[k] + vg[k]);
      }
      factors[t][me.own] = factor;
    }
    __syncthreads();
    for (int t = 0; t < kTile && first + t < points; ++t) {
      const T factor = factors[t][me.own];
      const T* other = f.features.data() + (first + t) * f.d.features;
      ATROUS_UNROLL
      for (int k = 0; k < kOwnFeatures; ++k)
        if (feature[k] < f.d.features) sums[k] += factor * (other[feature[k]] - own_features[k]);
    }
    // The next tile's slices, of which there is one at least, have barriers before its factors.
  }
  if (!here) return;
  ATROUS_UNROLL
  for (int k = 0; k < kOwnFeatures; ++k)
    if (feature[k] < f.d.features) f.dfeatures[me.point * f.d.features + feature[k]] = sums[k];
}

dim3 blocks(std::int64_t points, std::int64_t columns, int columns_each) {
  return {unsigned((points + kOwn - 1) / kOwn), unsigned((columns + columns_each - 1) / columns_each), 1};
}

}  // namespace

template <class T>
void gaussian_filter_forward(Stream stream, const GaussianDims& dims, Span<const T> features,
                             Span<const T> pre, Span<const T> post, Span<const T> values, Span<T> out) {
  if (out.size() == 0) return;
  ATROUS_LAUNCH((gaussian_filter_kernel<T>), blocks(dims.points, dims.classes, kClasses), kThreads, 0, stream,
                (GaussianFilter<T>{dims, features, pre, post, values, out}));
}
ATROUS_INSTANTIATE_F32_F64(gaussian_filter_forward);

template <class T>
void gaussian_filter_backward_features(Stream stream, const GaussianDims& dims, Span<const T> features,
                                       Span<const T> pre, Span<const T> post, Span<const T> values,
                                       Span<const T> dout, Span<T> dfeatures) {
  if (dfeatures.size() == 0) return;
  ATROUS_LAUNCH((gaussian_backward_kernel<T>), blocks(dims.points, dims.features, kFeatures), kThreads, 0,
                stream, (GaussianBackwardFeatures<T>{dims, features, pre, post, values, dout, dfeatures}));
}
ATROUS_INSTANTIATE_F32_F64(gaussian_filter_backward_features);

}  // namespace atrous::kernels::cuda
