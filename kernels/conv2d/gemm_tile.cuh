#pragma once

#include <cstdint>

#include "atrous/kernels/cuda.cuh"
#include "atrous/kernels/mma.cuh"

// One step of a tiled matrix product out of shared memory: 128 threads, four warps in two rows and two
// columns, multiply a tile of kRows x kDepth by one of kDepth x kColumns and add to sums in registers. Shared
// by the convolution (implicit_gemm.cuh) and its weight gradient.
//
// A factor lies in shared memory in one of two ways, as it lies in device memory:
//   outer_rows   a row of 64 bytes (kDepth elements) for each of the tile's rows or columns
//   depth_rows   a row of all its rows or columns for each of the kDepth elements of the sum
// in chunks of 16 bytes, the unit of every copy. Chunks are swizzled: chunk c of row r lies at c ^ f(r), with
// f so that the eight chunks that one ldmatrix of 8 x 8 reads, and the eight that a quarter of a warp copies,
// lie in different banks.

namespace atrous::kernels::cuda {

inline constexpr int kTileThreads = 128;
inline constexpr int kTileRowBytes = 64;  // of outer_rows

enum class Lies { outer_rows, depth_rows };

/// Elements in 16 bytes.
template <class T>
inline constexpr int kChunk = 16 / int(sizeof(T));
/// Elements of the sum in one step: 32 of bf16, 16 of float.
template <class T>
inline constexpr int kTileDepth = kTileRowBytes / int(sizeof(T));

/// Place of a factor of kExtent rows or columns.
template <class T, int kExtent, Lies kLies>
struct TileLayout {
  static constexpr int kRows = kLies == Lies::outer_rows ? kExtent : kTileDepth<T>;
  static constexpr int kRowChunks = kLies == Lies::outer_rows ? kTileRowBytes / 16 : kExtent / kChunk<T>;
  static constexpr int kBytes = kExtent * kTileRowBytes;
  static constexpr int kChunksOfThread = kBytes / 16 / kTileThreads;

  /// Element index of a chunk. Rows of 64 bytes: two fill all banks, so every second row changes f. Longer
  /// rows: ldmatrix reads eight rows at one chunk; words of float are read one by one, four rows and eight
  /// columns at a time.
  static __device__ __forceinline__ int at(int row, int chunk) {
    if constexpr (kLies == Lies::outer_rows) return (row * kRowChunks + (chunk ^ (row >> 1 & 3))) * kChunk<T>;
    if constexpr (sizeof(T) == 2) return (row * kRowChunks + (chunk ^ (row & 7))) * kChunk<T>;
    return (row * kRowChunks + (chunk ^ (row & 3) << 1)) * kChunk<T>;
  }
};

/// Sums of one thread on the tensor cores. A warp owns kRows/2 x kColumns/2 of the tile, in blocks of 16 x 8
/// that one mma covers; the factors are bf16, or floats rounded to TF32.
template <class T, int kRows, int kColumns, Lies kALies, Lies kBLies>
class MmaTile {
  static constexpr int kBlockRows = kRows / 32, kBlockColumns = kColumns / 16;
  static constexpr bool kBf16 = sizeof(T) == 2;
  static_assert(kRows % 32 == 0 && kColumns % 32 == 0);

 public:
  static constexpr bool kTensorCores = true;
  using Element = T;
  using ALayout = TileLayout<T, kRows, kALies>;
  using BLayout = TileLayout<T, kColumns, kBLies>;

  __device__ __forceinline__ MmaTile() {
    lane_ = int(threadIdx.x) % 32;
    row_ = int(threadIdx.x) / 64 * (kRows / 2);
    column_ = int(threadIdx.x) / 32 % 2 * (kColumns / 2);
    ATROUS_UNROLL
    for (int i = 0; i < kBlockRows; ++i) {
      ATROUS_UNROLL
      for (int j = 0; j < kBlockColumns; ++j) {
        ATROUS_UNROLL
        for (int e = 0; e < 4; ++e) sums_[i][j][e] = 0;
      }
    }
  }

  __device__ __forceinline__ void multiply(const T* a, const T* b) {
    ATROUS_UNROLL
    for (int k = 0; k < 2; ++k) {  // two chunks of the depth an mma
      // Columns two blocks at a time, the next two on their way while these are multiplied.
      std::uint32_t fa[kBlockRows][4], fb[2][2][2];
      load_b(fb[0], b, k, column_);
      ATROUS_UNROLL
      for (int i = 0; i < kBlockRows; ++i) load_a(fa[i], a, k, row_ + i * 16);
      ATROUS_UNROLL
      for (int j = 0; j < kBlockColumns; ++j) {
        if (j % 2 == 0 && j + 2 < kBlockColumns) load_b(fb[(j / 2 + 1) % 2], b, k, column_ + (j + 2) * 8);
        ATROUS_UNROLL
        for (int i = 0; i < kBlockRows; ++i)
          if constexpr (kBf16)
            mma_m16n8k16_bf16(sums_[i][j], fa[i], fb[j / 2 % 2][j % 2]);
          else
            mma_m16n8k8_tf32(sums_[i][j], fa[i], fb[j / 2 % 2][j % 2]);
      }
    }
  }

  /// Calls visit(row, column, sum, next sum) for each pair of neighbouring columns that this thread owns.
  template <class Visit>
  __device__ __forceinline__ void for_each_pair(const Visit& visit) const {
    ATROUS_UNROLL
    for (int i = 0; i < kBlockRows; ++i) {
      ATROUS_UNROLL
      for (int half = 0; half < 2; ++half) {
        ATROUS_UNROLL
        for (int j = 0; j < kBlockColumns; ++j)
          visit(row_ + i * 16 + half * 8 + lane_ / 4, column_ + j * 8 + lane_ % 4 * 2, sums_[i][j][half * 2],
                sums_[i][j][half * 2 + 1]);
      }
    }
  }

 private:
  static __device__ __forceinline__ std::uint32_t tf32(std::uint32_t bits) {
    return to_tf32(__uint_as_float(bits));
  }
  static __device__ __forceinline__ std::uint32_t word(float value) { return to_tf32(value); }
  static __device__ __forceinline__ std::uint32_t word(bf16 value) { return value.bits; }  // never called

  // Rows row..row+15, the k-th pair of chunks.
  __device__ __forceinline__ void load_a(std::uint32_t (&f)[4], const T* a, int k, int row) const {
    if constexpr (kALies == Lies::outer_rows) {
      ldmatrix_x4(f, a + ALayout::at(row + lane_ % 16, k * 2 + lane_ / 16));
    } else if constexpr (kBf16) {
      ldmatrix_x4_trans(f, a + ALayout::at(k * 16 + lane_ / 16 * 8 + lane_ % 8, row / 8 + lane_ / 8 % 2));
    } else {
      ATROUS_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int outer = row + e % 2 * 8 + lane_ / 4;
        f[e] = word(a[ALayout::at(k * 8 + e / 2 * 4 + lane_ % 4, outer / kChunk<T>) + outer % kChunk<T>]);
      }
      return;
    }
    if constexpr (!kBf16) ATROUS_UNROLL
    for (int e = 0; e < 4; ++e) f[e] = tf32(f[e]);
  }

  // Columns column..column+7 and column+8..column+15.
  __device__ __forceinline__ void load_b(std::uint32_t (&f)[2][2], const T* b, int k, int column) const {
    std::uint32_t both[4];
    if constexpr (kBLies == Lies::outer_rows) {
      ldmatrix_x4(both, b + BLayout::at(column + lane_ / 16 * 8 + lane_ % 8, k * 2 + lane_ / 8 % 2));
    } else if constexpr (kBf16) {
      ldmatrix_x4_trans(both, b + BLayout::at(k * 16 + lane_ % 16, column / 8 + lane_ / 16));
    } else {
      ATROUS_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int outer = column + e / 2 * 8 + lane_ / 4;
        both[e] = word(b[BLayout::at(k * 8 + e % 2 * 4 + lane_ % 4, outer / kChunk<T>) + outer % kChunk<T>]);
      }
    }
    if constexpr (!kBf16 && kBLies == Lies::outer_rows) ATROUS_UNROLL
    for (int e = 0; e < 4; ++e) both[e] = tf32(both[e]);
    f[0][0] = both[0], f[0][1] = both[1], f[1][0] = both[2], f[1][1] = both[3];
  }

  int lane_, row_, column_;
  float sums_[kBlockRows][kBlockColumns][4];
};

/// The same product in exact single precision, by ordinary multiply-adds. A warp owns the same part of the
/// tile, a thread kRows/16 rows x kColumns/8 columns of it.
template <class T, int kRows, int kColumns, Lies kALies, Lies kBLies>
class FmaTile {
  static constexpr int kOwnRows = kRows / 16, kOwnColumns = kColumns / 8;
  static_assert(sizeof(T) == 4 && kOwnRows % 4 == 0 && kOwnColumns % 4 == 0);
  static_assert(kALies == Lies::outer_rows || kBLies == Lies::depth_rows);

 public:
  static constexpr bool kTensorCores = false;
  using Element = T;
  using ALayout = TileLayout<T, kRows, kALies>;
  using BLayout = TileLayout<T, kColumns, kBLies>;

  __device__ __forceinline__ FmaTile() {
    const int lane = int(threadIdx.x) % 32;
    // Four own rows are neighbours where a load takes four rows, eight apart where it takes four of the
    // depth.
    row_ = int(threadIdx.x) / 64 * (kRows / 2) + lane / 4 * (kALies == Lies::depth_rows ? 4 : 1);
    column_ = int(threadIdx.x) / 32 % 2 * (kColumns / 2) + lane % 4 * 4;
    ATROUS_UNROLL
    for (int i = 0; i < kOwnRows; ++i) {
      ATROUS_UNROLL
      for (int j = 0; j < kOwnColumns; ++j) sums_[i][j] = 0;
    }
  }

  __device__ __forceinline__ void multiply(const T* a, const T* b) {
    // Unrolled, loads of later rounds are moved up until registers run out.
    ATROUS_NO_UNROLL
    for (int k = 0; k < kTileDepth<T>; k += 4) {
      // Four of the depth of every own row at once where they are neighbours, else one after the other.
      float fa[kOwnRows][kALies == Lies::outer_rows ? 4 : 1];
      if constexpr (kALies == Lies::outer_rows) {
        ATROUS_UNROLL
        for (int i = 0; i < kOwnRows; ++i) load(fa[i], a + ALayout::at(own_row(i), k / 4));
      }
      if constexpr (kBLies == Lies::depth_rows) {
        ATROUS_UNROLL
        for (int d = 0; d < 4; ++d) {
          if constexpr (kALies == Lies::depth_rows) load_rows(fa, a, k + d);
          ATROUS_UNROLL
          for (int j = 0; j < kOwnColumns; j += 4) {
            float fb[4];
            load(fb, b + BLayout::at(k + d, (column_ + j * 4) / 4));
            ATROUS_UNROLL
            for (int i = 0; i < kOwnRows; ++i) {
              ATROUS_UNROLL
              for (int e = 0; e < 4; ++e)
                sums_[i][j + e] += fa[i][kALies == Lies::outer_rows ? d : 0] * fb[e];
            }
          }
        }
      } else {
        ATROUS_UNROLL
        for (int j = 0; j < kOwnColumns; ++j) {
          float fb[4];
          load(fb, b + BLayout::at(column_ + j / 4 * 16 + j % 4, k / 4));
          ATROUS_UNROLL
          for (int d = 0; d < 4; ++d) {
            ATROUS_UNROLL
            for (int i = 0; i < kOwnRows; ++i) sums_[i][j] += fa[i][d] * fb[d];
          }
        }
      }
    }
  }

  template <class Visit>
  __device__ __forceinline__ void for_each_pair(const Visit& visit) const {
    ATROUS_UNROLL
    for (int i = 0; i < kOwnRows; ++i) {
      ATROUS_UNROLL
      for (int j = 0; j < kOwnColumns; j += 2)
        visit(own_row(i), column_ + j / 4 * 16 + j % 4, sums_[i][j], sums_[i][j + 1]);
    }
  }

 private:
  __device__ __forceinline__ int own_row(int i) const {
    return row_ + (kALies == Lies::depth_rows ? i / 4 * 32 + i % 4 : i * 8);
  }
  static __device__ __forceinline__ void load(float (&v)[4], const T* from) {
    const uint4 bits = load16(from);
    v[0] = __uint_as_float(bits.x), v[1] = __uint_as_float(bits.y);
    v[2] = __uint_as_float(bits.z), v[3] = __uint_as_float(bits.w);
  }

  // All own rows at one depth.
  __device__ __forceinline__ void load_rows(float (&fa)[kOwnRows][1], const T* a, int depth) const {
    ATROUS_UNROLL
    for (int i = 0; i < kOwnRows; i += 4) {
      float four[4];
      load(four, a + ALayout::at(depth, own_row(i) / 4));
      ATROUS_UNROLL
      for (int e = 0; e < 4; ++e) fa[i + e][0] = four[e];
    }
  }

  int row_, column_;
  float sums_[kOwnRows][kOwnColumns];
};

}  // namespace atrous::kernels::cuda
