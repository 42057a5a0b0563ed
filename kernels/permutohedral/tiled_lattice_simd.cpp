#include "atrous/kernels/permutohedral/tiled_lattice_simd.h"

#include "atrous/kernels/simd_math.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

typedef double DoubleVec __attribute__((vector_size(ATROUS_VECTOR_BYTES)));
typedef std::int64_t LongVec __attribute__((vector_size(ATROUS_VECTOR_BYTES)));
constexpr int kDoubles = ATROUS_VECTOR_BYTES / 8;

template <int D>
ATROUS_INLINE void place_points(const LatticePlaceKeys& keys, long points, const float* features,
                                std::uint64_t* found, float* weights) {
  for (long p = 0; p < points; p += kDoubles) {
    const long count = points - p < kDoubles ? points - p : kDoubles;
    DoubleVec e[D + 1], sum{};
#pragma GCC unroll 8
    for (int j = D; j >= 1; --j) {
      DoubleVec f{};
      for (int lane = 0; lane < kDoubles; ++lane)
        f[lane] = double(features[(p + (lane < count ? lane : 0)) * D + j - 1]);
      const DoubleVec t = f * keys.scale[j - 1];
      e[j] = sum - double(j) * t;
      sum += t;
    }
    e[0] = sum;
    LongVec base[D + 1], rank[D + 1], excess{};
    constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52: what is added to it is rounded
#pragma GCC unroll 8
    for (int i = 0; i <= D; ++i) {
      const DoubleVec shifted = e[i] / double(D + 1) + kMagic;
      const DoubleVec nearest = shifted - kMagic;
      base[i] = (LongVec)shifted - (LongVec)(DoubleVec{} + kMagic);
      e[i] -= nearest * double(D + 1);
      excess += base[i];
      rank[i] = LongVec{};
    }
#pragma GCC unroll 8
    for (int i = 0; i < D; ++i)
#pragma GCC unroll 8
      for (int j = i + 1; j <= D; ++j) {
        const LongVec less = e[i] < e[j];  // -1 where it is
        rank[i] -= less;
        rank[j] += 1 + less;
      }
    // By rank: the part of the simplex, and what leaving it behind takes from the key.
    DoubleVec part[D + 1];
    LongVec taken[D + 1], key{};
#pragma GCC unroll 8
    for (int k = 0; k <= D; ++k) part[k] = DoubleVec{}, taken[k] = LongVec{};
#pragma GCC unroll 8
    for (int i = 0; i <= D; ++i) {
      rank[i] += excess;
      const LongVec under = rank[i]<0, over = rank[i]> D;
      rank[i] += (under & (D + 1)) - (over & (D + 1));
      base[i] += over - under;
      const DoubleVec moved = (DoubleVec)((LongVec)(DoubleVec{} + double(D + 1)) & under) -
                              (DoubleVec)((LongVec)(DoubleVec{} + double(D + 1)) & over);
      const DoubleVec delta = (e[i] - moved) / double(D + 1);
      if (i < D) key += (base[i] - keys.low[i]) << std::int64_t(keys.shift[i]);
#pragma GCC unroll 8
      for (int k = 0; k <= D; ++k) {
        const LongVec here = rank[i] == std::int64_t(k);
        part[k] += (DoubleVec)((LongVec)delta & here);
        if (i < D) taken[k] += here & (std::int64_t(1) << keys.shift[i]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r <= D; ++r) {
      if (r > 0) key += 1 - taken[D - r + 1];
      const DoubleVec w = r == 0 ? 1 + part[D] - part[0] : part[D - r] - part[D - r + 1];
      for (int lane = 0; lane < kDoubles; ++lane)
        if (lane < count) {
          found[(p + lane) * (D + 1) + r] = std::uint64_t(key[lane]);
          weights[(p + lane) * (D + 1) + r] = float(w[lane]);
        }
    }
  }
}

ATROUS_INLINE Vec lanes_of(long n, Vec inside, Vec outside) {  // the first n of one, the others of the other
  IntVec lane{};
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < std::int32_t(n) ? inside : outside;
}

// What all lanes make together, in halves; `join` takes two vectors.
template <int Step, class Join, int... Lane>
ATROUS_INLINE float join_lanes(Vec v, Join join, std::integer_sequence<int, Lane...> lanes) {
  v = join(v, __builtin_shufflevector(v, v, (Lane ^ Step)...));
  if constexpr (Step > 1)
    return join_lanes<Step / 2>(v, join, lanes);
  else
    return v[0];
}
ATROUS_INLINE float sum_lanes(Vec v) {
  return join_lanes<kLanes / 2>(
      v, [](Vec a, Vec b) ATROUS_INLINE_LAMBDA { return a + b; }, std::make_integer_sequence<int, kLanes>());
}
ATROUS_INLINE float largest_lane(Vec v) {
  return join_lanes<kLanes / 2>(
      v, [](Vec a, Vec b) ATROUS_INLINE_LAMBDA { return max(a, b); },
      std::make_integer_sequence<int, kLanes>());
}

// Points are taken in blocks, whose rows of values lie in z, as wide as those of the tables: first the loops
// that slice, then the softmax, then those that splat. Each point on its own would be a chain from its
// corners to its corners again that nothing overlaps with.
constexpr long kBlockFloats = 2048;
static_assert(kBlockFloats >= kMostFusedClasses);

ATROUS_INLINE long points_of_block(long stride, long left) {
  const long most = stride <= kBlockFloats / 64 ? 64 : kBlockFloats / stride;
  return left < most ? left : most;
}

// Calls body.operator()<N>(column) for a row's columns, N vectors of them at a time.
template <class Body>
ATROUS_INLINE void for_columns(long stride, Body&& body) {
  for (long c = 0; c < stride;) {
    const long left = (stride - c) / kLanes;
    if (left >= 4) {
      body.template operator()<4>(c);
      c += 4 * kLanes;
    } else if (left == 3) {
      body.template operator()<3>(c);
      c += 3 * kLanes;
    } else if (left == 2) {
      body.template operator()<2>(c);
      c += 2 * kLanes;
    } else {
      body.template operator()<1>(c);
      c += kLanes;
    }
  }
}

// z[i] = the `width` floats of from[i], rows of which are `pitch` apart, and `fill` behind them.
ATROUS_INLINE void load_rows(long points, long width, long stride, long pitch, const float* from, float fill,
                             float* z) {
  for (long c = 0; c < stride; c += kLanes) {
    const long n = width - c;
    if (n >= kLanes)
      for (long i = 0; i < points; ++i) store(z + i * stride + c, load(from + i * pitch + c));
    else
      for (long i = 0; i < points; ++i)
        store(z + i * stride + c,
              lanes_of(n, n > 0 ? load_part(from + i * pitch + c, n) : Vec{}, broadcast(fill)));
  }
}

ATROUS_INLINE void store_rows(long points, long width, long stride, long pitch, const float* z, float* to) {
  for (long c = 0; c < width; c += kLanes)
    if (width - c >= kLanes)
      for (long i = 0; i < points; ++i) store(to + i * pitch + c, load(z + i * stride + c));
    else
      for (long i = 0; i < points; ++i) store_part(to + i * pitch + c, load(z + i * stride + c), width - c);
}

// Keeps the compiler from working out the address of a row anew for each of its vectors.
template <class T>
ATROUS_INLINE T* opaque(T* row) {
  asm("" : "+r"(row));
  return row;
}

// z[i] += scale post[i] sum over r of weight[i,r] table[global[local[i,r]]]. Corners: d + 1, or 0 to read it.
template <int Corners, int N>
ATROUS_INLINE void slice_columns(const LatticeRun& run, long begin, long points, long stride,
                                 const std::int32_t* global, const float* table, long pitch, float scale,
                                 const float* post, float* z) {
  const long corners = Corners ? Corners : run.corners;
  for (long i = 0; i < points; ++i) {
    const std::uint16_t* local = run.local + (begin + i) * corners;
    const float* weight = run.weight + (begin + i) * corners;
    Vec sum[N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) sum[v] = Vec{};
#pragma GCC unroll 8
    for (long r = 0; r < corners; ++r) {
      const float* row = opaque(table + long(global[local[r]]) * pitch);
      const Vec w = broadcast(weight[r]);
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[v] += w * load(row + v * kLanes);
    }
    const Vec factor = broadcast(post ? scale * post[begin + i] : scale);
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) {
      float* const own = z + i * stride + v * kLanes;
      store(own, load(own) + sum[v] * factor);
    }
  }
}

// table[rows[local[i,r]]] += weight[i,r] pre[i] z[i]. Neighbouring points add to the same rows, and each
// would wait for the sum of the one before: four points far apart take turns.
template <int Corners, int N>
ATROUS_INLINE void splat_columns(const LatticeRun& run, long begin, long points, long stride,
                                 const std::int32_t* rows, const float* pre, const float* z, float* table,
                                 long pitch) {
  const long corners = Corners ? Corners : run.corners;
  const auto splat_point = [&](long i) ATROUS_INLINE_LAMBDA {
    const std::uint16_t* local = run.local + (begin + i) * corners;
    const float* weight = run.weight + (begin + i) * corners;
    const float factor = pre ? pre[begin + i] : 1.0f;
    Vec value[N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) value[v] = load(z + i * stride + v * kLanes);
#pragma GCC unroll 8
    for (long r = 0; r < corners; ++r) {
      float* row = opaque(table + long(rows[local[r]]) * pitch);
      const Vec w = broadcast(weight[r] * factor);
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) store(row + v * kLanes, load(row + v * kLanes) + w * value[v]);
    }
  };
  const long quarter = (points + 3) / 4;
  for (long k = 0; k < quarter; ++k)
    for (long i = k; i < points; i += quarter) splat_point(i);
}

// The points begin .. begin+points-1 of a run, the columns `first` on of the tables, with code of their own
// for places alone and for places and three colours.
void slice_points(const LatticeRun& run, long begin, long points, long first, long stride,
                  const std::int32_t* global, const float* table, float scale, const float* post, float* z) {
  for_columns(stride, [&]<int N>(long c) ATROUS_INLINE_LAMBDA {
    const float* const columns = table + first + c;
    if (run.corners == 3)
      slice_columns<3, N>(run, begin, points, stride, global, columns, run.stride, scale, post, z + c);
    else if (run.corners == 6)
      slice_columns<6, N>(run, begin, points, stride, global, columns, run.stride, scale, post, z + c);
    else
      slice_columns<0, N>(run, begin, points, stride, global, columns, run.stride, scale, post, z + c);
  });
}

void splat_points(const LatticeRun& run, long begin, long points, long first, long stride,
                  const std::int32_t* rows, const float* pre, const float* z, float* table) {
  for_columns(stride, [&]<int N>(long c) ATROUS_INLINE_LAMBDA {
    float* const columns = table + first + c;
    if (run.corners == 3)
      splat_columns<3, N>(run, begin, points, stride, rows, pre, z + c, columns, run.stride);
    else if (run.corners == 6)
      splat_columns<6, N>(run, begin, points, stride, rows, pre, z + c, columns, run.stride);
    else
      splat_columns<0, N>(run, begin, points, stride, rows, pre, z + c, columns, run.stride);
  });
}

// Each row of z becomes its softmax, moved from `old` by the share `relax` where there is an old one. Columns
// behind the classes hold -infinity and become 0. Returns the greatest change. N vectors a row, or 0 for any.
template <int N>
ATROUS_INLINE float softmax_rows(long points, long classes, long stride, float relax, const float* old,
                                 float* z) {
  const long vectors = N ? N : stride / kLanes;
  Vec change{};
  for (long i = 0; i < points; ++i) {
    float* const row = z + i * stride;
    Vec most = load(row);
#pragma GCC unroll 4
    for (long v = 1; v < vectors; ++v) most = max(most, load(row + v * kLanes));
    const Vec largest = broadcast(largest_lane(most));
    Vec sum{};
#pragma GCC unroll 4
    for (long v = 0; v < vectors; ++v) {
      const Vec e = exp_nonpositive(load(row + v * kLanes) - largest);
      store(row + v * kLanes, e);
      sum += e;
    }
    const Vec factor = broadcast(1.0f / sum_lanes(sum));
#pragma GCC unroll 4
    for (long v = 0; v < vectors; ++v) {
      Vec q = load(row + v * kLanes) * factor;
      if (old) {
        const long n = classes - v * kLanes;
        const float* const at = old + i * classes + v * kLanes;
        const Vec before = n >= kLanes ? load(at) : n > 0 ? load_part(at, n) : Vec{};
        const Vec step = (q - before) * relax;
        if (relax != 1.0f) q = before + step;
        change = max(change, max(step, -step));
      }
      store(row + v * kLanes, q);
    }
  }
  return old ? largest_lane(change) : 0;
}

}  // namespace

void lattice_place(const LatticePlaceKeys& keys, long points, const float* features, std::uint64_t* found,
                   float* weights) {
  switch (keys.features) {
    case 1:
      return place_points<1>(keys, points, features, found, weights);
    case 2:
      return place_points<2>(keys, points, features, found, weights);
    case 3:
      return place_points<3>(keys, points, features, found, weights);
    case 4:
      return place_points<4>(keys, points, features, found, weights);
    case 5:
      return place_points<5>(keys, points, features, found, weights);
    default:
      return place_points<6>(keys, points, features, found, weights);
  }
}

void lattice_splat_run(const LatticeRun& run, const std::int32_t* rows, const float* pre, const float* values,
                       float* table) {
  float z[kBlockFloats];
  for (long c = 0; c < run.stride; c += kMostFusedClasses) {
    const long stride = run.stride - c < kMostFusedClasses ? run.stride - c : kMostFusedClasses;
    for (long i = 0, n; i < run.points; i += n) {
      n = points_of_block(stride, run.points - i);
      load_rows(n, run.classes - c, stride, run.classes, values + i * run.classes + c, 0, z);
      splat_points(run, i, n, c, stride, rows, pre, z, table);
    }
  }
}

void lattice_slice_run(const LatticeRun& run, const std::int32_t* global, const float* table, float scale,
                       const float* post, float* out) {
  float z[kBlockFloats];
  for (long c = 0; c < run.stride; c += kMostFusedClasses) {
    const long stride = run.stride - c < kMostFusedClasses ? run.stride - c : kMostFusedClasses;
    const long width = run.classes - c < stride ? run.classes - c : stride;
    for (long i = 0, n; i < run.points; i += n) {
      n = points_of_block(stride, run.points - i);
      for (long k = 0; k < n * stride; k += kLanes) store(z + k, Vec{});
      slice_points(run, i, n, c, stride, global, table, scale, post, z);
      store_rows(n, width, stride, run.classes, z, out + i * run.classes + c);
    }
  }
}

void lattice_clear_rows(long floats, float* rows) {
  for (long k = 0; k < floats; k += 8)
    for (long v = 0; v < 8; v += kLanes) store(opaque(rows + k + v), Vec{});
}

void lattice_gather_rows(long begin, long end, long stride, const std::int32_t* shared,
                         const std::int32_t* shared_begin, const std::int32_t* extras, float* table) {
  for (long s = begin; s < end; ++s) {
    float* const own = table + long(shared[s]) * stride;
    for_columns(stride, [&]<int N>(long c) ATROUS_INLINE_LAMBDA {
      Vec sum[N];
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[v] = load(own + c + v * kLanes);
      for (std::int32_t k = shared_begin[s]; k < shared_begin[s + 1]; ++k) {
        const float* row = table + long(extras[k]) * stride + c;
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) sum[v] += load(row + v * kLanes);
      }
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) store(own + c + v * kLanes, sum[v]);
    });
  }
}

void lattice_blur_chains(long begin, long end, long stride, const std::int32_t* chains, float* table) {
  for_columns(stride, [&]<int N>(long c) ATROUS_INLINE_LAMBDA {
    constexpr long kAhead = 12;  // vertices whose rows are on their way from memory
    const auto row_of = [&](std::int32_t u)
                            ATROUS_INLINE_LAMBDA { return opaque(table + long(u ^ (u >> 31)) * stride + c); };
    Vec before[N], own[N];
    float* row = row_of(chains[begin]);
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) before[v] = Vec{}, own[v] = load(row + v * kLanes);
    for (long k = begin; k < end; ++k) {
      const std::int32_t after = k + 1 < end ? chains[k + 1] : -1;  // its sign ends the chain
      float* const next_row = k + 1 < end ? row_of(after) : row;
      const float* const ahead = row_of(chains[k + kAhead < end ? k + kAhead : k]);
      __builtin_prefetch(ahead, 1);
      __builtin_prefetch(ahead + 16, 1);
      const IntVec linked = broadcast(~(after >> 31));
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) {
        const Vec next = load(next_row + v * kLanes);
        store(row + v * kLanes, own[v] + 0.5f * ((Vec)((IntVec)next & linked) + before[v]));
        before[v] = (Vec)((IntVec)own[v] & linked);
        own[v] = next;
      }
      row = next_row;
    }
  });
}

void lattice_scale_rows(long begin, long end, long stride, const float* factors, float* table) {
  for (long u = begin; u < end; ++u)
    for (long c = 0; c < stride; c += kLanes)
      store(table + u * stride + c, load(table + u * stride + c) * load(factors + c));
}

void lattice_mix_rows(long begin, long end, long stride, long classes, const float* columns, float* table) {
  float row[kMostFusedClasses];
  for (long u = begin; u < end; ++u) {
    float* own = table + u * stride;
    for (long b = 0; b < classes; ++b) row[b] = own[b];
    for_columns(stride, [&]<int N>(long c) ATROUS_INLINE_LAMBDA {
      Vec sum[N];
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[v] = Vec{};
      for (long b = 0; b < classes; ++b)
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) sum[v] += row[b] * load(columns + b * stride + c + v * kLanes);
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) store(own + c + v * kLanes, sum[v]);
    });
  }
}

float lattice_update_run(const FusedTerm* terms, int count, const float* logits, float relax,
                         const float* old, float* q) {
  float z[kBlockFloats];
  const long points = terms[0].run.points, classes = terms[0].run.classes, stride = terms[0].run.stride;
  float change = 0;
  for (long i = 0, n; i < points; i += n) {
    n = points_of_block(stride, points - i);
    load_rows(n, classes, stride, classes, logits + i * classes, -__builtin_inff(), z);
    for (int m = 0; m < count; ++m) {
      const FusedTerm& t = terms[m];
      if (t.table) slice_points(t.run, i, n, 0, stride, t.global, t.table, t.scale, t.post, z);
    }
    const float* const before = old ? old + i * classes : nullptr;
    float of_block = 0;
    switch (stride / kLanes) {
      case 1:
        of_block = softmax_rows<1>(n, classes, stride, relax, before, z);
        break;
      case 2:
        of_block = softmax_rows<2>(n, classes, stride, relax, before, z);
        break;
      case 3:
        of_block = softmax_rows<3>(n, classes, stride, relax, before, z);
        break;
      case 4:
        of_block = softmax_rows<4>(n, classes, stride, relax, before, z);
        break;
      default:
        of_block = softmax_rows<0>(n, classes, stride, relax, before, z);
    }
    change = of_block <= change ? change : of_block;
    if (q) store_rows(n, classes, stride, classes, z, q + i * classes);
    for (int m = 0; m < count; ++m) {
      const FusedTerm& t = terms[m];
      if (t.next) splat_points(t.run, i, n, 0, stride, t.rows, t.pre, z, t.next);
    }
  }
  return change;
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
