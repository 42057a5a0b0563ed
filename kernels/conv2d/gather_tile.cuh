#pragma once

#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "atrous/kernels/conv2d/pipeline.cuh"

// From a tile of the implicit matrix product to memory: which pixels and channels it covers, and what each
// thread copies of them into shared memory.

namespace atrous::kernels::cuda {

/// Everything that a launch reads beside the tensors; passed by value.
template <class T>
struct ImplicitGemm {
  struct Pointers {
    const T *source, *weight, *bias;
    T* destination;
    double *mean, *var;       // of the destination's channels, or null
    std::uint8_t activation;  // of enum Activation
    bool chunked_source, chunked_weight,
        chunked_destination;  // whether all of its rows lie at multiples of 16 bytes
  };
  TileSchedule schedule;
  Pointers pointers[kLaunchProblems];
  float* partial;
  double* moments;  // [moment_pieces][2][columns of a tile]: tile_statistics.cuh
};

/// A tile of the schedule: its rectangle, and where it begins in it.
struct TilePlace {
  int problem, row_piece, column_piece;
  TapPiece row, column;
  std::int64_t first_pixel;
  int first_output;

  template <class T>
  __device__ __forceinline__ TilePlace(const ImplicitGemm<T>& p, int tile, int columns) {
    int low = 0,
        high = p.schedule.rectangle_count - 1;  // the last rectangle that begins at or before the tile
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (p.schedule.rectangles[middle].first_tile <= tile)
        low = middle;
      else
        high = middle - 1;
    }
    const TileRectangle rectangle = p.schedule.rectangles[low];
    problem = rectangle.problem;
    row_piece = rectangle.row;
    column_piece = rectangle.column;
    row = p.schedule.pieces[row_piece];
    column = p.schedule.pieces[column_piece];
    // Neighbouring blocks share pixels rather than weights: those come from farther away.
    const int local = tile - rectangle.first_tile;
    const int across = (p.schedule.shapes[problem].outputs + columns - 1) / columns;
    first_pixel = std::int64_t(local / across) * kTilePixels;
    first_output = local % across * columns;
  }

  /// The same tile as term `t` of its sum reads it.
  template <class T>
  __device__ __forceinline__ TilePlace term(const ImplicitGemm<T>& p, int t) const {
    TilePlace of_term = *this;
    of_term.problem = problem + t;
    of_term.row = p.schedule.pieces[row_piece + t];
    of_term.column = p.schedule.pieces[column_piece + t];
    return of_term;
  }
};

/// Steps of a tile's sum.
template <class T>
__device__ __forceinline__ int tile_steps(const ImplicitGemm<T>& p, const TilePlace& at) {
  return (at.row.taps * at.column.taps * p.schedule.shapes[at.problem].channels + kTileDepth<T> - 1) /
         kTileDepth<T>;
}

/// Pixel `index` of a rectangle, in the order image, row, column: positions within the pieces. Not below
/// 0 only for pixels that exist.
struct RectanglePixel {
  int image, i, j;

  __device__ __forceinline__ RectanglePixel(const TilePlace& at, int batch, std::int64_t index) {
    const std::int64_t line = index / at.column.count;
    j = int(index - line * at.column.count);
    image = int(line / at.row.count);
    i = int(line - std::int64_t(image) * at.row.count);
    if (image >= batch) image = -1;
  }
};

/// Pixels of the rectangle in the tile; the rest of its rows are fillers.
__device__ __forceinline__ int tile_rows(const TilePlace& at, int batch) {
  const std::int64_t left = std::int64_t(batch) * at.row.count * at.column.count - at.first_pixel;
  return left < kTilePixels ? int(left) : kTilePixels;
}

/// Element of the destination at which a pixel of a rectangle begins.
template <class T>
__device__ __forceinline__ std::int64_t destination_offset(const GatherShape& shape, const TilePlace& at,
                                                           const RectanglePixel& pixel) {
  const std::int64_t h = at.row.at + pixel.i * shape.row_axis.step,
                     w = at.column.at + pixel.j * shape.column_axis.step;
  return ((pixel.image * std::int64_t(shape.row_axis.destination) + h) * shape.column_axis.destination + w) *
         shape.destination_pitch;
}

/// Where a pixel of a rectangle reads through the first tap: source row and column, which may lie outside of
/// the map, and the element. A pixel that does not exist has a row outside of every map.
struct SourcePlace {
  int h, w;
  std::int64_t offset;

  __device__ __forceinline__ SourcePlace(const GatherShape& shape, const TilePlace& at,
                                         const RectanglePixel& pixel) {
    constexpr int kNowhere = -(1 << 30);
    const bool exists = pixel.image >= 0;
    h = exists ? at.row.source + pixel.i * shape.row_axis.source_step : kNowhere;
    w = at.column.source + pixel.j * shape.column_axis.source_step;
    offset = ((std::int64_t(exists ? pixel.image : 0) * shape.row_axis.source + (exists ? h : 0)) *
                  shape.column_axis.source +
              w) *
             shape.source_pitch;
  }
};

/// What one thread copies, step by step, into the stages.
template <class T, int kColumns, Lies kWeightLies>
class GatherCopies {
  using ALayout = TileLayout<T, kTilePixels, Lies::outer_rows>;
  using BLayout = TileLayout<T, kColumns, kWeightLies>;
  static constexpr int kOwnPixels = kTilePixels * 4 / kTileThreads;  // a chunk of each

 public:
  __device__ __forceinline__ GatherCopies(const ImplicitGemm<T>& p, const TilePlace& at)
      : shape_(p.schedule.shapes[at.problem]),
        pointers_(p.pointers[at.problem]),
        at_(at),
        taps_(at.row.taps * at.column.taps),
        channels_(shape_.channels),
        columns_of_taps_(at.column.taps > 0 ? at.column.taps : 1) {
    ATROUS_UNROLL
    for (int k = 0; k < kOwnPixels; ++k) {
      const RectanglePixel pixel(at, shape_.batch, at.first_pixel + threadIdx.x / 4 + k * (kTileThreads / 4));
      const SourcePlace source(shape_, at, pixel);
      h_[k] = source.h, w_[k] = source.w, offset_[k] = source.offset;
    }
  }

  __device__ __forceinline__ void copy(int step, T* a, T* b) const {
    copy_pixels(step, a);
    if constexpr (kWeightLies == Lies::depth_rows)
      copy_weight_depth_rows(step, b);
    else
      copy_weight_outer_rows(step, b);
  }

 private:
  // Element `depth` of the sum: its tap and channel.
  struct Place {
    bool exists;
    int h, w;    // source offset of the tap
    int weight;  // r * window_w + s
    int channel;
  };
  __device__ __forceinline__ Place place(int depth) const {
    const int tap = channels_.divide(depth), r = columns_of_taps_.divide(tap), s = tap - r * at_.column.taps;
    return {tap < taps_, r * shape_.row_axis.tap_source_step, s * shape_.column_axis.tap_source_step,
            (at_.row.tap + r * shape_.row_axis.tap_step) * shape_.window_w + at_.column.tap +
                s * shape_.column_axis.tap_step,
            depth - tap * shape_.channels};
  }
  __device__ __forceinline__ bool inside(const Place& p, int k) const {
    return p.exists && unsigned(h_[k] + p.h) < unsigned(shape_.row_axis.source) &&
           unsigned(w_[k] + p.w) < unsigned(shape_.column_axis.source);
  }
  __device__ __forceinline__ std::int64_t source_offset(const Place& p) const {
    return (std::int64_t(p.h) * shape_.column_axis.source + p.w) * shape_.source_pitch + p.channel;
  }

  __device__ __forceinline__ void copy_pixels(int step, T* a) const {
    const int chunk = int(threadIdx.x) % 4, depth = step * kTileDepth<T> + chunk * kChunk<T>;
    if (pointers_.chunked_source) {
      const Place p = place(depth);
      const std::int64_t more = source_offset(p);
      ATROUS_UNROLL
      for (int k = 0; k < kOwnPixels; ++k) {
        const bool in = inside(p, k);
        cp_async_16(a + ALayout::at(threadIdx.x / 4 + k * (kTileThreads / 4), chunk),
                    pointers_.source + (in ? offset_[k] + more : 0), in ? 16 : 0);
      }
      return;
    }
    ATROUS_NO_UNROLL
    for (int e = 0; e < kChunk<T>; e += 2) {
      const Place p = place(depth + e), q = place(depth + e + 1);
      const std::int64_t more_p = source_offset(p), more_q = source_offset(q);
      ATROUS_UNROLL
      for (int k = 0; k < kOwnPixels; ++k)
        put_pair(a + ALayout::at(threadIdx.x / 4 + k * (kTileThreads / 4), chunk) + e,
                 inside(p, k) ? pointers_.source[offset_[k] + more_p] : T(0.0f),
                 inside(q, k) ? pointers_.source[offset_[k] + more_q] : T(0.0f));
    }
  }

  // Rows of the weight [tap, source channel, output]: a row of the tile is an element of the sum.
  __device__ __forceinline__ void copy_weight_depth_rows(int step, T* b) const {
    ATROUS_UNROLL
    for (int k = 0; k < BLayout::kChunksOfThread; ++k) {
      const int index = int(threadIdx.x) + k * kTileThreads, row = index / BLayout::kRowChunks,
                chunk = index % BLayout::kRowChunks;
      const Place p = place(step * kTileDepth<T> + row);
      const int output = at_.first_output + chunk * kChunk<T>;
      copy_weight((std::int64_t(p.weight) * shape_.channels + p.channel) * shape_.outputs + output,
                  p.exists ? shape_.outputs - output : 0, b + BLayout::at(row, chunk));
    }
  }

  // Rows of the weight [tap, output, source channel]: a row of the tile is an output.
  __device__ __forceinline__ void copy_weight_outer_rows(int step, T* b) const {
    const int chunk = int(threadIdx.x) % 4, depth = step * kTileDepth<T> + chunk * kChunk<T>;
    if (pointers_.chunked_weight) {
      const Place p = place(depth);
      ATROUS_UNROLL
      for (int k = 0; k < BLayout::kChunksOfThread; ++k) {
        const int row = int(threadIdx.x) / 4 + k * (kTileThreads / 4), output = at_.first_output + row;
        copy_weight((std::int64_t(p.weight) * shape_.outputs + output) * shape_.channels + p.channel,
                    p.exists && output < shape_.outputs ? kChunk<T> : 0, b + BLayout::at(row, chunk));
      }
      return;
    }
    ATROUS_NO_UNROLL
    for (int e = 0; e < kChunk<T>; e += 2) {
      const Place p = place(depth + e), q = place(depth + e + 1);
      ATROUS_UNROLL
      for (int k = 0; k < BLayout::kChunksOfThread; ++k) {
        const int row = int(threadIdx.x) / 4 + k * (kTileThreads / 4), output = at_.first_output + row;
        const auto element = [&](const Place& of) {
          return of.exists && output < shape_.outputs
                     ? pointers_
                           .weight[(std::int64_t(of.weight) * shape_.outputs + output) * shape_.channels +
                                   of.channel]
                     : T(0.0f);
        };
        put_pair(b + BLayout::at(row, chunk) + e, element(p), element(q));
      }
    }
  }

  // A chunk of the weight from `offset` on, of which `count` elements exist (none if not above 0).
  __device__ __forceinline__ void copy_weight(std::int64_t offset, int count, T* to) const {
    if (pointers_.chunked_weight) {
      cp_async_16(to, pointers_.weight + (count > 0 ? offset : 0), count > 0 ? 16 : 0);
      return;
    }
    ATROUS_NO_UNROLL
    for (int e = 0; e < kChunk<T>; e += 2)
      put_pair(to + e, e < count ? pointers_.weight[offset + e] : T(0.0f),
               e + 1 < count ? pointers_.weight[offset + e + 1] : T(0.0f));
  }

  const GatherShape& shape_;
  const typename ImplicitGemm<T>::Pointers& pointers_;
  const TilePlace& at_;
  int taps_;
  SmallDivisor channels_, columns_of_taps_;
  int h_[kOwnPixels], w_[kOwnPixels];  // source position of tap 0, may lie outside
  std::int64_t offset_[kOwnPixels];    // its elements
};

}  // namespace atrous::kernels::cuda
