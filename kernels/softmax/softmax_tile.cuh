#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "atrous/kernels/cuda.cuh"
#include "atrous/kernels/reduce/block_reduce.cuh"

// Rows of logits in shared memory, and what the threads of a block do with them.
//
// A row of 21 logits is no multiple of 16 bytes, and a thread that read its own row from memory would waste
// most of every access. So a block copies the rows of its pixels to shared memory as one piece, and gives
// each pixel a group of lanes, 1 for up to 44 classes, 32 for up to 1408. The pitch of rows in shared memory
// keeps the lanes of a warp in different banks. Beyond 1408 classes (704 in double) rows stay in device
// memory, and a warp walks over each.

namespace atrous::kernels::cuda {

inline constexpr int kTileThreads = 128;

struct RowTile {
  int classes = 0;
  int lanes = 32;      ///< of a pixel
  int pixels = 0;      ///< of a block
  int pitch = 0;       ///< words from row to row in shared memory; 0: rows stay in device memory
  unsigned magic = 0;  ///< i / classes = i * magic / 2^32 for elements i of a tile

  /// For rows of A in shared memory.
  template <class A>
  static RowTile of(std::int64_t classes) {
    RowTile t;
    t.classes = int(classes);
    const std::int64_t most = 44 * 4 / std::int64_t(sizeof(A));  // classes of one lane
    for (t.lanes = 1; t.lanes < 32 && classes > most * t.lanes;) t.lanes *= 2;
    t.pixels = kTileThreads / t.lanes;
    if (classes > most * 32) return t;
    // The least number that is not below `classes` and has the remainder `lanes` modulo twice that.
    t.pitch = int((classes - t.lanes + 2 * t.lanes - 1) / (2 * t.lanes) * (2 * t.lanes) + t.lanes);
    if (classes <= t.lanes) t.pitch = t.lanes;
    t.magic = unsigned(((std::uint64_t(1) << 32) + std::uint64_t(classes) - 1) / std::uint64_t(classes));
    return t;
  }
  bool shared() const { return pitch > 0; }
  unsigned blocks(std::int64_t all_pixels) const { return unsigned((all_pixels + pixels - 1) / pixels); }
  std::size_t bytes(std::size_t of_word, int tiles) const {
    return std::size_t(tiles) * std::size_t(pixels) * std::size_t(pitch) * of_word;
  }
  __device__ __forceinline__ void place(int i, int& row, int& c) const {
    row = classes == 1 ? i : int(__umulhi(unsigned(i), magic));
    c = i - row * classes;
  }
};

/// What a thread copies at a time: a word of 4 bytes where T is smaller, else an element. A warp's words are
/// neighbours in device memory and, one by one, in shared memory: all banks serve it at once.
template <class T>
inline constexpr int kElementsOfWord = sizeof(T) < 4 ? int(4 / sizeof(T)) : 1;

/// Where the two elements of word i go: lanes of the upper half-warp take the second first, or two lanes
/// would meet in each bank.
struct PairPlace {
  int first, second;
  bool swapped;
};
__device__ __forceinline__ PairPlace pair_place(const RowTile& t, int i) {
  int row, c;
  t.place(2 * i, row, c);
  const int at = row * t.pitch + c, next = c + 1 == t.classes ? (row + 1) * t.pitch : at + 1;
  const bool swapped = (threadIdx.x & 16) != 0;
  return {swapped ? next : at, swapped ? at : next, swapped};
}

/// Copies `count` elements from x, the rows of a tile one behind the other, to shared memory. The caller
/// synchronises.
template <class T>
__device__ __forceinline__ void load_rows(const RowTile& t, const T* x, int count, Accumulator<T>* rows) {
  int done = 0;
  if constexpr (kElementsOfWord<T> == 2) {
    const int words = reinterpret_cast<std::uintptr_t>(x) % 4 == 0 ? count / 2 : 0;
    for (int i = int(threadIdx.x); i < words; i += kTileThreads) {
      const float2 v = unpack_bf16(reinterpret_cast<const std::uint32_t*>(x)[i]);
      const PairPlace place = pair_place(t, i);
      rows[place.first] = place.swapped ? v.y : v.x;
      rows[place.second] = place.swapped ? v.x : v.y;
    }
    done = 2 * words;
  }
  for (int i = done + int(threadIdx.x); i < count; i += kTileThreads) {
    int row, c;
    t.place(i, row, c);
    rows[row * t.pitch + c] = Accumulator<T>(x[i]);
  }
}

/// The way back, rounded to T.
template <class T>
__device__ __forceinline__ void store_rows(const RowTile& t, const Accumulator<T>* rows, int count, T* y) {
  int done = 0;
  if constexpr (kElementsOfWord<T> == 2) {
    const int words = reinterpret_cast<std::uintptr_t>(y) % 4 == 0 ? count / 2 : 0;
    for (int i = int(threadIdx.x); i < words; i += kTileThreads) {
      const PairPlace place = pair_place(t, i);
      const float a = rows[place.first], b = rows[place.second];
      reinterpret_cast<std::uint32_t*>(y)[i] = place.swapped ? pack_bf16(b, a) : pack_bf16(a, b);
    }
    done = 2 * words;
  }
  for (int i = done + int(threadIdx.x); i < count; i += kTileThreads) {
    int row, c;
    t.place(i, row, c);
    y[i] = T(rows[row * t.pitch + c]);
  }
}

/// One pixel's row, as its lanes see it: element c through `at`, classes lane, lane + lanes, ...
template <class E>
struct RowView {
  E* at;
  int classes, lane, lanes;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int c = lane; c < classes; c += lanes) visit(c);
  }
  /// The greatest element, in all lanes; NaN only if every one is (then it is minus infinity).
  template <class A>
  __device__ __forceinline__ A largest() const {
    A m = kMinusInfinity<A>;
    each([&](int c) { m = A(at[c]) > m ? A(at[c]) : m; });
    return lanes_reduce(m, lanes, Largest());
  }
  /// The sum of exp(x - largest), in all lanes. In shared memory the exponentials replace x.
  template <class A>
  __device__ __forceinline__ A exponentials(A largest) const {
    return sum<A>([&](int c) {
      const A e = std::exp(A(at[c]) - largest);
      if constexpr (!std::is_const_v<E>) at[c] = e;
      return e;
    });
  }
  /// Each of them, after that.
  template <class A>
  __device__ __forceinline__ A exponential(int c, A largest) const {
    if constexpr (std::is_const_v<E>)
      return std::exp(A(at[c]) - largest);
    else
      return at[c];
  }
  template <class A, class Term>
  __device__ __forceinline__ A sum(const Term& term) const {
    A s = A(0);
    each([&](int c) { s += term(c); });
    return lanes_reduce(s, lanes, Sum());
  }
};

}  // namespace atrous::kernels::cuda
