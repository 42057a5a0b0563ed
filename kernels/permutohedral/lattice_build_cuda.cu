#include <type_traits>
#include <utility>

#include "atrous/kernels/for_each_cuda.cuh"
#include "atrous/kernels/permutohedral/lattice_device.h"
#include "atrous/kernels/permutohedral/permutohedral.h"
#include "atrous/kernels/permutohedral/permutohedral_body.h"
#include "atrous/kernels/reduce/block_reduce.cuh"
#include "atrous/kernels/reduce/scan.cuh"

// Building a lattice. Atomics decide where in the hash table a key lies and nothing else: a slot ends with
// the first splat of its key, whoever came first; vertices are numbered by a scan over the splats that are
// first; lists are sorted. So everything but the table has the bits of the CPU's.

namespace atrous::kernels::cuda {
namespace {

constexpr int kThreads = 256;

struct Lower {
  __device__ double operator()(double a, double b) const { return lattice_lower(a, b); }
};
struct Upper {
  __device__ double operator()(double a, double b) const { return lattice_upper(a, b); }
};

// A block owns a strip of points and up to 256 features; its threads are layers of points side by side.
template <class T>
__global__ void __launch_bounds__(kThreads) lattice_bounds_kernel(LatticeStripBounds<T> b) {
  ATROUS_SHARED(double, lows, [kThreads]);
  ATROUS_SHARED(double, highs, [kThreads]);
  const std::int64_t features = b.d.features, first = std::int64_t(blockIdx.y) * kThreads, strip = blockIdx.x;
  const int columns = features - first < kThreads ? int(features - first) : kThreads,
            layers = kThreads / columns, column = int(threadIdx.x) % columns,
            layer = int(threadIdx.x) / columns;
  double low = -kMinusInfinity<double>, high = kMinusInfinity<double>;
  if (layer < layers) {
    const std::int64_t end = b.d.points * (strip + 1) / b.strips;
    for (std::int64_t p = b.d.points * strip / b.strips + layer; p < end; p += layers) {
      double v = double(b.features[p * features + first + column]);
      if (v - v != 0) v -= v;  // infinities count as NaN
      low = lattice_lower(low, v);
      high = lattice_upper(high, v);
    }
  }
  lows[threadIdx.x] = low;
  highs[threadIdx.x] = high;
  __syncthreads();
  if (layer > 0) return;
  for (int l = 1; l < layers; ++l) {
    low = lattice_lower(low, lows[l * columns + column]);
    high = lattice_upper(high, highs[l * columns + column]);
  }
  b.bounds[2 * strip * features + first + column] = low;
  b.bounds[(2 * strip + 1) * features + first + column] = high;
}

// A block owns a feature.
__global__ void __launch_bounds__(kThreads)
    lattice_bounds_finish_kernel(std::int64_t features, std::int64_t strips, const double* of_strips,
                                 double* bounds) {
  double low = of_strips[blockIdx.x], high = of_strips[features + blockIdx.x];
  for (std::int64_t s = threadIdx.x; s < strips; s += kThreads) {
    low = lattice_lower(low, of_strips[2 * s * features + blockIdx.x]);
    high = lattice_upper(high, of_strips[(2 * s + 1) * features + blockIdx.x]);
  }
  low = block_reduce<kThreads>(low, Lower());
  high = block_reduce<kThreads>(high, Upper());
  if (threadIdx.x != 0) return;
  bounds[blockIdx.x] = low;
  bounds[features + blockIdx.x] = high;
}

struct Fill {
  std::int32_t value;
  Span<std::int32_t> to;
  __device__ void operator()(std::int64_t i) const { to[i] = value; }
};

/// Finds the slot of splat s's key. What a slot holds is a splat, whose key was written by an earlier launch:
/// keys of any number of words take one compare-and-swap, and nothing has to be locked or published.
struct Insert {
  int words_each;
  Span<const std::uint64_t> words;
  Span<std::int32_t> slots;
  Span<std::int32_t> slot_of;  // there are up to 2^32 slots: the bits of an unsigned number
  __device__ void operator()(std::int64_t s) const {
    const std::uint64_t* key = words.data() + s * words_each;
    const std::int64_t mask = slots.size() - 1;
    for (std::int64_t slot = std::int64_t(lattice_hash_words(key, words_each)) & mask;;
         slot = (slot + 1) & mask) {
      const std::int32_t found = atomicCAS(&slots[slot], -1, std::int32_t(s));
      if (found >= 0) {
        if (!lattice_same_key(words.data() + std::int64_t(found) * words_each, key, words_each)) continue;
        if (found > s) atomicMin(&slots[slot], std::int32_t(s));
      }
      slot_of[s] = std::int32_t(std::uint32_t(slot));
      return;
    }
  }
};

/// The first splat of splat s's vertex.
struct FirstSplat {
  Span<const std::int32_t> slots, slot_of;
  __device__ std::int32_t operator()(std::int64_t s) const { return slots[std::uint32_t(slot_of[s])]; }
};
struct IsFirst {
  FirstSplat first_splat;
  __device__ std::int32_t operator()(std::int64_t s) const { return first_splat(s) == s ? 1 : 0; }
};
struct NumberFirst {
  Span<std::int32_t> vertex, first;
  __device__ void operator()(std::int64_t s, std::int32_t is_first, std::int32_t number) const {
    if (!is_first) return;
    vertex[s] = number;
    first[number] = std::int32_t(s);
  }
};
struct NumberOthers {
  FirstSplat first_splat;
  Span<std::int32_t> vertex;
  __device__ void operator()(std::int64_t s) const {
    const std::int32_t first = first_splat(s);
    if (first != s) vertex[s] = vertex[first];
  }
};

// ---- sorting splats by vertex: stable, so each vertex's list ascends

using Sort = LatticeSortParts;

struct SortPass {
  std::int64_t count, blocks;
  int shift;
  const std::int32_t* vertex;
  const std::int32_t* from;  // null: splats in their order
  std::int32_t* to;
  std::int32_t* places;  // [digit][block]: how many there are, then where the first of them goes

  __device__ __forceinline__ std::int32_t splat(std::int64_t k) const {
    return from ? from[k] : std::int32_t(k);
  }
  __device__ __forceinline__ int digit(std::int32_t s) const {
    return (vertex[s] >> shift) & (Sort::kDigits - 1);
  }
};

// A block counts the digits of a tile.
__global__ void __launch_bounds__(Sort::kThreads) lattice_count_digits_kernel(SortPass pass) {
  ATROUS_SHARED(std::int32_t, counts, [Sort::kDigits]);
  counts[threadIdx.x] = 0;
  __syncthreads();
  for (int round = 0; round < Sort::kRounds; ++round) {
    const std::int64_t k = blockIdx.x * Sort::kTile + round * Sort::kThreads + threadIdx.x;
    if (k < pass.count) atomicAdd(&counts[pass.digit(pass.splat(k))], 1);
  }
  __syncthreads();
  pass.places[threadIdx.x * pass.blocks + blockIdx.x] = counts[threadIdx.x];
}

// A block moves a tile. Each warp has a run of it, and goes through that 32 splats at a time: a splat's rank
// among those of its digit is how many its warp has met, and how many lanes before it have the same.
__global__ void __launch_bounds__(Sort::kThreads) lattice_move_splats_kernel(SortPass pass) {
  constexpr int kWarps = Sort::kThreads / 32;
  ATROUS_SHARED(std::int32_t, met, [kWarps][Sort::kDigits]);
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  for (int w = 0; w < kWarps; ++w) met[w][threadIdx.x] = 0;
  __syncthreads();
  const std::int64_t first = blockIdx.x * Sort::kTile + warp * 32 * Sort::kRounds + lane;
  std::int32_t splats[Sort::kRounds], ranks[Sort::kRounds];
  int digits[Sort::kRounds];
  ATROUS_UNROLL
  for (int round = 0; round < Sort::kRounds; ++round) {
    const std::int64_t k = first + round * 32;
    const bool here = k < pass.count;
    splats[round] = here ? pass.splat(k) : -1;
    digits[round] = here ? pass.digit(splats[round]) : Sort::kDigits;
    const unsigned same = __match_any_sync(kAllLanes, digits[round]);
    const int lanes_before = __popc(same & ((1u << lane) - 1));
    const std::int32_t before = here ? met[warp][digits[round]] : 0;
    ranks[round] = before + lanes_before;
    __syncwarp();  // all have read
    if (here && lanes_before == 0) met[warp][digits[round]] = before + __popc(same);
    __syncwarp();
  }
  __syncthreads();
  std::int32_t place = pass.places[threadIdx.x * pass.blocks + blockIdx.x];
  for (int w = 0; w < kWarps; ++w) {
    const std::int32_t count = met[w][threadIdx.x];
    met[w][threadIdx.x] = place;
    place += count;
  }
  __syncthreads();
  ATROUS_UNROLL
  for (int round = 0; round < Sort::kRounds; ++round)
    if (splats[round] >= 0) pass.to[met[warp][digits[round]] + ranks[round]] = splats[round];
}

struct Counts {
  Span<std::int32_t> values;
  __device__ std::int32_t operator()(std::int64_t i) const { return values[i]; }
};
struct KeepBefore {
  Span<std::int32_t> values;
  __device__ void operator()(std::int64_t i, std::int32_t, std::int32_t before) const { values[i] = before; }
};

/// The lists begin where the vertex changes; none is empty.
struct ListBegins {
  std::int64_t vertices;
  Span<const std::int32_t> vertex, splats;
  Span<std::int32_t> begin;
  __device__ void operator()(std::int64_t k) const {
    const std::int32_t u = vertex[splats[k]];
    if (k == 0 || vertex[splats[k - 1]] != u) begin[u] = std::int32_t(k);
    if (k == 0) begin[vertices] = std::int32_t(splats.size());
  }
};

/// Sorts 0..splats-1 by vertex into `sorted`.
void sort_splats(Stream stream, const LatticeDims& dims, std::int64_t vertices,
                 Span<const std::int32_t> vertex, Span<std::int32_t> workspace, Span<std::int32_t> sorted) {
  const Sort parts(dims);
  const std::int64_t counts = parts.blocks * Sort::kDigits;
  const Span<std::int32_t> places = workspace.part(parts.splats, counts),
                           of_tiles = workspace.part(parts.splats + counts, parts.tiles);
  int passes = 1;
  while ((vertices - 1) >> (8 * passes) > 0) ++passes;
  std::int32_t *to = sorted.data(), *other = workspace.data();
  if (passes % 2 == 0) std::swap(to, other);
  const std::int32_t* from = nullptr;
  for (int n = 0; n < passes; ++n) {
    const SortPass pass{parts.splats, parts.blocks, 8 * n, vertex.data(), from, to, places.data()};
    ATROUS_LAUNCH((lattice_count_digits_kernel), unsigned(parts.blocks), Sort::kThreads, 0, stream, pass);
    exclusive_scan(stream, counts, Counts{places}, KeepBefore{places}, of_tiles);
    ATROUS_LAUNCH((lattice_move_splats_kernel), unsigned(parts.blocks), Sort::kThreads, 0, stream, pass);
    from = to;
    std::swap(to, other);
  }
}

}  // namespace

template <class T>
void lattice_bounds(Stream stream, const LatticeDims& dims, Span<const T> features, Span<double> workspace,
                    Span<double> bounds) {
  const std::int64_t strips = device_bound_strips(dims);
  const dim3 grid{unsigned(strips), unsigned((dims.features + kThreads - 1) / kThreads), 1};
  ATROUS_LAUNCH((lattice_bounds_kernel<T>), grid, kThreads, 0, stream,
                (LatticeStripBounds<T>{dims, strips, features, workspace}));
  ATROUS_LAUNCH((lattice_bounds_finish_kernel), unsigned(dims.features), kThreads, 0, stream, dims.features,
                strips, static_cast<const double*>(workspace.data()), bounds.data());
}
ATROUS_INSTANTIATE_F32_F64(lattice_bounds);

template <class T>
void lattice_number(Stream stream, const LatticeDims& dims, const LatticeKeys& keys, Span<const T> features,
                    Span<T> weight, Span<std::int32_t> vertex, Span<std::uint64_t> words,
                    Span<std::int32_t> slots, Span<std::int32_t> first, Span<std::int32_t> workspace,
                    Span<std::int32_t> count) {
  with_features(dims.features, [&]<int D>() {
    for_each(stream, dims.points, LatticePlace<D, T>{dims, keys, features, weight, words});
  });
  const LatticeNumberParts parts(dims);
  const Span<std::int32_t> slot_of = workspace.part(0, parts.splats),
                           of_tiles = workspace.part(parts.splats, parts.tiles);
  for_each(stream, slots.size(), Fill{-1, slots});
  for_each(stream, parts.splats, Insert{keys.words, words, slots, slot_of});
  const FirstSplat first_splat{slots, slot_of};
  exclusive_scan(stream, parts.splats, IsFirst{first_splat}, NumberFirst{vertex, first}, of_tiles,
                 count.data());
  for_each(stream, parts.splats, NumberOthers{first_splat, vertex});
}
ATROUS_INSTANTIATE_F32_F64(lattice_number);

template <class T>
void lattice_link(Stream stream, const LatticeDims& dims, const LatticeKeys& keys, std::int64_t vertices,
                  Span<const T>, Span<const std::int32_t> vertex, Span<const std::uint64_t> words,
                  Span<const std::int32_t> slots, Span<const std::int32_t> first,
                  Span<std::int32_t> workspace, Span<std::int32_t> begin, Span<std::int32_t> splats,
                  Span<std::int32_t> neighbours) {
  sort_splats(stream, dims, vertices, vertex, workspace, splats);
  for_each(stream, splats.size(), ListBegins{vertices, vertex, splats, begin});
  for_each(stream, neighbours.size(), Fill{std::int32_t(vertices), neighbours});
  for_each(stream, dims.corners() * vertices,
           LatticeNeighbour{dims, keys, vertices, vertex, words, slots, first, neighbours});
}
ATROUS_INSTANTIATE_F32_F64(lattice_link);

}  // namespace atrous::kernels::cuda
