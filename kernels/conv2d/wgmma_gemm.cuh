#pragma once

#include "atrous/kernels/conv2d/implicit_gemm.cuh"
#include "atrous/kernels/conv2d/wgmma_gemm.h"
#include "atrous/kernels/wgmma.cuh"

// The implicit matrix product on wgmma (implicit_gemm.cuh says which product).
//
// One block of three warpgroups a multiprocessor stays for the whole launch and computes one tile after the
// other. The first warpgroup, the producer, fills a ring of stages: a stage holds the factors of a step, 128
// pixels x 64 channels gathered by cp.async of 16 bytes, and 64 channels x 128 or 256 outputs of the weight,
// boxes that one thread asks of the copy engine. The other two, the consumers, multiply: 64 pixels each,
// times all outputs, sums in registers; they write their tile while the producer fills the ring for the next.
//
//   full[stage]    completes when all threads of the producer have arrived, each after its own copies, and
//                  the boxes' bytes are there
//   empty[stage]   completes when all warps of the consumers have arrived, each after its products
//
// The tap list gives a gather, not a box: pixels of a tile are neighbours in a rectangle of the destination,
// which may begin and end anywhere in a row, and step by the stride. So the pixels come by cp.async and not
// by the copy engine's im2col form. A thread's copies are many steps in flight: it waits for those of kLag
// steps ago, makes them visible to wgmma, and arrives. (cp.async could arrive by itself, but then nobody
// could fence between the copy and the arrival.)
//
// Registers: 168 a thread for all. The producer gives 80 away, so the consumers, whose sums take 128, have
// 208. Shared memory: 4 stages of 48 KB, or 6 of 32 KB, and 2 KB for each consumer warp's way out.

namespace atrous::kernels::cuda {

template <int kColumns, Lies kWeightLies>
struct WgmmaTile {
  static constexpr int kStages = kColumns == 256 ? 4 : 6;
  static constexpr int kLag = kStages - 2;
  static constexpr int kGroupThreads = 128, kConsumerWarps = 8, kThreads = 3 * kGroupThreads;
  static constexpr int kABytes = kTilePixels * int(kSwizzleRow), kBBytes = kColumns * int(kSwizzleRow);
  static constexpr int kStageBytes = kABytes + kBBytes;
  static constexpr int kBoxes = kWeightLies == Lies::depth_rows ? kColumns / kSwizzleElements : 1;
  static constexpr int kBoxBytes = kBBytes / kBoxes;
  static constexpr int kOutBytes = 16 * int(kSwizzleRow);  // 16 rows of 64 outputs, for a warp
  static constexpr int kBytes = kStages * kStageBytes + kConsumerWarps * kOutBytes;
  static constexpr int kProducerRegisters = 88, kConsumerRegisters = 208;
};

/// Tensor maps of the problems' weights.
struct WeightMaps {
  TensorMap of[kLaunchProblems];
};

/// What one thread of the producer copies of a tile's pixels: chunk lane % 8 of eight rows, four apart. Lane
/// l of a warp knows the pixel of row l of the warp's 32.
class PixelCopies {
  static constexpr int kRows = 8;

 public:
  __device__ __forceinline__ PixelCopies(const ImplicitGemm<bf16>& p, const TilePlace& at)
      : shape_(p.schedule.shapes[at.problem]),
        source_(p.pointers[at.problem].source),
        pixel_(shape_, at, RectanglePixel(at, shape_.batch, at.first_pixel + threadIdx.x)) {
    ATROUS_UNROLL
    for (int k = 0; k < kRows; ++k)
      from_[k] =
          source_ + __shfl_sync(0xffffffffu, (long long)pixel_.offset, int(threadIdx.x) % 32 / 8 + k * 4);
  }

  /// Goes to the tap `h` rows and `w` columns of the source from the first. All lanes.
  __device__ __forceinline__ void go_to_tap(int h, int w) {
    inside_ = __ballot_sync(0xffffffffu, unsigned(pixel_.h + h) < unsigned(shape_.row_axis.source) &&
                                             unsigned(pixel_.w + w) < unsigned(shape_.column_axis.source)) >>
              (threadIdx.x % 32 / 8);
    tap_ = (std::int64_t(h) * shape_.column_axis.source + w) * shape_.source_pitch;
  }

  /// Channels channel..channel+63 of the tap, as outer rows; zeros outside of the map and beyond the
  /// channels.
  __device__ __forceinline__ void copy(int channel, unsigned char* a) const {
    const int chunk = int(threadIdx.x) % 8, first = channel + chunk * kChunk<bf16>;
    const int row = int(threadIdx.x) / 32 * 32 + int(threadIdx.x) % 32 / 8;
    const std::int64_t more = tap_ + first;
    ATROUS_UNROLL
    for (int k = 0; k < kRows; ++k) {
      const bool in = (inside_ >> (k * 4) & 1) != 0 && first < shape_.channels;
      cp_async_16(a + swizzled(std::uint32_t((row + k * 4) * int(kSwizzleRow) + chunk * 16)),
                  in ? from_[k] + more : source_, in ? 16 : 0);
    }
  }

 private:
  const GatherShape& shape_;
  const bf16* source_;
  SourcePlace pixel_;
  const bf16* from_[kRows];
  unsigned inside_ = 0;  // bit 4k: row k of this thread
  std::int64_t tap_ = 0;
};

/// The steps of a tile's sum: all channels of a tap, then the next tap.
struct TapSteps {
  int blocks;  // of 64 channels
  int row = 0, column = 0, block = 0;

  __device__ __forceinline__ TapSteps(const GatherShape& shape, const TilePlace& at, int first)
      : blocks((shape.channels + kSwizzleElements - 1) / kSwizzleElements) {
    const int tap = first / blocks;
    block = first - tap * blocks;
    row = at.column.taps > 0 ? tap / at.column.taps : 0;
    column = tap - row * at.column.taps;
  }
  static __device__ __forceinline__ int count(const GatherShape& shape, const TilePlace& at) {
    return at.row.taps * at.column.taps * ((shape.channels + kSwizzleElements - 1) / kSwizzleElements);
  }
  /// Whether the next step is of another tap.
  __device__ __forceinline__ bool next(const TilePlace& at) {
    if (++block < blocks) return false;
    block = 0;
    if (++column == at.column.taps) column = 0, ++row;
    return true;
  }
};

/// The producer's part of a launch.
template <class Shape, Lies kWeightLies, int kColumns>
__device__ __forceinline__ void fill_ring(const ImplicitGemm<bf16>& p, const WeightMaps& maps,
                                          unsigned char* ring, std::uint64_t* full, std::uint64_t* empty) {
  RingPlace<Shape::kStages> to, arrive;  // the stage to fill; the stage whose copies have landed next
  const auto arrived = [&] {
    fence_proxy_async();
    mbarrier_arrive(&full[arrive.stage]);
    arrive.next();
  };
  for (int block = int(blockIdx.x); block < p.schedule.blocks(); block += int(gridDim.x)) {
    const TileWork work(p.schedule, block);
    const TilePlace at(p, work.tile, kColumns);
    const GatherShape& shape = p.schedule.shapes[at.problem];
    const int all = TapSteps::count(shape, at), first = work.begin(all), last = work.end(all);
    PixelCopies pixels(p, at);
    TapSteps steps(shape, at, first);
    bool new_tap = true;
    for (int step = first; step < last; ++step) {
      if (new_tap)
        pixels.go_to_tap(steps.row * shape.row_axis.tap_source_step,
                         steps.column * shape.column_axis.tap_source_step);
      const int channel = steps.block * kSwizzleElements;
      mbarrier_wait(&empty[to.stage], to.parity ^ 1);
      unsigned char* a = ring + to.stage * Shape::kStageBytes;
      if (threadIdx.x == 0) {
        const int tap = (at.row.tap + steps.row * shape.row_axis.tap_step) * shape.window_w + at.column.tap +
                        steps.column * shape.column_axis.tap_step;
        mbarrier_expect_bytes(&full[to.stage], Shape::kBBytes);
        ATROUS_UNROLL
        for (int box = 0; box < Shape::kBoxes; ++box) {
          unsigned char* b = a + Shape::kABytes + box * Shape::kBoxBytes;
          if constexpr (kWeightLies == Lies::depth_rows)
            copy_box(b, maps.of[at.problem], at.first_output + box * kSwizzleElements, channel, tap,
                     &full[to.stage]);
          else
            copy_box(b, maps.of[at.problem], channel, at.first_output, tap, &full[to.stage]);
        }
      }
      pixels.copy(channel, a);
      cp_async_commit();
      to.next();
      if (step - first >= Shape::kLag) {
        cp_async_wait<Shape::kLag>();
        arrived();
      }
      new_tap = steps.next(at);
    }
    // The rest of the tile, before the next one's pixels are looked up.
    cp_async_wait<0>();
    for (int step = last - first < Shape::kLag ? 0 : last - first - Shape::kLag; step < last - first; ++step)
      arrived();
  }
}

/// The sums of a consumer warpgroup, 64 pixels x kColumns outputs, over the steps in the ring.
template <class Shape, Lies kWeightLies, int kColumns>
__device__ __forceinline__ void multiply_ring(float (&sums)[kColumns / 2], int steps, std::uint64_t a,
                                              std::uint64_t b, RingPlace<Shape::kStages>& from,
                                              std::uint64_t* full, std::uint64_t* empty) {
  ATROUS_UNROLL
  for (int i = 0; i < kColumns / 2; ++i) sums[i] = 0;
  int before = 0;  // the stage of the step before
  for (int step = 0; step < steps; ++step) {
    mbarrier_wait(&full[from.stage], from.parity);
    const std::uint32_t stage = std::uint32_t(from.stage * Shape::kStageBytes);
    fence_operands(sums);
    wgmma_fence();
    ATROUS_UNROLL
    for (int k = 0; k < kSwizzleElements / kWgmmaDepth; ++k) {
      constexpr bool kAcross = kWeightLies == Lies::depth_rows;
      wgmma_bf16<kAcross>(sums, advanced(a, stage + unsigned(k) * kOuterRowsStep),
                          advanced(b, stage + unsigned(k) * (kAcross ? kDepthRowsStep : kOuterRowsStep)));
    }
    wgmma_commit();
    fence_operands(sums);
    wgmma_wait<1>();  // the step before is done
    if (step > 0 && threadIdx.x % 32 == 0) mbarrier_arrive(&empty[before]);
    before = from.stage;
    from.next();
  }
  wgmma_wait<0>();
  fence_operands(sums);
  if (steps > 0 && threadIdx.x % 32 == 0) mbarrier_arrive(&empty[before]);
}

/// Writes a warp's 16 rows of a whole tile: 64 outputs at a time through `out`, 16 bytes a store.
template <int kColumns>
__device__ __forceinline__ void write_rows(const float (&sums)[kColumns / 2], const ImplicitGemm<bf16>& p,
                                           const TilePlace& at, int first_row, unsigned char* out) {
  const GatherShape& shape = p.schedule.shapes[at.problem];
  const auto& pointers = p.pointers[at.problem];
  const Activation activation = Activation(pointers.activation);
  const int lane = int(threadIdx.x) % 32;
  const RectanglePixel pixel(at, shape.batch, at.first_pixel + first_row + lane % 16);
  const long long own = pixel.image >= 0 ? destination_offset<bf16>(shape, at, pixel) : -1;
  const auto place = [&](int row, int byte) {
    return out + swizzled(std::uint32_t(row * int(kSwizzleRow) + byte));
  };
  ATROUS_UNROLL
  for (int part = 0; part < kColumns / kSwizzleElements; ++part) {
    const int first = at.first_output + part * kSwizzleElements, outputs = shape.outputs - first;
    // Of outputs 2 * lane and the next, which exists with it: outputs are whole chunks.
    const std::uint32_t pair = pointers.bias != nullptr && lane * 2 < outputs
                                   ? *reinterpret_cast<const std::uint32_t*>(pointers.bias + first + lane * 2)
                                   : 0;
    ATROUS_UNROLL
    for (int j = 0; j < 8; ++j) {
      const float2 bias = unpack_bf16(__shfl_sync(0xffffffffu, pair, j * 4 + lane % 4));
      ATROUS_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int i = (part * 8 + j) * 4 + half * 2;
        put_sums(reinterpret_cast<bf16*>(place(lane / 4 + half * 8, j * 16 + lane % 4 * 4)),
                 activate(activation, sums[i] + bias.x), activate(activation, sums[i + 1] + bias.y));
      }
    }
    __syncwarp();
    ATROUS_UNROLL
    for (int k = 0; k < 4; ++k) {
      const int row = lane / 8 + k * 4, column = lane % 8 * kChunk<bf16>;
      const long long destination = __shfl_sync(0xffffffffu, own, row);
      if (destination >= 0 && column < outputs)
        store16(pointers.destination + destination + first + column, load16(place(row, column * 2)));
    }
    __syncwarp();
  }
}

/// The consumers' part of a launch.
template <class Shape, Lies kWeightLies, int kColumns>
__device__ __forceinline__ void empty_ring(const ImplicitGemm<bf16>& p, unsigned char* ring,
                                           unsigned char* outs, std::uint64_t* full, std::uint64_t* empty) {
  const int group = int(threadIdx.x) / Shape::kGroupThreads - 1;  // of the consumers
  const int warp = int(threadIdx.x) / 32 - Shape::kGroupThreads / 32, lane = int(threadIdx.x) % 32;
  const std::uint64_t a = outer_rows_descriptor(shared_address(ring + group * (Shape::kABytes / 2)));
  const std::uint64_t b = kWeightLies == Lies::depth_rows
                              ? depth_rows_descriptor(shared_address(ring + Shape::kABytes), Shape::kBoxBytes)
                              : outer_rows_descriptor(shared_address(ring + Shape::kABytes));
  RingPlace<Shape::kStages> from;
  for (int block = int(blockIdx.x); block < p.schedule.blocks(); block += int(gridDim.x)) {
    const TileWork work(p.schedule, block);
    const TilePlace at(p, work.tile, kColumns);
    const int all = TapSteps::count(p.schedule.shapes[at.problem], at);
    float sums[kColumns / 2];
    multiply_ring<Shape, kWeightLies, kColumns>(sums, work.end(all) - work.begin(all), a, b, from, full,
                                                empty);
    if (work.part < 0) {
      write_rows<kColumns>(sums, p, at, warp * 16, outs + warp * Shape::kOutBytes);
      continue;
    }
    float* to = p.partial + std::int64_t(work.part) * (kTilePixels * kColumns) + warp * 16 * kColumns;
    ATROUS_UNROLL
    for (int j = 0; j < kColumns / 8; ++j) {
      ATROUS_UNROLL
      for (int half = 0; half < 2; ++half)
        store8(
            to + (lane / 4 + half * 8) * kColumns + j * 8 + lane % 4 * 2,
            make_uint2(__float_as_uint(sums[j * 4 + half * 2]), __float_as_uint(sums[j * 4 + half * 2 + 1])));
    }
  }
}

template <int kColumns, Lies kWeightLies>
__global__ void __launch_bounds__(WgmmaTile<kColumns, kWeightLies>::kThreads, 1)
    wgmma_gemm_kernel(const __grid_constant__ ImplicitGemm<bf16> p, const __grid_constant__ WeightMaps maps) {
  using Shape = WgmmaTile<kColumns, kWeightLies>;
  ATROUS_DYN_SHARED(shared);
  ATROUS_SHARED(std::uint64_t, full, [Shape::kStages]);
  ATROUS_SHARED(std::uint64_t, empty, [Shape::kStages]);
  // Stages begin at whole atoms of the swizzle.
  unsigned char* ring = shared + (kSwizzleAtom - shared_address(shared) % kSwizzleAtom) % kSwizzleAtom;
  unsigned char* outs = ring + Shape::kStages * Shape::kStageBytes;
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.schedule.problem_count; ++i) prefetch_tensor_map(maps.of[i]);
    for (int stage = 0; stage < Shape::kStages; ++stage) {
      mbarrier_init(&full[stage], Shape::kGroupThreads);
      mbarrier_init(&empty[stage], Shape::kConsumerWarps);
    }
    fence_barrier_init();
  }
  __syncthreads();
  if (threadIdx.x < Shape::kGroupThreads) {
    give_registers<Shape::kProducerRegisters>();
    fill_ring<Shape, kWeightLies, kColumns>(p, maps, ring, full, empty);
  } else {
    take_registers<Shape::kConsumerRegisters>();
    empty_ring<Shape, kWeightLies, kColumns>(p, ring, outs, full, empty);
  }
}

template <int kColumns, Lies kWeightLies>
void launch_wgmma_gemm(Stream stream, const ImplicitGemm<bf16>& p, const WeightMaps& maps) {
  using Shape = WgmmaTile<kColumns, kWeightLies>;
  constexpr int kBytes = Shape::kBytes + int(kSwizzleAtom);
  int multiprocessors = 0;
  ATROUS_CUDA_CHECK("conv2d", cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount,
                                                     stream.device.index));
  ATROUS_CUDA_CHECK("conv2d", cudaFuncSetAttribute(wgmma_gemm_kernel<kColumns, kWeightLies>,
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  const std::int64_t blocks = p.schedule.blocks();
  const unsigned grid = unsigned(blocks < multiprocessors ? blocks : multiprocessors);
  ATROUS_LAUNCH((wgmma_gemm_kernel<kColumns, kWeightLies>), grid, unsigned(Shape::kThreads), kBytes, stream,
                p, maps);
  if (p.schedule.whole == p.schedule.tiles) return;
  ATROUS_LAUNCH((add_slices_kernel<bf16, kColumns>),
                unsigned(p.schedule.tiles - p.schedule.whole) * kTileQuarters, kTileThreads, 0, stream, p);
}

}  // namespace atrous::kernels::cuda
