#pragma once

#include <algorithm>

#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/conv2d/gather_tile.cuh"
#include "atrous/kernels/conv2d/tile_statistics.cuh"

// The convolution as an implicit matrix product: rows are pixels of the destination, columns its channels,
// and the sum runs over (tap, source channel), without a matrix of windows in memory.
//
// A block of four warps owns a tile of 128 pixels x 128 (or 64) channels, a warp a quarter of it, in
// registers. The sum is cut into steps of 64 bytes of channels. In a step, a thread copies chunks of 16 bytes
// of four pixels' rows (places outside of the map as zeros) and of as many rows of the weight into one of
// four stages of shared memory, by cp.async, three steps ahead of the multiplication. One barrier a step.
//
// Why 128 x 128 by four warps: a warp's quarter of 64 x 64 reads 4 KB of shared memory for 65,536
// multiply-adds of bf16, 32 cycles of the memory's 128 bytes against 32 of the tensor cores at their full
// rate and about 50 at what mma.sync reaches on Hopper; eight warps with half of that each would read 48. Two
// blocks (128 KB of stages) fit a multiprocessor, so one multiplies while the other fills its pipeline or
// writes.
//
// Bytes against the floor, 33x33x2048 -> 256 at batch 8: a tile reads (128 + 128) * 64 bytes a step for 2 *
// 128 * 128 * 32 flops, 64 flops a byte from L2: 790 TFLOP/s would want 12 TB/s, twice what L2 gives, 460
// (0.58 of it, the reach of mma.sync) 7. Device memory moves 36 MB of x, 9 of the weight and 4 of y once, 12
// us at 4.3 TB/s, against 107 us of multiplication at 460 TFLOP/s (49 GFLOP: 0.60 of the taps, on average
// over the rates).
//
// Occupancy on sm_90 by ptxas: bf16 128 wide 254 registers and 64 KB of stages, two blocks (eight warps) a
// multiprocessor; 64 wide 187 to 188 and 48 KB, two. Floats are 64 wide: TF32 182 to 186 registers, exact 220
// to 235, two blocks. The blocks of two a multiprocessor are what TileSchedule counts on.
//
// A tile may be the sum of several problems (the gradient of an input that several convolutions read): their
// sums run one after the other into the same registers, each with its own taps, so the result is written
// once.

namespace atrous::kernels::cuda {

template <class Tile, int kColumns, Lies kWeightLies>
__global__ void __launch_bounds__(kTileThreads, 2)
    implicit_gemm_kernel(const __grid_constant__ ImplicitGemm<typename Tile::Element> p) {
  using T = typename Tile::Element;
  ATROUS_DYN_SHARED(shared);
  ATROUS_SHARED(std::int64_t, destination, [kTilePixels]);  // where a row of the tile goes; -1: nowhere
  ATROUS_SHARED(float, bias, [kColumns]);
  T* stages = reinterpret_cast<T*>(shared);

  const TileWork work(p.schedule, int(blockIdx.x));
  const TilePlace at(p, work.tile, kColumns);
  const GatherShape& shape = p.schedule.shapes[at.problem];
  const auto& pointers = p.pointers[at.problem];

  {
    const RectanglePixel pixel(at, shape.batch, at.first_pixel + threadIdx.x);
    destination[threadIdx.x] = pixel.image >= 0 ? destination_offset<T>(shape, at, pixel) : -1;
    const int output = at.first_output + int(threadIdx.x);
    if (threadIdx.x < kColumns)
      bias[threadIdx.x] =
          pointers.bias != nullptr && output < shape.outputs ? float(pointers.bias[output]) : 0.0f;
  }

  Tile tile;
  const auto multiply = [&](const TilePlace& place, int first, int last) {
    const GatherCopies<T, kColumns, kWeightLies> copies(p, place);
    multiply_steps(tile, stages, first, last, [&](int step, T* a, T* b) { copies.copy(step, a, b); });
  };
  if constexpr (kWeightLies == Lies::depth_rows) {  // forward: no sums of problems
    const int all = tile_steps(p, at);
    multiply(at, work.begin(all), work.end(all));
  } else {
    __syncthreads();  // destinations are there, also where no tap is multiplied
    std::int64_t all = 0;
    for (int t = 0; t < p.schedule.terms; ++t) all += tile_steps(p, at.term(p, t));
    int first = work.begin(all), last = work.end(all);
    for (int t = 0; t < p.schedule.terms && last > 0; ++t) {
      const TilePlace place = at.term(p, t);
      const int steps = tile_steps(p, place);
      if (first < steps) multiply(place, first > 0 ? first : 0, last < steps ? last : steps);
      first -= steps;
      last -= steps;
    }
  }

  if (work.part >= 0) {
    float* sums = p.partial + std::int64_t(work.part) * (kTilePixels * kColumns);
    tile.for_each_pair([&](int row, int column, float a, float b) {
      store8(sums + row * kColumns + column, make_uint2(__float_as_uint(a), __float_as_uint(b)));
    });
    return;
  }
  using Out = TileOut<T, kColumns>;
  const Activation activation = Activation(pointers.activation);
  tile.for_each_pair([&](int row, int column, float a, float b) {
    put_sums(stages + Out::at(row, column), activate(activation, a + bias[column]),
             activate(activation, b + bias[column + 1]));
  });
  __syncthreads();
  if constexpr (kWeightLies == Lies::depth_rows)  // forward
    if (pointers.mean != nullptr) {
      double* moments = p.moments + std::int64_t(blockIdx.x) * 2 * kColumns;
      TileStatistics<T, kColumns>::compute(stages, tile_rows(at, shape.batch),
                                           reinterpret_cast<float*>(shared + Out::kBytes), moments,
                                           moments + kColumns);
    }
  const int outputs = shape.outputs - at.first_output;
  if (pointers.chunked_destination) {
    for (int i = int(threadIdx.x); i < kTilePixels * Out::kRowChunks; i += kTileThreads) {
      const int row = i / Out::kRowChunks, column = i % Out::kRowChunks * kChunk<T>;
      if (destination[row] >= 0 && column < outputs)
        store16(pointers.destination + destination[row] + at.first_output + column,
                load16(stages + Out::at(row, column)));
    }
  } else {
    for (int i = int(threadIdx.x); i < kTilePixels * kColumns; i += kTileThreads) {
      const int row = i / kColumns, column = i % kColumns;
      if (destination[row] >= 0 && column < outputs)
        pointers.destination[destination[row] + at.first_output + column] = stages[Out::at(row, column)];
    }
  }
}

// Adds up the slices of the tiles of the last wave, in order. A block owns 32 rows of a tile, a thread
// elements 128 apart.
template <class T, int kColumns>
__global__ void __launch_bounds__(kTileThreads) add_slices_kernel(const __grid_constant__ ImplicitGemm<T> p) {
  constexpr int kRows = kTilePixels / kTileQuarters, kTileElements = kTilePixels * kColumns;
  ATROUS_SHARED(double, shared, [3][kTileThreads]);  // for statistics
  const int part = int(blockIdx.x) / kTileQuarters, first_row = int(blockIdx.x) % kTileQuarters * kRows;
  const TilePlace at(p, p.schedule.whole + part, kColumns);
  const GatherShape& shape = p.schedule.shapes[at.problem];
  const auto& pointers = p.pointers[at.problem];
  const float* sums = p.partial + std::int64_t(part) * p.schedule.slices * kTileElements;
  CenteredSums own;
  for (int i = int(threadIdx.x); i < kRows * kColumns; i += kTileThreads) {
    const int row = first_row + i / kColumns, column = i % kColumns, output = at.first_output + column;
    const RectanglePixel pixel(at, shape.batch, at.first_pixel + row);
    if (pixel.image < 0 || output >= shape.outputs) continue;
    float sum = 0;
    for (int slice = 0; slice < p.schedule.slices; ++slice)
      sum += sums[std::int64_t(slice) * kTileElements + row * kColumns + column];
    if (pointers.bias != nullptr) sum += float(pointers.bias[output]);
    const T stored = T(activate(Activation(pointers.activation), sum));
    pointers.destination[destination_offset<T>(shape, at, pixel) + output] = stored;
    own.add(double(float(stored)));
  }
  if constexpr (kColumns <= kTileThreads) {  // wider tiles take no statistics
    if (pointers.mean == nullptr) return;
    double* moments = p.moments + (p.schedule.whole + std::int64_t(blockIdx.x)) * 2 * kColumns;
    const int rows = tile_rows(at, shape.batch) - first_row;
    quarter_statistics<kColumns>(own, rows < kRows ? rows : kRows, shared, moments, moments + kColumns);
  }
}

template <class Tile, int kColumns, Lies kWeightLies>
void launch_implicit_gemm(Stream stream, const ImplicitGemm<typename Tile::Element>& p) {
  using T = typename Tile::Element;
  constexpr int kBytes = kStages * (kTilePixels + kColumns) * kTileRowBytes;
  static_assert(TileOut<T, kColumns>::kBytes + TileStatistics<T, kColumns>::kBytes <= kBytes);
  ATROUS_CUDA_CHECK("conv2d", cudaFuncSetAttribute(implicit_gemm_kernel<Tile, kColumns, kWeightLies>,
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  ATROUS_LAUNCH((implicit_gemm_kernel<Tile, kColumns, kWeightLies>), unsigned(p.schedule.blocks()),
                kTileThreads, kBytes, stream, p);
  if (p.schedule.whole < p.schedule.tiles)
    ATROUS_LAUNCH((add_slices_kernel<T, kColumns>),
                  unsigned(p.schedule.tiles - p.schedule.whole) * kTileQuarters, kTileThreads, 0, stream, p);
  if constexpr (kWeightLies == Lies::depth_rows) {
    int most = 0;  // channels of a problem whose statistics are wanted
    for (int i = 0; i < p.schedule.problem_count; ++i)
      if (p.pointers[i].mean != nullptr) most = std::max(most, p.schedule.shapes[i].outputs);
    if (most > 0)
      ATROUS_LAUNCH((tile_statistics_finish_kernel<T>),
                    dim3(finish_blocks(most), unsigned(p.schedule.problem_count)),
                    unsigned(kFinishChannels * kFinishLanes), 0, stream, p, kColumns);
  }
}

/// What the launch of `schedule` reads beside the tensors.
template <class T>
ImplicitGemm<T> launch_parameters(const TileSchedule& schedule, const std::vector<GatherProblem<T>>& problems,
                                  Span<float> partial, Span<double> moments = {}) {
  ImplicitGemm<T> p{};
  p.schedule = schedule;
  p.partial = partial.data();
  p.moments = moments.data();
  for (int i = 0; i < schedule.problem_count; ++i) {
    const GatherProblem<T>& problem = problems[std::size_t(schedule.problems[i])];
    GatherShape& shape = p.schedule.shapes[i];
    if (problem.source_pitch > 0) shape.source_pitch = std::int32_t(problem.source_pitch);
    if (problem.destination_pitch > 0) shape.destination_pitch = std::int32_t(problem.destination_pitch);
    const auto in_chunks = [](std::int32_t n) { return n % kChunk<T> == 0; };
    const bool source_rows = in_chunks(shape.channels) && in_chunks(shape.source_pitch),
               output_rows = in_chunks(shape.outputs) && in_chunks(shape.destination_pitch),
               weight_rows = in_chunks(problem.direction == Gather::forward ? shape.outputs : shape.channels);
    p.pointers[i] = {problem.source.data(),
                     problem.weight.data(),
                     problem.epilogue.bias.empty() ? nullptr : problem.epilogue.bias.data(),
                     problem.destination.data(),
                     problem.mean.data(),
                     problem.var.data(),
                     std::uint8_t(problem.epilogue.activation),
                     source_rows && at_chunks(problem.source.data()),
                     weight_rows && at_chunks(problem.weight.data()),
                     output_rows && at_chunks(problem.destination.data())};
  }
  return p;
}

/// Runs the problems of `schedules` with a tile of Tile<T, rows, columns, A, B>; they go in one direction.
template <template <class, int, int, Lies, Lies> class Tile, class T>
void run_implicit_gemm(Stream stream, const std::vector<GatherProblem<T>>& problems,
                       const std::vector<TileSchedule>& schedules, Span<float> partial,
                       Span<double> moments) {
  const Gather direction = problems.at(0).direction;
  for (const TileSchedule& schedule : schedules) {
    const ImplicitGemm<T> p = launch_parameters(schedule, problems, partial, moments);
    constexpr Lies kOuter = Lies::outer_rows, kDepth = Lies::depth_rows;
    if constexpr (sizeof(T) == 2)
      if (schedule.columns == 128) {
        if (direction == Gather::forward)
          launch_implicit_gemm<Tile<T, kTilePixels, 128, kOuter, kDepth>, 128, kDepth>(stream, p);
        else
          launch_implicit_gemm<Tile<T, kTilePixels, 128, kOuter, kOuter>, 128, kOuter>(stream, p);
        continue;
      }
    if (direction == Gather::forward)
      launch_implicit_gemm<Tile<T, kTilePixels, 64, kOuter, kDepth>, 64, kDepth>(stream, p);
    else
      launch_implicit_gemm<Tile<T, kTilePixels, 64, kOuter, kOuter>, 64, kOuter>(stream, p);
  }
}

/// The schedules of problems each by itself.
template <class T>
std::vector<TileSchedule> schedules_of(const std::vector<GatherProblem<T>>& problems) {
  std::vector<Gather> directions;
  std::vector<Conv2dDims> dims;
  for (const GatherProblem<T>& problem : problems) {
    directions.push_back(problem.direction);
    dims.push_back(problem.dims);
  }
  return make_tile_schedules(directions, dims, sizeof(T));
}
/// Of their sum.
template <class T>
std::vector<TileSchedule> sum_schedules_of(const std::vector<GatherProblem<T>>& problems) {
  std::vector<Conv2dDims> dims;
  for (const GatherProblem<T>& problem : problems) dims.push_back(problem.dims);
  return {make_sum_schedule(problems.at(0).direction, dims, sizeof(T))};
}

}  // namespace atrous::kernels::cuda
