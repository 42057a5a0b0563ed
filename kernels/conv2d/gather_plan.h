#pragma once

#include <cstdint>

#include "atrous/core/recycled.h"
#include "atrous/kernels/conv2d/conv2d.h"

// The plan of a tuned convolution. Forward and backward by the input are one thing: every pixel of a
// destination gathers, through some of the taps, rows of channels of a source and multiplies them with that
// tap's matrix:
//
//   destination[pixel, :] = sum over live taps of source[pixel's place + offset of the tap, :] * matrix[tap]
//
// Forward gathers x by weight[r,s], backward gathers dy by weight[r,s] transposed. Destination pixels are
// sorted into regions of equal live taps, so that nothing is multiplied by padding: with the rates of an
// ASPP, half of all taps lie outside. Regions are cut into tiles of as many pixels as the register tile has
// rows; tiles are the unit that threads share out and that the plan orders.

namespace atrous::kernels {

/// One axis of a gather.
struct GatherAxis {
  struct Tap {
    std::int64_t index, offset;  ///< of the window; from `base` to the source position
    bool operator==(const Tap&) const = default;
  };
  struct Position {
    std::int64_t out, base;  ///< in the destination; in the source, may lie outside
  };
  /// Positions with the same live taps at the same offsets.
  struct Class {
    RecycledVector<Tap> taps;
    RecycledVector<Position> positions;
  };
  RecycledVector<Class> classes;
};

/// out[o] reads source position o*stride - before + tap*rate.
GatherAxis forward_axis(std::int64_t out, std::int64_t in, std::int64_t taps, std::int64_t before,
                        std::int64_t rate, std::int64_t stride);
/// The inverse: position `at` of the input reads those outputs that read it.
GatherAxis backward_axis(std::int64_t in, std::int64_t out, std::int64_t taps, std::int64_t before,
                         std::int64_t rate, std::int64_t stride);

/// One pixel of a tile: where its taps start from and where it is written.
struct GatherPixel {
  std::int64_t source, destination;  ///< offsets in elements; `source` is that of base_h, base_w
  std::int64_t base_h, base_w;       ///< source position of offset 0, may lie outside
};

struct GatherPlan {
  struct Tap {
    std::int64_t index, offset;  ///< r * window_w + s; elements of the source
  };
  /// Pixels of one class of rows and one of columns, in the order image, row, column.
  struct Region {
    const GatherAxis::Class *rows, *columns;
    RecycledVector<Tap> taps;  ///< by rising index
    std::int64_t pixels, tiles, first_tile;
    double cost;  ///< of one of its tiles, in rows times taps

    /// Pixels of tile i, counted in this region: [tile_begin(i), tile_begin(i + 1)); heights differ by one.
    std::int64_t tile_begin(std::int64_t i) const { return pixels * i / tiles; }
  };

  GatherPlan() = default;
  GatherPlan(GatherPlan&&) = default;  // not copied: regions point into the axes
  GatherPlan& operator=(GatherPlan&&) = default;

  GatherAxis row_axis, column_axis;
  RecycledVector<Region> regions;
  std::int64_t source_h, source_w, source_channels;
  std::int64_t destination_h, destination_w, destination_channels;
  std::int64_t tiles = 0;

  /// Offsets of pixels [begin, begin + count) of a region.
  void pixels(const Region& region, std::int64_t begin, int count, GatherPixel* to) const;
  /// The region that a tile belongs to.
  const Region& region_of(std::int64_t tile) const;
  /// The first tile of part i when all tiles are shared out in `parts` of equal cost.
  std::int64_t part_begin(int i, int parts) const;

  static GatherPlan forward(const Conv2dDims& dims, int tile_rows);
  /// All pixels in one region with one tap: for kernels that take whole windows and test for borders
  /// themselves.
  static GatherPlan windows(const Conv2dDims& dims, int tile_rows);
  static GatherPlan backward_input(const Conv2dDims& dims, int tile_rows);

 private:
  void set_sizes(const Conv2dDims& dims);
  void cut(std::int64_t batch, std::int64_t window_w, int tile_rows);
};

}  // namespace atrous::kernels
