#pragma once

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/conv2d/gather_tile.cuh"
#include "atrous/kernels/reduce/channel_strips.cuh"
#include "atrous/kernels/reduce/moments.cuh"

// Mean and variance of every channel of what the implicit matrix product writes, for a batch norm behind it:
// taken from the tiles while they lie in shared memory, as they are stored (rounded to T, bias and activation
// included), so that the output need not be read again for them.
//
// A tile leaves mean and sum of squared deviations of each of its columns in `moments`: exact also where a
// mean is much larger than the deviation. A second kernel merges the tiles of a channel in double, in an
// order that follows from the schedule. Floor: 16 bytes a channel and tile, 1/16 of the tile's own bytes in
// bf16.

namespace atrous::kernels::cuda {

/// The finished tile on its way out: as T in shared memory, chunks swizzled, then 16 bytes a store.
template <class T, int kColumns>
struct TileOut {
  static constexpr int kRowChunks = kColumns / kChunk<T>;
  static constexpr int kBytes = kTilePixels * kColumns * int(sizeof(T));
  /// A warp writes pairs of eight rows at once: 4 bytes of bf16 (its four lanes share a chunk), 8 of float.
  static __device__ __forceinline__ int at(int row, int column) {
    const int chunk = column / kChunk<T> ^ (sizeof(T) == 2 ? row & 7 : (row & 3) << 1);
    return (row * kRowChunks + chunk) * kChunk<T> + column % kChunk<T>;
  }
};

/// Sums over `count` values of a channel about a center among them: of (v - center), and of its square.
struct CenteredSums {
  int count = 0;
  double center = 0, sum = 0, square = 0;

  /// The first value is the center.
  __device__ __forceinline__ void add(double v) {
    if (count++ == 0) center = v;
    const double d = v - center;
    sum += d;
    square += d * d;
  }
  /// The values of `more`, brought to this center.
  __device__ __forceinline__ void add(const CenteredSums& more) {
    const double gap = more.center - center, n = double(more.count);
    count += more.count;
    sum += more.sum + n * gap;
    square += more.square + gap * (2 * more.sum + n * gap);
  }
  /// Mean of the values, and sum of their squared deviations about it.
  __device__ __forceinline__ void store(double* mean, double* squares) const {
    *mean = center + sum / count;
    *squares = square - sum * sum / count;
  }
};

/// Statistics of the columns of a finished tile, of which the first `rows` rows exist. A thread sums up one
/// chunk of every kGroups-th row about its own mean, then the groups of a column are brought to one center.
template <class T, int kColumns>
class TileStatistics {
  static constexpr int kRowChunks = TileOut<T, kColumns>::kRowChunks, kGroups = kTileThreads / kRowChunks;
  // Floats of a group: neighbouring chunks, and neighbouring columns, lie in different banks.
  static constexpr int kLine = kRowChunks + 1, kPitch = kChunk<T> * kLine;

 public:
  static constexpr int kBytes = 3 * kGroups * kPitch * int(sizeof(float));

  /// `scratch` is kBytes of shared memory that nothing else uses.
  ///   mean, squares  [kColumns], written
  static __device__ __forceinline__ void compute(const T* tile, int rows, float* scratch, double* mean,
                                                 double* squares) {
    const int chunk = int(threadIdx.x) % kRowChunks, group = int(threadIdx.x) / kRowChunks;
    const int own = rows_of(group, rows);
    float center[kChunk<T>], rest[kChunk<T>], square[kChunk<T>], v[kChunk<T>];
    ATROUS_UNROLL
    for (int e = 0; e < kChunk<T>; ++e) center[e] = rest[e] = square[e] = 0;
    for (int k = 0; k < own; ++k) {
      load(tile, group + k * kGroups, chunk, v);
      ATROUS_UNROLL
      for (int e = 0; e < kChunk<T>; ++e) center[e] += v[e];
    }
    const float share = own > 0 ? 1.0f / float(own) : 0.0f;
    ATROUS_UNROLL
    for (int e = 0; e < kChunk<T>; ++e) center[e] *= share;
    for (int k = 0; k < own; ++k) {
      load(tile, group + k * kGroups, chunk, v);
      ATROUS_UNROLL
      for (int e = 0; e < kChunk<T>; ++e) {
        const float d = v[e] - center[e];
        rest[e] += d;
        square[e] += d * d;
      }
    }
    ATROUS_UNROLL
    for (int e = 0; e < kChunk<T>; ++e) {
      float* to = scratch + group * kPitch + e * kLine + chunk;
      to[0] = center[e];
      to[kGroups * kPitch] = rest[e];
      to[2 * kGroups * kPitch] = square[e];
    }
    __syncthreads();
    const int column = int(threadIdx.x);
    if (column < kColumns) {
      const float* from = scratch + column % kChunk<T> * kLine + column / kChunk<T>;
      CenteredSums all{.center = double(from[0])};  // group 0 has a row
      for (int g = 0; g < kGroups; ++g, from += kPitch)
        all.add({rows_of(g, rows), double(from[0]), double(from[kGroups * kPitch]),
                 double(from[2 * kGroups * kPitch])});
      all.store(mean + column, squares + column);
    }
  }

 private:
  static __device__ __forceinline__ int rows_of(int group, int rows) {
    return rows > group ? (rows - group + kGroups - 1) / kGroups : 0;
  }
  static __device__ __forceinline__ void load(const T* tile, int row, int chunk, float (&v)[kChunk<T>]) {
    load_channels<T, kChunk<T>>(tile + TileOut<T, kColumns>::at(row, chunk * kChunk<T>), v);
  }
};

/// The same of the quarter of a tile whose values the threads of a block hold in `own`: thread t those of
/// column t % kColumns in rows t / kColumns, and so on, of which `rows` exist. `shared` is free before it.
template <int kColumns>
__device__ __forceinline__ void quarter_statistics(const CenteredSums& own, int rows,
                                                   double (&shared)[3][kTileThreads], double* mean,
                                                   double* squares) {
  constexpr int kShares = kTileThreads / kColumns;  // threads of a column
  const int t = int(threadIdx.x);
  shared[0][t] = own.center;
  shared[1][t] = own.sum;
  shared[2][t] = own.square;
  __syncthreads();
  if (t >= kColumns || rows <= 0) return;
  CenteredSums all{.center = own.center};
  for (int share = 0; share < kShares; ++share) {
    const int from = t + share * kColumns;
    all.add({(rows - share + kShares - 1) / kShares, shared[0][from], shared[1][from], shared[2][from]});
  }
  all.store(mean + t, squares + t);
}

// Merges the pieces of every channel: 8 channels a block, 32 threads each, a thread every 32nd tile of
// pixels. blockIdx.y is the problem.
template <class T>
__global__ void __launch_bounds__(kFinishChannels* kFinishLanes)
    tile_statistics_finish_kernel(const __grid_constant__ ImplicitGemm<T> p, int columns) {
  ATROUS_SHARED(Moments, shared, [kFinishLanes * kFinishChannels]);
  const int t = int(threadIdx.x), lane = t / kFinishChannels, problem = int(blockIdx.y);
  const int channel = int(blockIdx.x) * kFinishChannels + t % kFinishChannels;
  const GatherShape& shape = p.schedule.shapes[problem];
  const auto& pointers = p.pointers[problem];
  if (pointers.mean == nullptr) return;
  const int across = (shape.outputs + columns - 1) / columns;
  Moments m{0, 0, 0};
  std::int64_t before = 0;  // tiles of pixels in the rectangles before
  const auto merge = [&](std::int64_t piece, std::int64_t pixels) {
    const double* of_piece = p.moments + piece * 2 * columns + channel % columns;
    m.merge({double(pixels), of_piece[0], of_piece[columns]});
  };
  for (int r = 0; r < p.schedule.rectangle_count && channel < shape.outputs; ++r) {
    const TileRectangle rectangle = p.schedule.rectangles[r];
    if (rectangle.problem != problem) continue;
    const std::int64_t pixels = std::int64_t(shape.batch) * p.schedule.pieces[rectangle.row].count *
                                p.schedule.pieces[rectangle.column].count;
    const std::int64_t tiles = (pixels + kTilePixels - 1) / kTilePixels;
    for (std::int64_t q = (lane - before % kFinishLanes + kFinishLanes) % kFinishLanes; q < tiles;
         q += kFinishLanes) {
      const std::int64_t tile = rectangle.first_tile + q * across + channel / columns,
                         left = pixels - q * kTilePixels;
      if (tile < p.schedule.whole) {
        merge(tile, left < kTilePixels ? left : kTilePixels);
        continue;
      }
      constexpr int kRows = kTilePixels / kTileQuarters;
      for (int quarter = 0; quarter < kTileQuarters && quarter * kRows < left; ++quarter) {
        const std::int64_t rows = left - quarter * kRows;
        merge(p.schedule.whole + (tile - p.schedule.whole) * kTileQuarters + quarter,
              rows < kRows ? rows : kRows);
      }
    }
    before += tiles;
  }
  shared[t] = m;
  __syncthreads();
  for (int half = kFinishLanes / 2; half > 0; half /= 2) {
    if (lane < half) {
      m.merge(shared[t + half * kFinishChannels]);
      shared[t] = m;
    }
    __syncthreads();
  }
  if (lane > 0 || channel >= shape.outputs) return;
  pointers.mean[channel] = m.mean;
  pointers.var[channel] = m.squares / m.count;
}

}  // namespace atrous::kernels::cuda
