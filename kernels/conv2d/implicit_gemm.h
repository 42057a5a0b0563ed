#pragma once

#include <cstdint>
#include <vector>

#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/direct.h"
#include "atrous/kernels/conv2d/tap_plan.h"

// The convolution on CUDA as an implicit matrix product, host side: which sizes it takes, how its tiles are
// shared out among blocks, and how it is called. implicit_gemm.cuh is the kernel.
//
// A tile is kTilePixels pixels of one rectangle (tap_plan.h) times 128 or 64 output channels; its sum runs
// over the taps of the rectangle times the source channels. A block computes one tile, long ones first. Where
// the last wave of blocks would leave most of the chip idle, its tiles are cut along the sum into slices, a
// block each; a second kernel adds the slices up in order. The cut follows from the sizes alone, so the bits
// repeat. Exact convolutions are not cut: their sums run tap by tap and channel by channel whatever the size
// of the map (taps in the padding that share a rectangle add zeros), by multiply-adds of f32; bf16 ones,
// which tensor cores would add up in groups, take the plain kernel.

namespace atrous::kernels {

inline constexpr int kTilePixels = 128;
/// A second kernel adds up the slices of a tile, a block a quarter of it.
inline constexpr int kTileQuarters = 4;

/// One gather: y from x and weight, or dx from dy and weight.
template <class T>
struct GatherProblem {
  Gather direction;
  Conv2dDims dims;
  Span<const T> source, weight;
  Conv2dEpilogue<T> epilogue;
  Span<T> destination;
  Span<double> mean = {}, var = {};  ///< of the destination's channels; empty if they are not wanted
  /// Elements from one pixel to the next where the tensor has other channels too; 0: it has not.
  std::int64_t source_pitch = 0, destination_pitch = 0;
};

/// A rectangle of one of the problems of a launch, and the tiles [first_tile, that of the next rectangle).
struct TileRectangle {
  std::int32_t first_tile;
  std::uint8_t problem, row, column;  ///< the latter two: which of the launch's pieces
};

/// What a launch at most holds: all of it travels as parameters of the kernel (4 KB).
inline constexpr int kLaunchProblems = 4, kLaunchPieces = 96, kLaunchRectangles = 160;

/// Sizes of a problem as the kernel reads them.
struct GatherShape {
  std::int32_t batch;
  TapAxis row_axis, column_axis;
  std::int32_t channels, outputs;  ///< of the source, of the destination
  std::int32_t window_w;
  /// Elements from one pixel to the next: more than channels, or outputs, in a tensor that has others too.
  std::int32_t source_pitch, destination_pitch;
};

/// How the tiles of a launch are shared out.
struct TileSchedule {
  GatherShape shapes[kLaunchProblems];
  std::int32_t problems[kLaunchProblems];  ///< their places in the list of all problems
  TapPiece pieces[kLaunchPieces];
  TileRectangle rectangles[kLaunchRectangles];
  std::int32_t problem_count, rectangle_count;
  /// A tile is the sum of so many problems: of a rectangle's problem and those that follow it, whose pieces
  /// follow its row and column.
  std::int32_t terms;
  std::int32_t columns;  ///< output channels of a tile
  std::int32_t tiles;    ///< of all rectangles
  std::int32_t whole;    ///< blocks 0..whole-1 compute a tile each,
  std::int32_t slices;   ///< then every `slices` blocks one of the tiles left

  ATROUS_HD std::int64_t blocks() const { return whole + std::int64_t(tiles - whole) * slices; }
  /// Partial sums: one tile of floats for each block that computes a slice.
  std::int64_t partial_tiles() const { return std::int64_t(tiles - whole) * slices; }
  /// Pieces of pixels of which channels are summed up by themselves (tile_statistics.cuh): a tile, or a
  /// quarter of one whose slices are added up.
  std::int64_t moment_pieces() const { return whole + std::int64_t(tiles - whole) * kTileQuarters; }
};

/// What block `block` of a schedule computes: steps [begin(n), end(n)) of the n of a tile.
struct TileWork {
  std::int32_t tile, part;  ///< `part`: which of the partial sums; -1 for a whole tile
  std::int32_t slice, slices;

  ATROUS_HD TileWork(const TileSchedule& schedule, int block) {
    part = block < schedule.whole ? -1 : block - schedule.whole;
    slices = part < 0 ? 1 : schedule.slices;
    slice = part < 0 ? 0 : part % slices;
    tile = part < 0 ? block : schedule.whole + part / slices;
  }
  ATROUS_HD int begin(std::int64_t steps) const { return int(steps * slice / slices); }
  ATROUS_HD int end(std::int64_t steps) const { return int(steps * (slice + 1) / slices); }
};

/// The part of the product that a block computes at a time.
struct GatherTile {
  int outputs;      ///< channels of the destination
  int depth;        ///< elements of the sum in a step
  bool whole_taps;  ///< a step ends with its tap
  int slots;        ///< blocks that the device holds at once

  /// Steps of the sum of a tile of so many taps and source channels.
  std::int64_t steps(std::int64_t taps, std::int64_t channels) const;
};

/// Channels of the destination.
std::int64_t gather_outputs(Gather direction, const Conv2dDims& dims);
/// Those of them in a tile: 64 where 128 would be mostly idle, and for floats (of which 128 would not fit
/// into the registers beside what fetches them, and whose multiplication is slow enough to hide the
/// difference).
int tile_outputs(std::int64_t outputs, int element_bytes);

/// Whether the kernel serves these sizes: counts within a tile's 32-bit arithmetic, and no more phases of the
/// stride than a launch holds.
bool takes_implicit_gemm(Gather direction, const Conv2dDims& dims);

/// The launches that compute all problems: one if they fit into it. `element_bytes` is that of T.
std::vector<TileSchedule> make_tile_schedules(const std::vector<Gather>& directions,
                                              const std::vector<Conv2dDims>& dims, int element_bytes);
std::vector<TileSchedule> make_tile_schedules(const std::vector<Gather>& directions,
                                              const std::vector<Conv2dDims>& dims, const GatherTile& tile);

/// The launch that computes the sum of at most kLaunchProblems problems with stride 1 and one destination:
/// the gradient of an input that several convolutions read.
TileSchedule make_sum_schedule(Gather direction, const std::vector<Conv2dDims>& dims, int element_bytes);

/// The branches of one input (conv2d_branches.h): forward each by itself, backward_input their sum.
std::vector<TileSchedule> branch_schedules(Gather direction, const std::vector<Conv2dDims>& dims,
                                           int element_bytes);
/// Whether the kernel serves them.
bool branches_take_implicit_gemm(Gather direction, const std::vector<Conv2dDims>& dims, int element_bytes);

/// Floats of partial sums that launches need, and doubles for the statistics of their outputs' channels; they
/// run one after the other.
std::int64_t implicit_gemm_partial_sums(const std::vector<TileSchedule>& schedules);
std::int64_t implicit_gemm_moments(const std::vector<TileSchedule>& schedules);

namespace cuda {

/// Computes all problems, in one launch if they fit into it: the branches of an ASPP. They go in one
/// direction, have one tile_outputs(), and takes_implicit_gemm() holds for each. `tf32` lets floats be
/// rounded to TF32. `moments` may be empty if no problem wants statistics; only forward ones may.
void implicit_gemm(Stream stream, const std::vector<GatherProblem<float>>& problems, bool tf32,
                   Span<float> partial, Span<double> moments = {});
void implicit_gemm(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial,
                   Span<double> moments = {});

/// Computes the sum of the problems, which have one destination and no epilogue: make_sum_schedule().
void implicit_gemm_sum(Stream stream, const std::vector<GatherProblem<float>>& problems, bool tf32,
                       Span<float> partial);
void implicit_gemm_sum(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial);

/// implicit_gemm() in bf16 on mma.sync, whatever the device; that may also take wgmma (wgmma_trial.h).
void mma_gemm(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial,
              Span<double> moments = {});

}  // namespace cuda
}  // namespace atrous::kernels
