#include "atrous/kernels/conv2d/winograd_simd.h"

#include "atrous/kernels/conv2d/winograd_schemes.h"
#include "atrous/kernels/gemm/gemm_tile_simd.h"
#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {
namespace {

namespace wino = winograd;

template <int S>
struct Bt {
  static constexpr wino::Matrix m = wino::bt(S);
  static constexpr int kIns = wino::ins(S), kPoints = wino::points(S);
};
template <int S>
struct At {
  static constexpr wino::Matrix m = wino::at(S);
};
template <int S>
struct A {  // At, transposed
  static constexpr wino::Matrix m = wino::transposed(wino::at(S));
  static constexpr int kIns = wino::outs(S), kPoints = wino::points(S);
};

// sum over c of M[Row][c] x[c * stride], with the zeros and ones of M gone at compile time.
template <class M, int Row, int Columns, int C = 0, bool First = true>
ATROUS_INLINE Vec dot(const Vec* x, int stride, Vec sum = Vec{}) {
  if constexpr (C == Columns) {
    return sum;
  } else {
    constexpr float m = float(M::m.v[Row][C]);
    if constexpr (m == 0)
      return dot<M, Row, Columns, C + 1, First>(x, stride, sum);
    else if constexpr (First && m == 1)
      return dot<M, Row, Columns, C + 1, false>(x, stride, x[C * stride]);
    else if constexpr (First)
      return dot<M, Row, Columns, C + 1, false>(x, stride, x[C * stride] * m);
    else if constexpr (m == 1)
      return dot<M, Row, Columns, C + 1, false>(x, stride, sum + x[C * stride]);
    else if constexpr (m == -1)
      return dot<M, Row, Columns, C + 1, false>(x, stride, sum - x[C * stride]);
    else
      return dot<M, Row, Columns, C + 1, false>(x, stride, sum + x[C * stride] * m);
  }
}
template <class M, int Rows, int Columns, int R = 0>
ATROUS_INLINE void apply(const Vec* x, int x_stride, Vec* y, int y_stride) {
  if constexpr (R < Rows) {
    y[R * y_stride] = dot<M, R, Columns>(x, x_stride);
    apply<M, Rows, Columns, R + 1>(x, x_stride, y, y_stride);
  }
}

ATROUS_INLINE WinogradPlaces<const float> next_pixels(const WinogradInput& t) { return t.next_pixels; }
ATROUS_INLINE WinogradPlaces<const float> next_pixels(const WinogradOutputGradient&) { return {}; }

// Pixels to pairs of points: points = Mh * pixels * Mw', for whole vectors of channels or the last part of
// one.
template <class Mh, class Mw, bool kWhole, class Args>
ATROUS_INLINE void to_points_at(const Args& t, long c) {
  constexpr int in_h = Mh::kIns, in_w = Mw::kIns, points_h = Mh::kPoints, points_w = Mw::kPoints;
  Vec middle[points_h * in_w];
#pragma GCC unroll 8
  for (int j = 0; j < in_w; ++j) {
    Vec x[in_h];
#pragma GCC unroll 8
    for (int i = 0; i < in_h; ++i) {
      const float* from = t.pixels[i * in_w + j] + c;
      x[i] = kWhole ? load(from) : load_part(from, t.channels - c);
    }
    apply<Mh, points_h, in_h>(x, 1, middle + j, in_w);
  }
  const long place = c / kChunk * t.chunk_step + c % kChunk;
  // Too many streams for the hardware to follow: fetch what is read two vectors ahead, own what is written
  // next; at the end of this patch those of the one that follows.
  const long ahead = c + 2 * kLanes, owned = c + kLanes < t.channels ? t.chunk_step : kChunk - place;
  const bool here = ahead < t.channels || !next_pixels(t).at;
  const WinogradPlaces<const float> fetched = here ? t.pixels : next_pixels(t);
  const long fetched_at = here ? ahead : ahead - t.channels;
#pragma GCC unroll 64
  for (int i = 0; i < in_h * in_w; ++i) __builtin_prefetch(fetched[i] + fetched_at, 0, 3);
#pragma GCC unroll 8
  for (int i = 0; i < points_h; ++i) {
    Vec row[points_w];
    apply<Mw, points_w, in_w>(middle + i * in_w, 1, row, 1);
#pragma GCC unroll 8
    for (int j = 0; j < points_w; ++j) {
      float* to = t.points[i * points_w + j] + place;
      store(to, row[j]);
      __builtin_prefetch(to + owned, 1, 3);
    }
  }
}

template <class Mh, class Mw, class Args>
void to_points(const Args& t) {
  long c = 0;
  for (; c + kLanes <= t.channels; c += kLanes) to_points_at<Mh, Mw, true>(t, c);
  if (c < t.channels) to_points_at<Mh, Mw, false>(t, c);
}

template <int Sh, int Sw>
void output(const WinogradOutput& t) {
  constexpr int out_h = wino::outs(Sh), out_w = wino::outs(Sw), points_h = wino::points(Sh),
                points_w = wino::points(Sw);
  constexpr int kPanel = kTileVectors * kLanes;
  for (long c = 0; c < t.channels; c += kLanes) {
    Vec middle[out_h * points_w];
    const long panel = c / kPanel, at = c % kPanel;
    if (at == 0) {  // the next panel, or the first one of the row behind
      const bool more = c + kPanel < t.channels;
#pragma GCC unroll 64
      for (int i = 0; i < points_h * points_w; ++i)
        for (int v = 0; v < kPanel; v += 16)
          __builtin_prefetch(t.points[i] + (more ? (panel + 1) * t.panel_step[i] : kPanel) + v, 0, 3);
    }
#pragma GCC unroll 8
    for (int j = 0; j < points_w; ++j) {
      Vec x[points_h];
#pragma GCC unroll 8
      for (int i = 0; i < points_h; ++i)
        x[i] = load(t.points[i * points_w + j] + panel * t.panel_step[i * points_w + j] + at);
      apply<At<Sh>, out_h, points_h>(x, 1, middle + j, points_w);
    }
    const Vec bias = t.bias ? load(t.bias + c) : Vec{};
#pragma GCC unroll 8
    for (int i = 0; i < out_h; ++i) {
      Vec row[out_w];
      apply<At<Sw>, out_w, points_w>(middle + i * points_w, 1, row, 1);
#pragma GCC unroll 8
      for (int j = 0; j < out_w; ++j) {
        float* to = t.pixels[i * out_w + j] + c;
        Vec y = row[j] + bias;
        __builtin_prefetch(to + 2 * kLanes, 1, 3);
        if (t.residual.at) {
          const float* more = t.residual[i * out_w + j] + c;
          y += c + kLanes <= t.channels ? load(more) : load_part(more, t.channels - c);
        }
        if (t.activation == 3)
          y = hard_swish(y);
        else if (t.activation)
          y = y <= Vec{} ? Vec{} : y;
        if (t.activation == 2) y = y >= broadcast(6.0f) ? broadcast(6.0f) : y;
        if (c + kLanes <= t.channels)
          store(to, y);
        else
          store_part(to, y, t.channels - c);
      }
    }
  }
}

struct G {
  static constexpr struct Rows {
    double v[wino::kRowsOfG][3];
  } m = [] {
    Rows g{};
    for (int i = 0; i < wino::kRowsOfG; ++i)
      for (int t = 0; t < 3; ++t) g.v[i][t] = wino::g(i, t);
    return g;
  }();
};

// One vector of each pair of rows of G from the nine taps w, row I of G and later: first along the columns of
// the window, then along its rows.
template <int J = 0>
ATROUS_INLINE void weight_columns(const Vec* middle, const int* slots, float* to, long to_step,
                                  bool past_cache) {
  if constexpr (J < wino::kRowsOfG) {
    if (slots[J] >= 0) {
      const Vec y = dot<G, J, 3>(middle, 1);
      if (past_cache)
        store_past_cache(to + slots[J] * to_step, y);
      else
        store(to + slots[J] * to_step, y);
    }
    weight_columns<J + 1>(middle, slots, to, to_step, past_cache);
  }
}
template <int I = 0>
ATROUS_INLINE void weight_rows(const Vec* w, const int* slots, const bool* used, float* to, long to_step,
                               bool past_cache) {
  if constexpr (I < wino::kRowsOfG) {
    if (used[I]) {
      Vec middle[3];
#pragma GCC unroll 3
      for (int s = 0; s < 3; ++s) middle[s] = dot<G, I, 3>(w + s, 3);
      weight_columns(middle, slots + I * wino::kRowsOfG, to, to_step, past_cache);
    }
    weight_rows<I + 1>(w, slots, used, to, to_step, past_cache);
  }
}

// Calls Function<Sh, Sw>::run(args) for schemes that are known at run time.
template <template <int, int> class Function, int Sh, class Args>
void choose_w(const Args& args) {
  switch (args.scheme_w) {
    case wino::kT1:
      return Function<Sh, wino::kT1>::run(args);
    case wino::kT2:
      return Function<Sh, wino::kT2>::run(args);
    case wino::kF2:
      return Function<Sh, wino::kF2>::run(args);
    case wino::kF3:
      return Function<Sh, wino::kF3>::run(args);
    case wino::kF4:
      return Function<Sh, wino::kF4>::run(args);
    case wino::kF5:
      return Function<Sh, wino::kF5>::run(args);
    default:
      return Function<Sh, wino::kF6>::run(args);
  }
}
template <template <int, int> class Function, class Args>
void choose(const Args& args) {
  switch (args.scheme_h) {
    case wino::kT1:
      return choose_w<Function, wino::kT1>(args);
    case wino::kT2:
      return choose_w<Function, wino::kT2>(args);
    case wino::kF2:
      return choose_w<Function, wino::kF2>(args);
    case wino::kF3:
      return choose_w<Function, wino::kF3>(args);
    case wino::kF4:
      return choose_w<Function, wino::kF4>(args);
    case wino::kF5:
      return choose_w<Function, wino::kF5>(args);
    default:
      return choose_w<Function, wino::kF6>(args);
  }
}
template <int Sh, int Sw>
struct Input {
  static void run(const WinogradInput& t) { to_points<Bt<Sh>, Bt<Sw>>(t); }
};
template <int Sh, int Sw>
struct OutputGradient {
  static void run(const WinogradOutputGradient& t) { to_points<A<Sh>, A<Sw>>(t); }
};
template <int Sh, int Sw>
struct Output {
  static void run(const WinogradOutput& t) { output<Sh, Sw>(t); }
};

}  // namespace

void winograd_input(const WinogradInput& t) { choose<Input>(t); }
void winograd_output(const WinogradOutput& t) { choose<Output>(t); }
void winograd_output_gradient(const WinogradOutputGradient& t) { choose<OutputGradient>(t); }

void winograd_weight(const float* from, std::int64_t tap_step, std::int64_t row_step, std::int64_t rows,
                     int width, const int* slots, float* to, std::int64_t to_step, bool past_cache) {
  bool used[wino::kRowsOfG];
  for (int i = 0; i < wino::kRowsOfG; ++i) {
    used[i] = false;
    for (int j = 0; j < wino::kRowsOfG; ++j) used[i] |= slots[i * wino::kRowsOfG + j] >= 0;
  }
  for (std::int64_t row = 0; row < rows; ++row, from += row_step, to += width)
    for (int k = 0; k < width; k += kLanes) {
      Vec w[9];
#pragma GCC unroll 9
      for (int t = 0; t < 9; ++t) w[t] = load(from + t * tap_step + k);
      weight_rows(w, slots, used, to + k, to_step, past_cache);
    }
}

void winograd_weight_gradient(const float* from, std::int64_t stride, const float* factors, int slots,
                              std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    Vec sum[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) sum[t] = Vec{};
    for (int slot = 0; slot < slots; ++slot) {
      const Vec x = load(from + slot * stride + i);
#pragma GCC unroll 9
      for (int t = 0; t < 9; ++t) sum[t] += x * factors[9 * slot + t];
    }
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) store(to + t * count + i, sum[t]);
  }
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
