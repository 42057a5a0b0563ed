#pragma once

#include <cstdint>

#include "atrous/core/device.h"
#include "atrous/core/dtype.h"

// Kernels for the emulator's own tests (kernels.cu, bugs.cu), and how they are started. Pointers are to
// device memory.

namespace atrous::tests {

/// Each of `rounds` times, every thread of a block of 96 gets the value of its right neighbour. values
/// [blocks, 96].
void rotate_blocks(Stream stream, unsigned blocks, int rounds, int* values);

/// What each warp function gives lane l, for one warp: results [kWarpResults, 32], in the order of the
/// kernel.
inline constexpr int kWarpResults = 11;
void warp_functions(Stream stream, const unsigned* values, unsigned* results);

/// d [16, 8] = a [16, K] times b [K, 8] + d, by one warp: bf16 with K = 16, tf32 with K = 8.
void multiply_bf16(Stream stream, const bf16* a, const bf16* b, float* d);
void multiply_tf32(Stream stream, const float* a, const float* b, float* d);
/// d [64, 128] = a [64, 64] times b + d, by one warpgroup on wgmma; both factors come by bulk copies. b is
/// [64, 128] (depth rows), or [128, 64] (outer rows) with `b_outer`.
void multiply_wgmma(Stream stream, const bf16* a, const bf16* b, bool b_outer, float* d);
/// What ldmatrix gives each lane: registers [32, 4] of x4 and x4.trans and [32, 2] of x2.trans, for a tile
/// [32, 8] of 16-bit values.
void load_matrices(Stream stream, const std::uint16_t* tile, unsigned* x4, unsigned* x4_trans,
                   unsigned* x2_trans);

/// One thread copies three times 16 bytes in three groups. seen [4, 4]: the first words of each copy's place
/// before any wait, after the wait that leaves two groups, one, none. source [3, 4]; the third copy takes
/// only 4 bytes and fills up with zeros.
void copy_in_groups(Stream stream, const unsigned* source, unsigned* seen);

/// The order in which blocks come: order [blocks]. `next` is 0 before.
void note_order(Stream stream, unsigned blocks, int* next, int* order);

/// to[i] = from[i] + 1, a single thread each.
void add_one(Stream stream, int n, const int* from, int* to);

/// One warp reads from[lane * step], writes it to shared memory at [lane * shared_step], and reads it back.
void step_through(Stream stream, int step, int shared_step, const float* from, float* to);

/// Each of `rounds` times, block b gets the values of block b + 1 (the last of the first), through device
/// memory and across a barrier of the grid. values [blocks, 64]. Throws CudaError if the blocks do not fit.
void rotate_grid(Stream stream, unsigned blocks, int rounds, int* values);

/// Kernels with one planted fault each.
enum class Bug {
  missing_barrier,
  divergent_barrier,
  partial_warp_barrier,
  read_past_the_end,
  write_past_the_end,
  read_before_the_start,
  absent_lane,
  lane_outside_its_mask,
  missing_syncwarp,
  scatter_without_atomics,
  unwritten_shared,
  unwritten_device,
  missing_copy_wait,
  copies_left_behind,
  misaligned_vector,
  host_pointer,
  shared_overrun,
  published_after_cas,
  freed_memory,
  failed_assertion,
  partial_warp_mma,
  stack_overflow,
  shared_left_from_last_block,
  missing_grid_barrier,
  block_leaves_before_the_grid_barrier,
  thread_leaves_before_the_grid_barrier,
  grid_barrier_among_some,
  too_few_at_mbarrier,
  too_many_at_mbarrier,
  product_without_wait,
  descriptor_without_swizzle,
  count
};
/// Runs it on 64 threads (several blocks where the fault is between blocks). data [64] floats of zeros.
void run_bug(Stream stream, Bug bug, float* data, std::int64_t n);

}  // namespace atrous::tests
