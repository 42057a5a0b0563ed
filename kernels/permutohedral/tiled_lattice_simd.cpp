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

// The last vector of a row of a table: rows are a multiple of 8 long.
ATROUS_INLINE Vec load_tail(const float* p, long n) { return kLanes <= 8 ? load(p) : load_part(p, n); }
ATROUS_INLINE void store_tail(float* p, Vec v, long n) {
  if (kLanes <= 8)
    store(p, v);
  else
    store_part(p, v, n);
}

ATROUS_INLINE Vec lanes_of(long n, Vec inside, Vec outside) {  // the first n of one, the others of the other
  IntVec lane{};
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < std::int32_t(n) ? inside : outside;
}

ATROUS_INLINE float sum_lanes(Vec v) {
#pragma GCC unroll 4
  for (int half = kLanes / 2; half >= 1; half /= 2) {
    IntVec other{};
    for (int i = 0; i < kLanes; ++i) other[i] = i ^ half;
    v += __builtin_shuffle(v, other);
  }
  return v[0];
}
ATROUS_INLINE float largest_lane(Vec v) {
#pragma GCC unroll 4
  for (int half = kLanes / 2; half >= 1; half /= 2) {
    IntVec other{};
    for (int i = 0; i < kLanes; ++i) other[i] = i ^ half;
    v = max(v, __builtin_shuffle(v, other));
  }
  return v[0];
}

// Calls part(n) for blocks of the row: N full vectors and, where `last`, one of `tail` lanes. Written out for
// small rows, so that the sums stay in registers.
template <int N>
ATROUS_INLINE void add_corners(long corners, const std::uint16_t* local, const std::int32_t* global,
                               const float* weight, const float* table, long stride, long tail, float scale,
                               Vec (&sum)[N]) {
  Vec of_term[N];
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) of_term[v] = Vec{};
  for (long r = 0; r < corners; ++r) {
    const float* row = table + long(global[local[r]]) * stride;
    const Vec w = broadcast(weight[r]);
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v)
      of_term[v] += w * (v < N - 1 ? load(row + v * kLanes) : load_tail(row + v * kLanes, tail));
  }
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) sum[v] += of_term[v] * scale;
}

template <int N>
ATROUS_INLINE void splat_corners(long corners, const std::uint16_t* local, const float* weight, float pre,
                                 long stride, long tail, const Vec (&value)[N], float* partial) {
  for (long r = 0; r < corners; ++r) {
    float* row = partial + long(local[r]) * stride;
    const Vec w = broadcast(weight[r] * pre);
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) {
      if (v < N - 1)
        store(row + v * kLanes, load(row + v * kLanes) + w * value[v]);
      else
        store_tail(row + v * kLanes, load_tail(row + v * kLanes, tail) + w * value[v], tail);
    }
  }
}

// Rows of at most N vectors (the last of `lanes` values), from the class `begin` on.
template <int N>
ATROUS_INLINE void splat_block(const LatticeRun& a, long begin, const float* pre, const float* values,
                               float* partial) {
  const long last = (N - 1) * kLanes;
  const long lanes = a.classes - begin - last < kLanes ? a.classes - begin - last : kLanes;
  const long tail = a.stride - begin - last < kLanes ? a.stride - begin - last : kLanes;
  for (long i = 0; i < a.points; ++i) {
    Vec value[N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v)
      value[v] = v < N - 1 ? load(values + i * a.classes + begin + v * kLanes)
                           : load_part(values + i * a.classes + begin + v * kLanes, lanes);
    splat_corners<N>(a.corners, a.local + i * a.corners, a.weight + i * a.corners, pre ? pre[i] : 1.0f,
                     a.stride, tail, value, partial + begin);
  }
}

template <int N>
ATROUS_INLINE void slice_block(const LatticeRun& a, long begin, const std::int32_t* global,
                               const float* table, float scale, const float* post, float* out) {
  const long last = (N - 1) * kLanes;
  const long lanes = a.classes - begin - last < kLanes ? a.classes - begin - last : kLanes;
  const long tail = a.stride - begin - last < kLanes ? a.stride - begin - last : kLanes;
  for (long i = 0; i < a.points; ++i) {
    Vec sum[N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) sum[v] = Vec{};
    add_corners<N>(a.corners, a.local + i * a.corners, global, a.weight + i * a.corners, table + begin,
                   a.stride, tail, post ? scale * post[i] : scale, sum);
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) {
      float* to = out + i * a.classes + begin + v * kLanes;
      if (v < N - 1)
        store(to, sum[v]);
      else
        store_part(to, sum[v], lanes);
    }
  }
}

// One pixel of the update: `z` is a row of `stride` floats. Returns the greatest change.
template <int N>
ATROUS_INLINE float update_point(const FusedTerm* terms, int count, long i, long classes, long stride,
                                 const float* logits, float relax, const float* old, float* q) {
  const long last = (N - 1) * kLanes, lanes = classes - last;
  const long tail = stride - last < kLanes ? stride - last : kLanes;
  Vec z[N];
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v)
    z[v] =
        v < N - 1 ? load(logits + i * classes + v * kLanes) : load_part(logits + i * classes + last, lanes);
  for (int m = 0; m < count; ++m) {
    const FusedTerm& t = terms[m];
    if (!t.table) continue;
    add_corners<N>(t.corners, t.local + i * t.corners, t.global, t.weight + i * t.corners, t.table, stride,
                   tail, t.post ? t.scale * t.post[i] : t.scale, z);
  }
  z[N - 1] = lanes_of(lanes, z[N - 1], broadcast(-__builtin_inff()));
  Vec most = z[0];
#pragma GCC unroll 4
  for (int v = 1; v < N; ++v) most = max(most, z[v]);
  const Vec largest = broadcast(largest_lane(most));
  Vec sum{};
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) {
    z[v] = exp_nonpositive(z[v] - largest);
    sum += z[v];
  }
  const Vec factor = broadcast(1.0f / sum_lanes(sum));
  Vec change{};
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) {
    z[v] *= factor;
    if (old) {
      const float* at = old + i * classes + v * kLanes;
      const Vec before = v < N - 1 ? load(at) : load_part(at, lanes);
      const Vec step = (z[v] - before) * relax;
      z[v] = relax == 1.0f ? z[v] : before + step;
      change = max(change, max(step, -step));
    }
    if (q) {
      float* to = q + i * classes + v * kLanes;
      if (v < N - 1)
        store(to, z[v]);
      else
        store_part(to, z[v], lanes);
    }
  }
  for (int m = 0; m < count; ++m) {
    const FusedTerm& t = terms[m];
    if (t.partial)
      splat_corners<N>(t.corners, t.local + i * t.corners, t.weight + i * t.corners, t.pre ? t.pre[i] : 1.0f,
                       stride, tail, z, t.partial);
  }
  return old ? largest_lane(change) : 0;
}

// The same for rows of any length, through memory.
float update_long_point(const FusedTerm* terms, int count, long i, long classes, long stride,
                        const float* logits, float relax, const float* old, float* q) {
  float z[kMostFusedClasses + 8];
  const auto each = [&](auto&& body) ATROUS_INLINE_LAMBDA {
    for (long c = 0; c < stride; c += kLanes) body(c, stride - c < kLanes ? stride - c : kLanes);
  };
  each([&](long c, long n) ATROUS_INLINE_LAMBDA {
    const long real = classes - c < n ? classes - c : n;
    Vec sum[1] = {real > 0 ? load_part(logits + i * classes + c, real) : Vec{}};
    for (int m = 0; m < count; ++m) {
      const FusedTerm& t = terms[m];
      if (!t.table) continue;
      add_corners<1>(t.corners, t.local + i * t.corners, t.global, t.weight + i * t.corners, t.table + c,
                     stride, n, t.post ? t.scale * t.post[i] : t.scale, sum);
    }
    store_part(z + c, lanes_of(real, sum[0], broadcast(-__builtin_inff())), n);
  });
  Vec most = broadcast(-__builtin_inff()), sum{}, change{};
  each([&](long c, long n) ATROUS_INLINE_LAMBDA {
    most = max(most, lanes_of(n, load_part(z + c, n), broadcast(-__builtin_inff())));
  });
  const Vec largest = broadcast(largest_lane(most));
  each([&](long c, long n) ATROUS_INLINE_LAMBDA {
    const Vec e = lanes_of(n, exp_nonpositive(load_part(z + c, n) - largest), Vec{});
    store_part(z + c, e, n);
    sum += e;
  });
  const Vec factor = broadcast(1.0f / sum_lanes(sum));
  each([&](long c, long n) ATROUS_INLINE_LAMBDA {
    const long real = classes - c < n ? classes - c : n;
    Vec v = load_part(z + c, n) * factor;
    if (old && real > 0) {
      const Vec before = load_part(old + i * classes + c, real);
      const Vec step = (v - before) * relax;
      v = relax == 1.0f ? v : before + step;
      change = max(change, max(step, -step));
    }
    if (q && real > 0) store_part(q + i * classes + c, v, real);
    for (int m = 0; m < count; ++m) {
      const FusedTerm& t = terms[m];
      const Vec value[1] = {v};
      if (t.partial)
        splat_corners<1>(t.corners, t.local + i * t.corners, t.weight + i * t.corners,
                         t.pre ? t.pre[i] : 1.0f, stride, n, value, t.partial + c);
    }
  });
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

void lattice_splat_run(const LatticeRun& run, const float* pre, const float* values, float* partial) {
  for (long begin = 0; begin < run.classes;) {
    const long left = (run.classes - begin + kLanes - 1) / kLanes;
    if (left >= 4) {
      splat_block<4>(run, begin, pre, values, partial);
      begin += 4 * kLanes;
    } else if (left >= 2) {
      splat_block<2>(run, begin, pre, values, partial);
      begin += 2 * kLanes;
    } else {
      splat_block<1>(run, begin, pre, values, partial);
      begin += kLanes;
    }
  }
}

void lattice_slice_run(const LatticeRun& run, const std::int32_t* global, const float* table, float scale,
                       const float* post, float* out) {
  for (long begin = 0; begin < run.classes;) {
    const long left = (run.classes - begin + kLanes - 1) / kLanes;
    if (left >= 4) {
      slice_block<4>(run, begin, global, table, scale, post, out);
      begin += 4 * kLanes;
    } else if (left >= 2) {
      slice_block<2>(run, begin, global, table, scale, post, out);
      begin += 2 * kLanes;
    } else {
      slice_block<1>(run, begin, global, table, scale, post, out);
      begin += kLanes;
    }
  }
}

void lattice_merge_rows(long begin, long end, long stride, const std::int32_t* first,
                        const std::int32_t* list, const float* partial, float* table) {
  for (long c = 0; c < stride; c += 2 * kLanes) {
    // Two vectors of a row at a time, as far as it goes.
    const long n0 = stride - c < kLanes ? stride - c : kLanes;
    const long n1 = stride - c - kLanes < kLanes ? stride - c - kLanes : kLanes;
    for (long u = begin; u < end; ++u) {
      Vec a{}, b{};
      for (std::int32_t k = first[u]; k < first[u + 1]; ++k) {
        const float* row = partial + long(list[k]) * stride + c;
        a += load_tail(row, n0);
        if (n1 > 0) b += load_tail(row + kLanes, n1);
      }
      store_tail(table + u * stride + c, a, n0);
      if (n1 > 0) store_tail(table + u * stride + c + kLanes, b, n1);
    }
  }
}

void lattice_blur_rows(long begin, long end, long stride, const std::int32_t* plus, const std::int32_t* minus,
                       const float* from, float* to) {
  for (long u = begin; u < end; ++u) {
    const float *own = from + u * stride, *next = from + long(plus[u]) * stride,
                *before = from + long(minus[u]) * stride;
    for (long c = 0; c < stride; c += kLanes) {
      const long n = stride - c < kLanes ? stride - c : kLanes;
      store_tail(to + u * stride + c,
                 load_tail(own + c, n) + 0.5f * (load_tail(next + c, n) + load_tail(before + c, n)), n);
    }
  }
}

void lattice_scale_rows(long begin, long end, long stride, const float* factors, float* table) {
  for (long u = begin; u < end; ++u)
    for (long c = 0; c < stride; c += kLanes) {
      const long n = stride - c < kLanes ? stride - c : kLanes;
      store_tail(table + u * stride + c, load_tail(table + u * stride + c, n) * load_tail(factors + c, n), n);
    }
}

void lattice_mix_rows(long begin, long end, long stride, long classes, const float* columns, float* table) {
  float row[kMostFusedClasses];
  for (long u = begin; u < end; ++u) {
    float* own = table + u * stride;
    for (long b = 0; b < classes; ++b) row[b] = own[b];
    for (long c = 0; c < stride; c += kLanes) {
      const long n = stride - c < kLanes ? stride - c : kLanes;
      Vec sum{};
      for (long b = 0; b < classes; ++b) sum += row[b] * load_tail(columns + b * stride + c, n);
      store_tail(own + c, sum, n);
    }
  }
}

float lattice_update_run(const FusedTerm* terms, int count, long points, long classes, long stride,
                         const float* logits, float relax, const float* old, float* q) {
  const long vectors = (classes + kLanes - 1) / kLanes;
  float change = 0;
  for (long i = 0; i < points; ++i) {
    float of_point = 0;
    if (vectors == 1)
      of_point = update_point<1>(terms, count, i, classes, stride, logits, relax, old, q);
    else if (vectors == 2)
      of_point = update_point<2>(terms, count, i, classes, stride, logits, relax, old, q);
    else if (vectors == 3)
      of_point = update_point<3>(terms, count, i, classes, stride, logits, relax, old, q);
    else if (vectors == 4)
      of_point = update_point<4>(terms, count, i, classes, stride, logits, relax, old, q);
    else
      of_point = update_long_point(terms, count, i, classes, stride, logits, relax, old, q);
    change = of_point <= change ? change : of_point;
  }
  return change;
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
