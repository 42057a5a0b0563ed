#include <algorithm>
#include <utility>

#include "atrous/kernels/for_each_cuda.cuh"
#include "atrous/kernels/permutohedral/permutohedral.h"
#include "atrous/kernels/permutohedral/permutohedral_body.h"

// Filtering by a built lattice. lattice_build_cuda.cu builds it.

namespace atrous::kernels::cuda {
namespace {

constexpr int kThreads = 256, kLongThreads = 512;
constexpr std::int64_t kBlockElements = 2048;
constexpr std::int64_t kLongList = 128;  // splats; a thread by itself adds up no more

// A block owns `each` rows; its threads take their elements in turn. Classes are counted in 32 bits, where a
// division is cheap.
template <class Body>
__global__ void __launch_bounds__(kThreads, 2)
    lattice_rows_kernel(std::int64_t rows, unsigned classes, unsigned each, Body body) {
  const std::int64_t first = std::int64_t(blockIdx.x) * each;
  const unsigned here = unsigned(rows - first < each ? rows - first : each) * classes;
  for (unsigned e = threadIdx.x; e < here; e += kThreads) body.element(first + e / classes, e % classes);
}

/// body.element(row, class) for every element of [rows, classes].
template <class Body>
void for_each_row_element(Stream stream, std::int64_t rows, std::int64_t classes, const Body& body) {
  if (rows == 0 || classes == 0) return;
  const std::int64_t each = std::max<std::int64_t>(1, kBlockElements / classes);
  ATROUS_LAUNCH((lattice_rows_kernel<Body>), unsigned((rows + each - 1) / each), kThreads, 0, stream, rows,
                unsigned(classes), unsigned(each), body);
}

/// Vertices of short lists, and the row of zeros.
template <class T>
struct ShortLists {
  LatticeSplat<T> splat;
  __device__ void element(std::int64_t u, std::int64_t c) const {
    const Span<const std::int32_t> begin = splat.begin;
    if (u == begin.size() - 1 || begin[u + 1] - begin[u] <= kLongList) splat.element(u, c);
  }
};

// A block owns the vertex whose list has entry blockIdx.x * kLongList as the first multiple of that number,
// if the list is long: thousands of splats where an image is flat. Its threads are layers of entries side by
// side, and the first layer adds the layers up.
template <class T>
__global__ void __launch_bounds__(kLongThreads, 2)
    lattice_long_lists_kernel(LatticeSplat<T> splat, const std::int32_t* vertex) {
  ATROUS_SHARED(T, of_layers, [kLongThreads]);
  const std::int64_t mark = std::int64_t(blockIdx.x) * kLongList;
  const std::int32_t u = vertex[splat.splats[mark]], begin = splat.begin[u], end = splat.begin[u + 1];
  if (end - begin <= kLongList || mark - begin >= kLongList) return;
  for (std::int64_t first = 0; first < splat.classes; first += kLongThreads) {
    const int columns = splat.classes - first < kLongThreads ? int(splat.classes - first) : kLongThreads;
    const int layers = kLongThreads / columns, column = int(threadIdx.x) % columns,
              layer = int(threadIdx.x) / columns;
    T sum = 0;
    if (layer < layers)
      for (std::int64_t k = begin + layer; k < end; k += layers) sum += splat.entry(k, first + column);
    of_layers[threadIdx.x] = sum;  // only the last columns have layers: nothing is read twice
    __syncthreads();
    if (layer == 0) {
      for (int l = 1; l < layers; ++l) sum += of_layers[l * columns + column];
      splat.table[u * splat.classes + first + column] = sum;
    }
  }
}

}  // namespace

template <class T>
void lattice_splat(Stream stream, const LatticeDims& dims, std::int64_t vertices, std::int64_t classes,
                   Span<const T> weight, Span<const std::int32_t> vertex, Span<const std::int32_t> begin,
                   Span<const std::int32_t> splats, Span<const T> pre, Span<const T> values, Span<T> table) {
  const LatticeSplat<T> body{dims, classes, weight, begin, splats, pre, values, table};
  for_each_row_element(stream, vertices + 1, classes, ShortLists<T>{body});
  if (dims.splats() <= kLongList || classes == 0) return;
  ATROUS_LAUNCH((lattice_long_lists_kernel<T>), unsigned((dims.splats() + kLongList - 1) / kLongList),
                kLongThreads, 0, stream, body, vertex.data());
}
ATROUS_INSTANTIATE_F32_F64(lattice_splat);

template <class T>
void lattice_blur(Stream stream, const LatticeDims& dims, std::int64_t vertices, std::int64_t classes,
                  bool reversed, Span<const std::int32_t> neighbours, Span<T> table, Span<T> other) {
  for (std::int64_t step = 0; step < dims.corners(); ++step) {
    const std::int64_t axis = reversed ? dims.features - step : step;
    for_each_row_element(
        stream, vertices + 1, classes,
        LatticeBlur<T>{vertices, classes, neighbours.part(2 * axis * vertices, 2 * vertices), table, other});
    std::swap(table, other);
  }
}
ATROUS_INSTANTIATE_F32_F64(lattice_blur);

template <class T>
void lattice_slice(Stream stream, const LatticeDims& dims, std::int64_t classes, double scale,
                   Span<const T> weight, Span<const std::int32_t> vertex, Span<const T> post,
                   Span<const T> table, Span<T> out) {
  for_each_row_element(stream, dims.points, classes,
                       LatticeSlice<T>{dims, classes, T(scale), weight, vertex, post, table, out});
}
ATROUS_INSTANTIATE_F32_F64(lattice_slice);

template <class T>
void lattice_backward_features(Stream stream, const LatticeDims& dims, const LatticeKeys& keys,
                               std::int64_t classes, double scale, Span<const T> features,
                               Span<const std::int32_t> vertex, Span<const T> pre, Span<const T> post,
                               Span<const T> values, Span<const T> dout, Span<const T> forward,
                               Span<const T> backward, Span<T> dfeatures) {
  with_features(dims.features, [&]<int D>() {
    for_each(stream, dims.points,
             LatticeBackwardFeatures<D, T>{dims, keys, classes, scale, features, vertex, pre, post, values,
                                           dout, forward, backward, dfeatures});
  });
}
ATROUS_INSTANTIATE_F32_F64(lattice_backward_features);

}  // namespace atrous::kernels::cuda
