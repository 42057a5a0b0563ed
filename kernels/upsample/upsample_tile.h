#pragma once

#include "atrous/kernels/resize/resize_body.h"

// How the CUDA kernels of upsample.h cut the fine maps: tiles of 16 x 32 pixels, and the coarse points that
// they read.

namespace atrous::kernels {

struct UpsampleTiles {
  static constexpr int kRows = 16, kColumns = 32;
  int rows, columns;              ///< tiles of an image
  int point_rows, point_columns;  ///< coarse points that a tile reads, at most

  constexpr explicit UpsampleTiles(const ResizeDims& d)
      : rows(int((d.out_h + kRows - 1) / kRows)),
        columns(int((d.out_w + kColumns - 1) / kColumns)),
        point_rows(most_points(d.in_h, d.out_h, d.align_corners, kRows)),
        point_columns(most_points(d.in_w, d.out_w, d.align_corners, kColumns)) {}

  ATROUS_HD constexpr std::int64_t of_image() const { return std::int64_t(rows) * columns; }
  constexpr std::int64_t count(const ResizeDims& d) const { return d.batch * of_image(); }
  ATROUS_HD constexpr std::int64_t points() const { return std::int64_t(point_rows) * point_columns; }

 private:
  // From the low of the first to the high of the last: the way between, rounded up, and one at either end.
  static constexpr int most_points(std::int64_t in, std::int64_t out, bool aligned, int tile) {
    const std::int64_t n = aligned ? in - 1 : in, q = aligned ? (out > 1 ? out - 1 : 1) : out;
    const std::int64_t most = ((tile - 1) * n + q - 1) / q + 2;
    return int(most < in ? most : in);
  }
};

/// Classes whose gradients a tile has in shared memory at a time.
inline constexpr int kUpsampleGroup = 8;
/// From one of them to the next, in floats: another bank for each class.
inline constexpr int kUpsamplePitch = UpsampleTiles::kRows * UpsampleTiles::kColumns + 1;

/// Words that hold the taps of a tile's rows and columns: low, high, weight.
inline constexpr int kUpsampleTaps = 3 * (UpsampleTiles::kRows + UpsampleTiles::kColumns);

/// Bytes of shared memory: taps, coarse logits, the readers of every coarse row and column, gradients.
constexpr std::int64_t upsample_shared_bytes(const ResizeDims& d) {
  const UpsampleTiles tiles(d);
  return 4 * (kUpsampleTaps + tiles.points() * d.channels + 2 * (tiles.point_rows + tiles.point_columns) +
              kUpsampleGroup * kUpsamplePitch);
}

/// What tiles serve; else the plain bodies do it.
template <class T>
constexpr bool takes_upsample_tiles(const ResizeDims& d) {
  constexpr std::int64_t kShared = 96 << 10;  // every architecture has it
  return sizeof(T) < 8 && is_small(rows_of(d)) && is_small(columns_of(d)) &&
         upsample_shared_bytes(d) <= kShared;
}

}  // namespace atrous::kernels
