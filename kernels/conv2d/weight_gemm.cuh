#pragma once

#include <algorithm>
#include <vector>

#include "atrous/kernels/conv2d/pipeline.cuh"
#include "atrous/kernels/conv2d/weight_gemm.h"

// The weight gradient as a matrix product on the tile of gemm_tile.cuh. Both factors lie as a row of channels
// for each pixel, the element of the sum, so both are read transposed.
//
// A block of four warps owns a tile of kExtent channels of x (of one tap) x kExtent channels of dy and a
// slice of the pixels; in a step, a thread copies a chunk of 16 bytes of channels of each of a few pixels,
// always the same channels. blockIdx.x is the tile, y the tap (of one convolution after the other), z the
// slice.
//
// Bytes: as for the forward product, 64 flops a byte from L2. Every tile of a tap reads the same pixels at
// about the same time, so device memory sees x and dy about once a tap at worst. Registers on sm_90 by ptxas:
// 128 wide 237 (bf16) and 255 (TF32), two blocks a multiprocessor; 64 wide 112 to 148, three or four.

namespace atrous::kernels::cuda {

template <class T>
struct WeightGemm {
  const T *x, *dy;
  float* partial;  // [slice][tap][in_channels][out_channels]
  T* dweight;
  std::int32_t batch, in_h, in_w, in_channels, out_h, out_w, out_channels, window_h, window_w;
  std::int32_t stride_h, stride_w, rate_h, rate_w, top, left;
  std::int32_t dy_pitch;  // elements from one pixel of dy to the next
  std::int32_t row_tiles, column_tiles, slice;
  bool by_tap, chunked_x, chunked_dy;

  /// Outputs of the rows, of the columns, that the product of group `tap` runs over.
  __device__ __forceinline__ LiveOutputs<int> rows(int tap) const {
    if (!by_tap) return {0, out_h};
    return live_outputs(out_h, in_h, top, tap / window_w, rate_h, stride_h);
  }
  __device__ __forceinline__ LiveOutputs<int> columns(int tap) const {
    if (!by_tap) return {0, out_w};
    return live_outputs(out_w, in_w, left, tap % window_w, rate_w, stride_w);
  }
  __device__ __forceinline__ int pixels(int tap) const {
    return batch * rows(tap).count * columns(tap).count;
  }
  __device__ __forceinline__ int product_rows() const {
    return by_tap ? in_channels : window_h * window_w * in_channels;
  }
  __device__ __forceinline__ int products() const { return by_tap ? window_h * window_w : 1; }
};

/// What a launch computes. blockIdx.y is a product: one of a problem after the other.
template <class T>
struct WeightGemms {
  WeightGemm<T> problems[kWeightProblems];

  /// The problem of product `product`, which becomes the product's place in it.
  __device__ __forceinline__ const WeightGemm<T>& problem_of(int& product) const {
    int i = 0;
    while (product >= problems[i].products()) product -= problems[i++].products();
    return problems[i];
  }
};

/// What one thread copies: the same chunk of channels of kOwn pixels a step.
template <class T, int kExtent>
class WeightCopies {
  using Layout = TileLayout<T, kExtent, Lies::depth_rows>;
  static constexpr int kOwn = Layout::kChunksOfThread, kRowsApart = kTileThreads / Layout::kRowChunks;

 public:
  __device__ __forceinline__ WeightCopies(const WeightGemm<T>& p, int tap, int first_row, int first_column,
                                          int begin, int end)
      : p_(p), channels_(p.in_channels), taps_w_(p.window_w), begin_(begin), end_(end) {
    const LiveOutputs<int> rows = p.rows(tap), columns = p.columns(tap);
    rows_ = rows.count, columns_ = columns.count;
    const int row = first_row + own_chunk() * kChunk<T>;
    first_tap_ = p.by_tap ? tap : 0;
    row_ = row;
    column_ = first_column + own_chunk() * kChunk<T>;
    first_h_ = rows.first, first_w_ = columns.first;
    place_ = place(row);
    const int pixel = begin + own_row(0), line = columns_ > 0 ? pixel / columns_ : 0;
    j_ = pixel - line * columns_;
    n_ = rows_ > 0 ? line / rows_ : 0;
    i_ = line - n_ * rows_;
    // kRowsApart pixels on, as images, rows and columns; kOwn times that is a step.
    const int lines = columns_ > 0 ? kRowsApart / columns_ : 0;
    step_j_ = kRowsApart - lines * columns_;
    step_n_ = rows_ > 0 ? lines / rows_ : 0;
    step_i_ = lines - step_n_ * rows_;
  }

  /// Steps come one after the other.
  __device__ __forceinline__ void copy(int step, T* a, T* b) {
    ATROUS_UNROLL
    for (int k = 0; k < kOwn; ++k) {
      const bool exists = begin_ + step * kTileDepth<T> + own_row(k) < end_;
      const int oh = first_h_ + i_, ow = first_w_ + j_;
      copy_x(exists, oh, ow, a + Layout::at(own_row(k), own_chunk()));
      copy_dy(exists, ((std::int64_t(n_) * p_.out_h + oh) * p_.out_w + ow) * p_.dy_pitch + column_,
              b + Layout::at(own_row(k), own_chunk()));
      j_ += step_j_;
      const bool next_line = j_ >= columns_;
      j_ -= next_line ? columns_ : 0;
      i_ += step_i_ + (next_line ? 1 : 0);
      const bool next_image = i_ >= rows_;
      i_ -= next_image ? rows_ : 0;
      n_ += step_n_ + (next_image ? 1 : 0);
    }
  }

 private:
  // Row `row` of the product: source position of output (0, 0) through its tap, and channel.
  struct Place {
    bool exists;
    int h, w, channel;
  };
  __device__ __forceinline__ Place place(int row) const {
    const int local = p_.by_tap ? 0 : channels_.divide(row), tap = first_tap_ + local,
              r = taps_w_.divide(tap);
    return {row < p_.product_rows(), r * p_.rate_h - p_.top, (tap - r * p_.window_w) * p_.rate_w - p_.left,
            row - local * p_.in_channels};
  }
  static __device__ __forceinline__ int own_chunk() { return int(threadIdx.x) % Layout::kRowChunks; }
  static __device__ __forceinline__ int own_row(int k) {
    return int(threadIdx.x) / Layout::kRowChunks + k * kRowsApart;
  }

  __device__ __forceinline__ bool inside(const Place& at, int h, int w) const {
    return at.exists && unsigned(h) < unsigned(p_.in_h) && unsigned(w) < unsigned(p_.in_w);
  }
  __device__ __forceinline__ std::int64_t x_offset(int h, int w, int channel) const {
    return ((std::int64_t(n_) * p_.in_h + h) * p_.in_w + w) * p_.in_channels + channel;
  }

  __device__ __forceinline__ void copy_x(bool exists, int oh, int ow, T* to) const {
    if (p_.chunked_x) {
      const int h = oh * p_.stride_h + place_.h, w = ow * p_.stride_w + place_.w;
      const bool in = exists && inside(place_, h, w);
      cp_async_16(to, p_.x + (in ? x_offset(h, w, place_.channel) : 0), in ? 16 : 0);
      return;
    }
    const auto element = [&](int row) {
      const Place at = place(row);
      const int h = oh * p_.stride_h + at.h, w = ow * p_.stride_w + at.w;
      return exists && inside(at, h, w) ? p_.x[x_offset(h, w, at.channel)] : T(0.0f);
    };
    ATROUS_NO_UNROLL
    for (int e = 0; e < kChunk<T>; e += 2) put_pair(to + e, element(row_ + e), element(row_ + e + 1));
  }

  __device__ __forceinline__ void copy_dy(bool exists, std::int64_t offset, T* to) const {
    if (p_.chunked_dy) {
      const bool in = exists && column_ < p_.out_channels;
      cp_async_16(to, p_.dy + (in ? offset : 0), in ? 16 : 0);
      return;
    }
    const auto element = [&](int e) {
      return exists && column_ + e < p_.out_channels ? p_.dy[offset + e] : T(0.0f);
    };
    ATROUS_NO_UNROLL
    for (int e = 0; e < kChunk<T>; e += 2) put_pair(to + e, element(e), element(e + 1));
  }

  const WeightGemm<T>& p_;
  SmallDivisor channels_, taps_w_;
  int begin_, end_, first_tap_;
  int row_, column_;  // of the product, of this thread's chunks
  int first_h_, first_w_, rows_, columns_;
  int step_n_, step_i_, step_j_;
  int n_, i_, j_;  // the pixel that is copied next: image, and place in the rectangle
  Place place_;
};

template <class Tile, int kExtent>
__global__ void __launch_bounds__(kTileThreads, 2)
    weight_gemm_kernel(const __grid_constant__ WeightGemms<typename Tile::Element> all) {
  using T = typename Tile::Element;
  ATROUS_DYN_SHARED(shared);
  int tap = int(blockIdx.y);
  const WeightGemm<T>& p = all.problem_of(tap);
  if (p.dweight == nullptr || int(blockIdx.x) >= p.row_tiles * p.column_tiles) return;
  const int first_row = int(blockIdx.x) / p.column_tiles * kExtent,
            first_column = int(blockIdx.x) % p.column_tiles * kExtent;
  const int pixels = p.pixels(tap);
  const std::int64_t begin = std::int64_t(blockIdx.z) * p.slice;
  if (begin >= pixels) return;  // this tap has fewer slices
  const int end = int(begin + p.slice < pixels ? begin + p.slice : pixels);

  WeightCopies<T, kExtent> copies(p, tap, first_row, first_column, int(begin), end);
  Tile tile;
  multiply_steps(tile, reinterpret_cast<T*>(shared), 0,
                 (end - int(begin) + kTileDepth<T> - 1) / kTileDepth<T>,
                 [&](int step, T* a, T* b) { copies.copy(step, a, b); });

  const int rows = p.product_rows(), columns = p.out_channels;
  float* sums =
      p.partial + (std::int64_t(blockIdx.z) * p.window_h * p.window_w + tap) * p.in_channels * columns;
  tile.for_each_pair([&](int row, int column, float a, float b) {
    row += first_row, column += first_column;
    if (row >= rows || column >= columns) return;
    float* to = sums + std::int64_t(row) * columns + column;
    if (columns % 2 == 0) {
      store8(to, make_uint2(__float_as_uint(a), __float_as_uint(b)));
    } else {
      to[0] = a;
      if (column + 1 < columns) to[1] = b;
    }
  });
}

// Adds up the slices in order. blockIdx.y is the product (a tap of a problem, or all); a block owns
// kAddedElements of it, a thread every 256th of those.
inline constexpr int kAddThreads = 256, kAddedElements = 2048;

template <class T>
__global__ void __launch_bounds__(kAddThreads)
    add_weight_slices_kernel(const __grid_constant__ WeightGemms<T> problems) {
  int tap = int(blockIdx.y);
  const WeightGemm<T>& p = problems.problem_of(tap);
  const std::int64_t of_tap = std::int64_t(p.in_channels) * p.out_channels,
                     all = of_tap * p.window_h * p.window_w;
  if (p.dweight == nullptr) return;
  const int pixels = p.pixels(tap);
  const std::int64_t begin = p.by_tap ? tap * of_tap : 0, count = p.by_tap ? of_tap : all;
  for (int k = int(threadIdx.x); k < kAddedElements; k += kAddThreads) {
    const std::int64_t i = std::int64_t(blockIdx.x) * kAddedElements + k;
    if (i >= count) return;
    float sum = 0;
    const float* partial = p.partial + begin + i;
    for (std::int64_t pixel = 0; pixel < pixels; pixel += p.slice, partial += all) sum += *partial;
    p.dweight[begin + i] = T(sum);
  }
}

template <template <class, int, int, Lies, Lies> class Tile, int kExtent, class T>
void launch_weight_gemm(Stream stream, const WeightGemms<T>& p, dim3 grid) {
  using Product = Tile<T, kExtent, kExtent, Lies::depth_rows, Lies::depth_rows>;
  constexpr int kBytes = kStages * 2 * kExtent * kTileRowBytes;
  ATROUS_CUDA_CHECK("conv2d_backward_weight",
                    cudaFuncSetAttribute(weight_gemm_kernel<Product, kExtent>,
                                         cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  ATROUS_LAUNCH((weight_gemm_kernel<Product, kExtent>), grid, kTileThreads, kBytes, stream, p);
}

template <class T>
WeightGemm<T> weight_gemm_of(const WeightProblem<T>& problem, const WeightGemmPlan& plan, float* partial) {
  const Conv2dDims& d = problem.dims;
  const auto n = [](std::int64_t v) { return std::int32_t(v); };
  const std::int64_t pitch = problem.dy_pitch > 0 ? problem.dy_pitch : d.out_channels;
  return {.x = problem.x.data(),
          .dy = problem.dy.data(),
          .partial = partial,
          .dweight = problem.dweight.data(),
          .batch = n(d.batch),
          .in_h = n(d.in_h),
          .in_w = n(d.in_w),
          .in_channels = n(d.in_channels),
          .out_h = n(d.out_h),
          .out_w = n(d.out_w),
          .out_channels = n(d.out_channels),
          .window_h = n(d.window_h),
          .window_w = n(d.window_w),
          .stride_h = n(d.stride.h),
          .stride_w = n(d.stride.w),
          .rate_h = n(d.rate.h),
          .rate_w = n(d.rate.w),
          .top = n(d.padding.top),
          .left = n(d.padding.left),
          .dy_pitch = n(pitch),
          .row_tiles = n(plan.row_tiles),
          .column_tiles = n(plan.column_tiles),
          .slice = n(plan.slice),
          .by_tap = plan.by_tap,
          .chunked_x = d.in_channels % kChunk<T> == 0 && at_chunks(problem.x.data()),
          .chunked_dy =
              d.out_channels % kChunk<T> == 0 && pitch % kChunk<T> == 0 && at_chunks(problem.dy.data())};
}

template <template <class, int, int, Lies, Lies> class Tile, class T>
void run_weight_gemm(Stream stream, const std::vector<WeightProblem<T>>& problems, Span<float> partial) {
  std::vector<Conv2dDims> dims;
  for (const WeightProblem<T>& problem : problems) dims.push_back(problem.dims);
  const std::vector<WeightGemmPlan> plans = weight_gemm_plans(dims, sizeof(T));
  WeightGemms<T> all{};
  std::int64_t used = 0, products = 0, tiles = 0, slices = 0, elements = 0;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const std::int64_t of_problem = plans[i].by_tap ? dims[i].taps() : 1;
    all.problems[i] = weight_gemm_of(problems[i], plans[i], partial.data() + used);
    used += plans[i].partial_sums(dims[i]);
    products += of_problem;
    tiles = std::max(tiles, plans[i].row_tiles * plans[i].column_tiles);
    slices = std::max(slices, plans[i].slices);
    elements = std::max(elements, dims[i].taps() * dims[i].in_channels * dims[i].out_channels / of_problem);
  }
  if (slices > 0) {
    const dim3 grid{unsigned(tiles), unsigned(products), unsigned(slices)};
    if constexpr (Tile<T, 64, 64, Lies::depth_rows, Lies::depth_rows>::kTensorCores)
      if (plans[0].tile == 128) launch_weight_gemm<Tile, 128>(stream, all, grid);
    if (plans[0].tile == 64) launch_weight_gemm<Tile, 64>(stream, all, grid);
  }
  const dim3 grid(unsigned((elements + kAddedElements - 1) / kAddedElements), unsigned(products));
  ATROUS_LAUNCH((add_weight_slices_kernel<T>), grid, kAddThreads, 0, stream, all);
}

}  // namespace atrous::kernels::cuda
