#include <cmath>

#include "atrous/kernels/cuda.cuh"
#include "atrous/kernels/for_each_cuda.cuh"
#include "atrous/kernels/gaussian_filter/gaussian_filter.h"
#include "atrous/kernels/gaussian_filter/gaussian_filter_body.h"

namespace atrous::kernels::cuda {
namespace {

// A block owns 64 points and goes through all points in tiles of 32. A thread has one of the 64, `own`, and
// is in one of 4 groups: it finds the weights of the own point with every fourth of the tile's, then adds up
// every fourth run of classes (or every fourth feature), j ascending.
constexpr int kOwn = 64, kTile = 32, kGroups = 4, kThreads = kOwn * kGroups, kOwnPairs = kTile / kGroups;
constexpr int kRun = 8, kClasses = kGroups * kRun;  // of the filter: classes of a thread, of a block
constexpr int kFeatures = 16, kOwnFeatures = 4;     // of its gradient: features of a block, of a thread
constexpr int kSlice = 8;                           // columns that are in shared memory at a time
constexpr int kPitch = kOwn + 4;                    // of own columns: 8 columns of 4 points are in 32 banks

/// Where this thread works.
struct Place {
  std::int64_t block, point;  // the block's first point; the own one, perhaps beyond the last
  int own, group;
};
__device__ __forceinline__ Place this_place() {
  const std::int64_t block = std::int64_t(blockIdx.x) * kOwn;
  const int own = int(threadIdx.x) % kOwn;
  return {block, block + own, own, int(threadIdx.x) / kOwn};
}

/// [rows, columns] in device memory, zeros outside of it.
template <class T>
struct Matrix {
  Span<const T> values;
  std::int64_t rows, columns;
  __device__ __forceinline__ T at(std::int64_t row, std::int64_t column) const {
    return row < rows && column < columns ? values[row * columns + column] : T(0);
  }
  /// Columns first_column.. of the block's points.
  __device__ __forceinline__ void stage_own(const Place& me, std::int64_t first_column,
                                            T (&to)[kSlice][kPitch]) const {
    for (int e = int(threadIdx.x); e < kOwn * kSlice; e += kThreads)
      to[e % kSlice][e / kSlice] = at(me.block + e / kSlice, first_column + e % kSlice);
  }
  /// Columns first_column.. of a tile's points.
  template <int Columns>
  __device__ __forceinline__ void stage_tile(std::int64_t first, std::int64_t first_column,
                                             T (&to)[kTile][Columns]) const {
    for (int e = int(threadIdx.x); e < kTile * Columns; e += kThreads)
      to[e / Columns][e % Columns] = at(first + e / Columns, first_column + e % Columns);
  }
};

/// Squared distances of the own point to this thread's points of the tile. Ends with a barrier.
template <class T>
__device__ __forceinline__ void squared_distances(const Place& me, const Matrix<T>& features,
                                                  std::int64_t first, T (&own)[kSlice][kPitch],
                                                  T (&tile)[kTile][kSlice], T (&squares)[kOwnPairs]) {
  ATROUS_UNROLL
  for (int k = 0; k < kOwnPairs; ++k) squares[k] = 0;
  for (std::int64_t f0 = 0; f0 < features.columns; f0 += kSlice) {
    features.stage_own(me, f0, own);
    features.stage_tile(first, f0, tile);
    __syncthreads();
    for (int f = 0; f < kSlice && f0 + f < features.columns; ++f) {
      const T mine = own[f][me.own];
      ATROUS_UNROLL
      for (int k = 0; k < kOwnPairs; ++k) {
        const T apart = mine - tile[me.group + k * kGroups][f];
        squares[k] += apart * apart;
      }
    }
    __syncthreads();  // the features are read
  }
}

// The blocks that launch bounds ask for leave each thread so many registers that nothing spills.

// Classes blockIdx.y * kClasses and following. Exponentials: points^2, once for each 32 classes.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) gaussian_filter_kernel(GaussianFilter<T> f) {
  ATROUS_SHARED(T, own, [kSlice][kPitch]);
  ATROUS_SHARED(T, tile, [kTile][kSlice]);
  ATROUS_SHARED(T, weights, [kTile][kOwn]);
  ATROUS_SHARED(T, values, [kTile][kClasses]);
  const Place me = this_place();
  const std::int64_t points = f.d.points, first_class = std::int64_t(blockIdx.y) * kClasses;
  const Matrix<T> features{f.features, points, f.d.features}, all_values{f.values, points, f.d.classes};
  T sums[kRun] = {};
  for (std::int64_t first = 0; first < points; first += kTile) {
    T squares[kOwnPairs];
    squared_distances(me, features, first, own, tile, squares);
    ATROUS_UNROLL
    for (int k = 0; k < kOwnPairs; ++k) {
      const std::int64_t j = first + me.group + k * kGroups;
      T weight = std::exp(T(-0.5) * squares[k]);
      if (!f.pre.empty()) weight *= j < points ? f.pre[j] : T(0);
      weights[me.group + k * kGroups][me.own] = weight;
    }
    all_values.stage_tile(first, first_class, values);  // zeros behind the last point
    __syncthreads();
    for (int t = 0; t < kTile; ++t) {
      const T weight = weights[t][me.own];
      ATROUS_UNROLL
      for (int c = 0; c < kRun; ++c) sums[c] += weight * values[t][me.group * kRun + c];
    }
    // The next tile's features have a barrier before its weights.
  }
  if (me.point >= points) return;
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
  ATROUS_SHARED(T, own_a, [kSlice][kPitch]);
  ATROUS_SHARED(T, own_b, [kSlice][kPitch]);
  ATROUS_SHARED(T, tile_a, [kTile][kSlice]);
  ATROUS_SHARED(T, tile_b, [kTile][kSlice]);
  ATROUS_SHARED(T, factors, [kTile][kOwn]);
  const Place me = this_place();
  const std::int64_t points = f.d.points;
  const bool here = me.point < points;
  const Matrix<T> features{f.features, points, f.d.features}, values{f.values, points, f.d.classes},
      dout{f.dout, points, f.d.classes};
  const auto scale_of = [&](Span<const T> scales, std::int64_t i) {
    return i < points && !scales.empty() ? scales[i] : T(1);
  };
  const T before = scale_of(f.pre, me.point), after = scale_of(f.post, me.point);
  T sums[kOwnFeatures] = {}, own_features[kOwnFeatures];
  std::int64_t feature[kOwnFeatures];
  ATROUS_UNROLL
  for (int k = 0; k < kOwnFeatures; ++k) {
    feature[k] = std::int64_t(blockIdx.y) * kFeatures + me.group + k * kGroups;
    own_features[k] = features.at(me.point, feature[k]);
  }
  for (std::int64_t first = 0; first < points; first += kTile) {
    T squares[kOwnPairs], gv[kOwnPairs] = {}, vg[kOwnPairs] = {};
    squared_distances(me, features, first, own_a, tile_a, squares);
    for (std::int64_t c0 = 0; c0 < f.d.classes; c0 += kSlice) {
      values.stage_own(me, c0, own_a);
      dout.stage_own(me, c0, own_b);
      values.stage_tile(first, c0, tile_a);
      dout.stage_tile(first, c0, tile_b);
      __syncthreads();
      for (int c = 0; c < kSlice && c0 + c < f.d.classes; ++c) {
        const T v = own_a[c][me.own], g = own_b[c][me.own];
        ATROUS_UNROLL
        for (int k = 0; k < kOwnPairs; ++k) {
          gv[k] += g * tile_a[me.group + k * kGroups][c];
          vg[k] += tile_b[me.group + k * kGroups][c] * v;
        }
      }
      __syncthreads();  // the slice is read
    }
    ATROUS_UNROLL
    for (int k = 0; k < kOwnPairs; ++k) {
      const std::int64_t j = first + me.group + k * kGroups;
      gv[k] *= after * scale_of(f.pre, j);
      vg[k] *= scale_of(f.post, j) * before;
      factors[me.group + k * kGroups][me.own] = std::exp(T(-0.5) * squares[k]) * (gv[k] + vg[k]);
    }
    __syncthreads();
    for (int t = 0; t < kTile && first + t < points; ++t) {
      const T factor = factors[t][me.own];
      ATROUS_UNROLL
      for (int k = 0; k < kOwnFeatures; ++k)
        sums[k] += factor * (features.at(first + t, feature[k]) - own_features[k]);
    }
    // The next tile's features have a barrier before its factors.
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

template <class T>
void identity_rows(Stream stream, const GaussianDims& dims, Span<const T> features, Span<const T> scale,
                   Span<const T> values, Span<T> rows) {
  for_each(stream, rows.size(), IdentityRows<T>{dims, features, scale, values, rows});
}
ATROUS_INSTANTIATE_F32_F64(identity_rows);

template <class T>
void identity_backward_features(Stream stream, const GaussianDims& dims, Span<const T> features,
                                Span<const T> v, Span<const T> g, Span<const T> kv, Span<const T> kg,
                                Span<T> dfeatures) {
  for_each(stream, dfeatures.size(), IdentityBackwardFeatures<T>{dims, features, v, g, kv, kg, dfeatures});
}
ATROUS_INSTANTIATE_F32_F64(identity_backward_features);

}  // namespace atrous::kernels::cuda
