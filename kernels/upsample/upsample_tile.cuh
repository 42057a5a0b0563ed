#pragma once

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/upsample/upsample_tile.h"

#include <cmath>

// A tile of fine pixels, whose logits are computed from coarse ones in shared memory each time that they are
// needed.

namespace atrous::kernels::cuda {

inline constexpr int kUpsampleThreads = 256;
inline constexpr int kUpsamplePixels = UpsampleTiles::kRows * UpsampleTiles::kColumns / kUpsampleThreads;

struct UpsampleWork {
  int batch, in_h, in_w, out_h, out_w, classes;
  SmallResizeAxis rows, columns;
  UpsampleTiles tiles;
  explicit UpsampleWork(const ResizeDims& d)
      : batch(int(d.batch)),
        in_h(int(d.in_h)),
        in_w(int(d.in_w)),
        out_h(int(d.out_h)),
        out_w(int(d.out_w)),
        classes(int(d.channels)),
        rows{int(d.in_h), int(d.out_h), d.align_corners},
        columns{int(d.in_w), int(d.out_w), d.align_corners},
        tiles(d) {}
};

/// One axis of a tile: which coarse points it reads. `first` .. `end` are its fine positions.
struct UpsampleSpan {
  int first, end, low, points;
  __device__ UpsampleSpan(const SmallResizeAxis& axis, int begin, int length)
      : first(begin), end(begin + length < axis.out ? begin + length : axis.out) {
    low = axis.tap(first).low;
    points = axis.tap(end - 1).high - low + 1;
  }
};

/// The taps of the fine positions of an axis, in shared memory; low and high count from the tile's first.
struct UpsampleTaps {
  int *low, *high;
  float* weight;
};

// The block's tile. A thread owns kUpsamplePixels pixels, 8 rows apart; a warp owns rows.
//   coarse  [rows.points, columns.points, classes], as floats
template <class T>
struct UpsampleTile {
  const UpsampleWork& g;
  int image;
  UpsampleSpan rows, columns;
  UpsampleTaps row_taps, column_taps;
  float* coarse;

  __device__ UpsampleTile(const UpsampleWork& work, unsigned char* shared)
      : g(work),
        image(int(blockIdx.x / unsigned(work.tiles.of_image()))),
        rows(work.rows,
             int(blockIdx.x % unsigned(work.tiles.of_image())) / work.tiles.columns * UpsampleTiles::kRows,
             UpsampleTiles::kRows),
        columns(work.columns, int(blockIdx.x % unsigned(work.tiles.columns)) * UpsampleTiles::kColumns,
                UpsampleTiles::kColumns) {
    constexpr int kRows = UpsampleTiles::kRows, kColumns = UpsampleTiles::kColumns;
    int* const words = reinterpret_cast<int*>(shared);
    row_taps = {words, words + kRows, reinterpret_cast<float*>(words + 2 * kRows)};
    int* const more = words + 3 * kRows;
    column_taps = {more, more + kColumns, reinterpret_cast<float*>(more + 2 * kColumns)};
    coarse = reinterpret_cast<float*>(words + kUpsampleTaps);
  }

  /// Fills taps and `coarse`; the block must meet at a barrier afterwards.
  __device__ void load(const T* logits) {
    const int i = int(threadIdx.x), j = i - UpsampleTiles::kRows;
    if (i < rows.end - rows.first) fill(row_taps, i, g.rows.tap(rows.first + i), rows.low);
    if (j >= 0 && j < columns.end - columns.first)
      fill(column_taps, j, g.columns.tap(columns.first + j), columns.low);
    const int line = columns.points * g.classes;
    for (int at = int(threadIdx.x); at < rows.points * line; at += kUpsampleThreads) {
      const int r = at / line;
      const std::int64_t row = std::int64_t(image) * g.in_h + rows.low + r;
      coarse[at] = float(Accumulator<T>(logits[(row * g.in_w + columns.low) * g.classes + (at - r * line)]));
    }
  }

  /// One pixel of the thread: where its upper left point lies, and from there the right one and the lower.
  struct Pixel {
    const float* upper_left;
    int right, lower;
    float row_weight, column_weight;

    __device__ float logit(int c) const {
      const float *a = upper_left + c, *e = a + lower;
      return blend(blend(a[0], e[0], row_weight), blend(a[right], e[right], row_weight), column_weight);
    }
  };
  /// Its place in [batch, out_h, out_w], or -1 beyond the map.
  __device__ std::int64_t index(int number) const {
    const int place = int(threadIdx.x) + number * kUpsampleThreads;
    const int row = rows.first + place / UpsampleTiles::kColumns,
              column = columns.first + place % UpsampleTiles::kColumns;
    return row < rows.end && column < columns.end ? (std::int64_t(image) * g.out_h + row) * g.out_w + column
                                                  : -1;
  }
  /// For pixels of the map only.
  __device__ Pixel pixel(int number) const {
    const int place = int(threadIdx.x) + number * kUpsampleThreads;
    const int row = place / UpsampleTiles::kColumns, column = place % UpsampleTiles::kColumns;
    const int low = row_taps.low[row], left = column_taps.low[column];
    return {coarse + (low * columns.points + left) * g.classes, (column_taps.high[column] - left) * g.classes,
            (row_taps.high[row] - low) * columns.points * g.classes, row_taps.weight[row],
            column_taps.weight[column]};
  }

 private:
  template <class Tap>
  __device__ static void fill(const UpsampleTaps& taps, int i, const Tap& tap, int first) {
    taps.low[i] = tap.low - first, taps.high[i] = tap.high - first, taps.weight[i] = tap.weight;
  }
};

/// The greatest logit of a pixel, and the sum of exp(z - largest).
struct PixelSoftmax {
  float largest, sum;
  template <class Pixel>
  __device__ PixelSoftmax(const Pixel& p, int classes) : largest(p.logit(0)), sum(0) {
    for (int c = 1; c < classes; ++c) {
      const float z = p.logit(c);
      largest = z > largest ? z : largest;
    }
    for (int c = 0; c < classes; ++c) sum += std::exp(p.logit(c) - largest);
  }
  template <class Pixel>
  __device__ float loss(const Pixel& p, int target) const {
    return std::log(sum) + (largest - p.logit(target));
  }
};

}  // namespace atrous::kernels::cuda
