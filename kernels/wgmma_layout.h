#pragma once

#include <cstdint>

#include "atrous/core/host_device.h"

// Where the factors of a matrix product lie in shared memory so that wgmma reads what was copied there: plain
// arithmetic of byte addresses, used by kernels (wgmma.cuh) and proved by tests on the CPU. Addresses are
// those of the shared window, from 0; a tile begins at a multiple of kSwizzleAtom.
//
// A tile of bf16 is made of rows of 128 bytes: 64 elements of one factor's row. Eight rows are an atom. The
// eight chunks of 16 bytes of a row are exchanged, so that eight rows at one column, and eight columns of one
// row, lie in different banks: chunk c of row r lies at c ^ (r % 8). It is what PTX calls the 128-byte
// swizzle (PTX ISA, "Asynchronous warpgroup level matrix shared memory layout" and "Tensor swizzling modes").
//
//   outer_rows   a row for each row (or column) of the product, along the row the elements of the sum.
//                PTX: K-major. Atoms of eight rows follow each other.
//   depth_rows   a row for each element of the sum, along the row 64 columns of the product. PTX: MN-major.
//                Atoms of eight elements of the sum follow each other; then the next 64 columns.

namespace atrous::kernels {

inline constexpr std::uint32_t kSwizzleRow = 128, kSwizzleAtom = 8 * kSwizzleRow;  // bytes
/// Elements of the sum in one wgmma of bf16, and in a row of a tile.
inline constexpr int kWgmmaDepth = 16, kSwizzleElements = 64;

/// Where the byte lies that has this address without the exchange of chunks: bits 4 to 6 (the chunk in its
/// row) are combined with bits 7 to 9 (the row in its atom).
ATROUS_HD constexpr std::uint32_t swizzled(std::uint32_t address) {
  return address ^ (address >> 7 & 7) << 4;
}

/// The matrix descriptor of wgmma for a tile with the 128-byte swizzle (PTX ISA, "Matrix descriptor format"):
///   bits  0..13  address / 16
///   bits 16..29  leading dimension offset / 16: depth_rows: from 64 columns to the next 64; else not read
///   bits 32..45  stride dimension offset / 16: from one atom to the next
///   bits 49..51  base offset: 0, for atoms lie at multiples of their size
///   bits 62..63  1: 128-byte swizzle
/// To go along the sum, a multiple of 16 bytes is added to the address: advanced().
ATROUS_HD constexpr std::uint64_t wgmma_descriptor(std::uint32_t address, std::uint32_t leading_bytes) {
  return std::uint64_t((address & 0x3ffff) >> 4) | std::uint64_t((leading_bytes & 0x3ffff) >> 4) << 16 |
         std::uint64_t(kSwizzleAtom >> 4) << 32 | std::uint64_t(1) << 62;
}
ATROUS_HD constexpr std::uint64_t outer_rows_descriptor(std::uint32_t address) {
  return wgmma_descriptor(address, 16);
}
/// `block_bytes`: from one block of 64 columns to the next.
ATROUS_HD constexpr std::uint64_t depth_rows_descriptor(std::uint32_t address, std::uint32_t block_bytes) {
  return wgmma_descriptor(address, block_bytes);
}
/// The descriptor of the same tile from `bytes` later on. Addresses of shared memory are below 2^18, so the
/// sum stays in its field.
ATROUS_HD constexpr std::uint64_t advanced(std::uint64_t descriptor, std::uint32_t bytes) {
  return descriptor + (bytes >> 4);
}

/// Bytes from one wgmma's part of the sum to the next, within a tile.
inline constexpr std::uint32_t kOuterRowsStep = kWgmmaDepth * 2, kDepthRowsStep = kWgmmaDepth * kSwizzleRow;

/// A place in a ring of stages that a producer fills and consumers empty, each barrier of which completes a
/// phase a round. Consumers wait for the phase `parity` of a stage's "full" barrier. The producer waits for
/// parity ^ 1 of its "empty" barrier: in the first round that is the phase before the first, which counts as
/// completed.
template <int kStages>
struct RingPlace {
  int stage = 0;
  std::uint32_t parity = 0;

  ATROUS_HD constexpr void next() {
    if (++stage < kStages) return;
    stage = 0;
    parity ^= 1;
  }
};

/// What a bulk tensor copy is told of a tensor of bf16 with three axes, the innermost first; the boxes that
/// it copies; with the 128-byte swizzle, places outside of the tensor as zeros.
struct TensorBoxes {
  const void* data;          ///< at a multiple of 16 bytes
  std::uint64_t sizes[3];    ///< elements
  std::uint64_t strides[2];  ///< bytes of the second and third axis: multiples of 16
  std::uint32_t box[3];      ///< elements: 64 (128 bytes), up to 256, up to 256
  constexpr std::uint32_t bytes() const { return box[0] * box[1] * box[2] * 2; }
};

/// Boxes of `rows` rows of 128 bytes out of a dense tensor [matrices, rows of one, row length].
constexpr TensorBoxes boxes_of_rows(const void* data, std::uint64_t matrices, std::uint64_t rows,
                                    std::uint64_t length, std::uint32_t box_rows) {
  return {data, {length, rows, matrices}, {length * 2, rows * length * 2}, {kSwizzleElements, box_rows, 1}};
}

}  // namespace atrous::kernels
