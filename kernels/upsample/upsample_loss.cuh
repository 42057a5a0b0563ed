#pragma once

#include "atrous/kernels/reduce/block_reduce.cuh"
#include "atrous/kernels/upsample/upsample_tile.cuh"

#include <cmath>

// The loss on upsampled logits and its gradient by the coarse ones, a tile of fine pixels a block, then the
// tiles' parts of each coarse pixel in a fixed order.

namespace atrous::kernels::cuda {

// losses[p] of the block's tile.
template <class T>
__global__ void __launch_bounds__(kUpsampleThreads)
    upsample_losses_kernel(UpsampleWork g, const T* logits, const std::int32_t* targets, float* losses) {
  ATROUS_DYN_SHARED(shared);
  UpsampleTile<T> tile(g, shared);
  tile.load(logits);
  __syncthreads();
  for (int i = 0; i < kUpsamplePixels; ++i) {
    const std::int64_t p = tile.index(i);
    if (p < 0) continue;
    const int target = targets[p];
    if (target < 0) {
      losses[p] = 0;
    } else {
      const auto pixel = tile.pixel(i);
      losses[p] = PixelSoftmax(pixel, g.classes).loss(pixel, target);
    }
  }
}

// A block owns a tile of 16 x 32 fine pixels; a thread owns two of them. Their logits are blended from the
// coarse ones in shared memory three times: for the largest, for the sum of exponentials, for the gradient.
// The gradients of 8 classes at a time lie in shared memory, and a thread gathers a coarse point and a class
// from the fine pixels of the tile that read it: partials[tile, point, class].
//
// Floor: two exponentials a fine logit; memory is the coarse logits, twice, and 8 bytes a fine pixel.
template <class T, bool kGradient>
__global__ void __launch_bounds__(kUpsampleThreads, 4)
    upsample_loss_kernel(UpsampleWork g, const T* logits, const std::int32_t* targets, const float* scales,
                         double* sums, float* partials) {
  ATROUS_DYN_SHARED(shared);
  UpsampleTile<T> tile(g, shared);
  // Fine rows (and columns) of the tile that read coarse point k: readers[2k] .. readers[2k + 1] - 1.
  int* const readers = reinterpret_cast<int*>(tile.coarse + g.tiles.points() * g.classes);
  float* const gradients =
      reinterpret_cast<float*>(readers + 2 * (g.tiles.point_rows + g.tiles.point_columns));
  tile.load(logits);
  if constexpr (kGradient) {
    const auto find = [](const SmallResizeAxis& axis, const UpsampleSpan& span, int* to) {
      for (int k = int(threadIdx.x); k < span.points; k += kUpsampleThreads) {
        const int from = axis.first(span.low + k - 1), end = axis.first(span.low + k + 1);
        to[2 * k] = (from > span.first ? from : span.first) - span.first;
        to[2 * k + 1] = (end < span.end ? end : span.end) - span.first;
      }
    };
    find(g.rows, tile.rows, readers);
    find(g.columns, tile.columns, readers + 2 * tile.rows.points);
  }
  __syncthreads();

  float largest[kUpsamplePixels], factor[kUpsamplePixels], scale[kUpsamplePixels];
  int target[kUpsamplePixels];
  double loss = 0;
  ATROUS_UNROLL
  for (int i = 0; i < kUpsamplePixels; ++i) {
    const std::int64_t p = tile.index(i);
    largest[i] = factor[i] = 0;
    scale[i] = p < 0 ? 0 : scales[p];
    target[i] = -1;
    if (scale[i] == 0) continue;
    target[i] = targets[p];
    const auto pixel = tile.pixel(i);
    const PixelSoftmax softmax(pixel, g.classes);
    largest[i] = softmax.largest;
    factor[i] = scale[i] / softmax.sum;
    loss += double(scale[i] * softmax.loss(pixel, target[i]));
  }
  loss = block_reduce<kUpsampleThreads>(loss, Sum());
  if (threadIdx.x == 0) sums[blockIdx.x] = loss;

  if constexpr (kGradient) {
    float* const to = partials + std::int64_t(blockIdx.x) * g.tiles.points() * g.classes;
    for (int first = 0; first < g.classes; first += kUpsampleGroup) {
      const int count = g.classes - first < kUpsampleGroup ? g.classes - first : kUpsampleGroup;
      __syncthreads();
      ATROUS_UNROLL
      for (int i = 0; i < kUpsamplePixels; ++i) {
        float* const own = gradients + int(threadIdx.x) + i * kUpsampleThreads;
        if (scale[i] == 0) {
          for (int k = 0; k < count; ++k) own[k * kUpsamplePitch] = 0;
          continue;
        }
        const auto pixel = tile.pixel(i);
        for (int k = 0; k < count; ++k) {
          const float share = std::exp(pixel.logit(first + k) - largest[i]) * factor[i];
          own[k * kUpsamplePitch] = first + k == target[i] ? share - scale[i] : share;
        }
      }
      __syncthreads();
      for (int item = int(threadIdx.x); item < tile.rows.points * tile.columns.points * kUpsampleGroup;
           item += kUpsampleThreads) {
        const int k = item % kUpsampleGroup, point = item / kUpsampleGroup;
        if (k >= count) continue;
        const int h = point / tile.columns.points, w = point % tile.columns.points;
        const int* const row_readers = readers + 2 * h;
        const int* const column_readers = readers + 2 * (tile.rows.points + w);
        float sum = 0;
        for (int row = row_readers[0]; row < row_readers[1]; ++row) {
          const float high = tile.row_taps.weight[row];
          const float row_weight = tile.row_taps.low[row] == h ? 1 - high : high;
          if (row_weight == 0) continue;
          const float* line = gradients + k * kUpsamplePitch + row * UpsampleTiles::kColumns;
          float line_sum = 0;
          for (int column = column_readers[0]; column < column_readers[1]; ++column) {
            const float right = tile.column_taps.weight[column];
            const float weight = tile.column_taps.low[column] == w ? 1 - right : right;
            if (weight != 0) line_sum += weight * line[column];
          }
          sum += row_weight * line_sum;
        }
        to[(h * g.tiles.point_columns + w) * g.classes + first + k] = sum;
      }
    }
  }
}

// The parts of coarse pixel i and class c from the tiles that read it, in order.
template <class T>
struct UpsampleParts {
  UpsampleWork g;
  const float* partials;
  T* dlogits;
  __device__ void element(std::int64_t i, std::int64_t c) const {
    const int w = int(i % g.in_w), h = int(i / g.in_w % g.in_h);
    const std::int64_t image = i / (std::int64_t(g.in_w) * g.in_h);
    const int row_end = g.rows.first(h + 1), column_end = g.columns.first(w + 1);
    float sum = 0;
    for (int y = g.rows.first(h - 1) / UpsampleTiles::kRows; y * UpsampleTiles::kRows < row_end; ++y) {
      const UpsampleSpan rows(g.rows, y * UpsampleTiles::kRows, UpsampleTiles::kRows);
      if (h < rows.low || h >= rows.low + rows.points) continue;
      for (int x = g.columns.first(w - 1) / UpsampleTiles::kColumns; x * UpsampleTiles::kColumns < column_end;
           ++x) {
        const UpsampleSpan columns(g.columns, x * UpsampleTiles::kColumns, UpsampleTiles::kColumns);
        if (w < columns.low || w >= columns.low + columns.points) continue;
        const std::int64_t tile = image * g.tiles.of_image() + y * g.tiles.columns + x;
        const int point = (h - rows.low) * g.tiles.point_columns + (w - columns.low);
        sum += partials[(tile * g.tiles.points() + point) * g.classes + c];
      }
    }
    dlogits[i * g.classes + c] = T(sum);
  }
};

// loss[0] = the sum of n doubles: thread t takes t, t + threads, ..; then over threads.
template <class T>
__global__ void __launch_bounds__(kUpsampleThreads)
    sum_losses_kernel(std::int64_t n, const double* sums, T* loss) {
  double v = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += kUpsampleThreads) v += sums[i];
  v = block_reduce<kUpsampleThreads>(v, Sum());
  if (threadIdx.x == 0) loss[0] = T(Accumulator<T>(v));
}

}  // namespace atrous::kernels::cuda
