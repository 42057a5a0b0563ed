#include "atrous/kernels/conv2d/tap_plan.h"

#include <algorithm>
#include <numeric>

namespace atrous::kernels {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
// Rounded towards minus infinity; b > 0.
std::int64_t divide_down(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -divide_up(-a, b); }

std::int64_t end_tap(const TapAxis& axis, const TapPiece& p) {
  return p.tap + std::int64_t(p.taps) * axis.tap_step;
}

// Cuts `count` positions that start as `whole` does, with all its taps, where the set of live taps changes.
// Offsets rise or fall with the tap, so live taps are neighbours.
void cut(const TapAxis& axis, const TapPiece& whole, std::vector<TapPiece>& pieces) {
  // Tap t is live for the positions i in [begin, end).
  const auto live = [&](std::int64_t t) {
    const std::int64_t start = whole.source + t * axis.tap_source_step;
    const std::int64_t begin =
        std::max<std::int64_t>(0, divide_up(-std::min<std::int64_t>(start, 0), axis.source_step));
    const std::int64_t end = divide_down(axis.source - 1 - start, axis.source_step) + 1;
    return std::pair(begin, std::clamp<std::int64_t>(end, begin, std::max<std::int64_t>(begin, whole.count)));
  };
  std::vector<std::int64_t> cuts{0, whole.count};
  for (std::int64_t t = 0; t < whole.taps; ++t)
    for (const std::int64_t at : {live(t).first, live(t).second})
      if (at > 0 && at < whole.count) cuts.push_back(at);
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  for (std::size_t k = 0; k + 1 < cuts.size(); ++k) {
    std::int64_t first = whole.taps, last = -1;
    for (std::int64_t t = 0; t < whole.taps; ++t)
      if (const auto [begin, end] = live(t); begin <= cuts[k] && cuts[k] < end) {
        first = std::min(first, t);
        last = t;
      }
    if (last < 0) first = 0;
    pieces.push_back({std::int32_t(whole.at + cuts[k] * axis.step), std::int32_t(cuts[k + 1] - cuts[k]),
                      std::int32_t(whole.source + cuts[k] * axis.source_step + first * axis.tap_source_step),
                      std::int32_t(whole.tap + first * axis.tap_step), std::int32_t(last + 1 - first)});
  }
}

bool neighbours(const TapAxis& axis, const TapPiece& a, const TapPiece& b) {
  return a.at + a.count * axis.step == b.at;
}

// The piece of two neighbours, with every tap of either (and those between).
TapPiece merged(const TapAxis& axis, const TapPiece& a, const TapPiece& b) {
  TapPiece both = a;
  both.count += b.count;
  if (b.taps == 0) return both;
  // Where a would read through the first tap of b.
  const std::int32_t b_source = b.source - a.count * axis.source_step;
  if (a.taps == 0 || b.tap < a.tap) {
    both.tap = b.tap;
    both.source = b_source;
  }
  const std::int64_t end = a.taps == 0 ? end_tap(axis, b) : std::max(end_tap(axis, a), end_tap(axis, b));
  both.taps = std::int32_t((end - both.tap) / axis.tap_step);
  return both;
}

void merge_at(const TapAxis& axis, std::vector<TapPiece>& pieces, std::size_t i) {
  pieces[i] = merged(axis, pieces[i], pieces[i + 1]);
  pieces.erase(pieces.begin() + std::ptrdiff_t(i) + 1);
}

// Down to kMostPieces, by the taps that a merge adds along this axis alone.
void limit(const TapAxis& axis, std::vector<TapPiece>& pieces) {
  while (std::int64_t(pieces.size()) > kMostPieces) {
    std::int64_t least = -1;
    std::size_t best = 0;
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      const TapPiece &a = pieces[i], &b = pieces[i + 1];
      if (!neighbours(axis, a, b)) continue;
      const TapPiece both = merged(axis, a, b);
      const std::int64_t more =
          std::int64_t(both.taps - a.taps) * a.count + std::int64_t(both.taps - b.taps) * b.count;
      if (least < 0 || more < least) least = more, best = i;
    }
    if (least < 0) return;
    merge_at(axis, pieces, best);
  }
}

// out[o] reads o*stride - before + r*rate through tap r.
void forward_pieces(TapAxis& axis, std::vector<TapPiece>& pieces, std::int64_t out, std::int64_t in,
                    std::int64_t taps, std::int64_t before, std::int64_t rate, std::int64_t stride) {
  axis = {std::int32_t(out), std::int32_t(in), 1, std::int32_t(stride), std::int32_t(rate), 1};
  cut(axis, {0, std::int32_t(out), std::int32_t(-before), 0, std::int32_t(taps)}, pieces);
}

// The inverse: position at = phase + i*stride gathers from (at + before - r*rate) / stride through the taps r
// for which that is whole: every (stride / gcd)-th.
void backward_pieces(TapAxis& axis, std::vector<TapPiece>& pieces, std::int64_t in, std::int64_t out,
                     std::int64_t taps, std::int64_t before, std::int64_t rate, std::int64_t stride) {
  const std::int64_t common = std::gcd(rate, stride), tap_step = stride / common;
  axis = {std::int32_t(in),      std::int32_t(out), std::int32_t(stride), 1, std::int32_t(-rate / common),
          std::int32_t(tap_step)};
  for (std::int64_t phase = 0; phase < std::min(stride, in); ++phase) {
    std::int64_t first = 0;
    while (first < tap_step && (phase + before - first * rate) % stride != 0) ++first;
    const bool any = first < tap_step && first < taps;
    const TapPiece whole{std::int32_t(phase), std::int32_t(divide_up(in - phase, stride)),
                         any ? std::int32_t((phase + before - first * rate) / stride) : 0,
                         any ? std::int32_t(first) : 0,
                         any ? std::int32_t(divide_up(taps - first, tap_step)) : 0};
    cut(axis, whole, pieces);
  }
}

}  // namespace

bool fits_tiles(const Conv2dDims& d) {
  constexpr std::int64_t kSmall = std::int64_t(1) << 30;
  const auto farthest = [](std::int64_t in, std::int64_t out, std::int64_t before, std::int64_t taps,
                           std::int64_t rate, std::int64_t stride) {
    return std::max(in, out) * stride + std::max<std::int64_t>(before, 0) + taps * rate;
  };
  return d.in_pixels() < kSmall && d.out_pixels() < kSmall &&
         farthest(d.in_h, d.out_h, d.padding.top, d.window_h, d.rate.h, d.stride.h) < kSmall &&
         farthest(d.in_w, d.out_w, d.padding.left, d.window_w, d.rate.w, d.stride.w) < kSmall;
}

std::int64_t TapPlan::tiles(const TapPiece& row, const TapPiece& column) const {
  return divide_up(batch * row.count * column.count, tile_pixels);
}

std::int64_t TapPlan::tiles() const {
  std::int64_t sum = 0;
  for (const TapPiece& row : rows)
    for (const TapPiece& column : columns) sum += tiles(row, column);
  return sum;
}

std::int64_t TapPlan::tile_taps() const {
  std::int64_t sum = 0;
  for (const TapPiece& row : rows)
    for (const TapPiece& column : columns) sum += tiles(row, column) * row.taps * column.taps;
  return sum;
}

TapPlan make_tap_plan(Gather direction, const Conv2dDims& d, int tile_pixels) {
  TapPlan plan{.row_axis = {},
               .column_axis = {},
               .rows = {},
               .columns = {},
               .batch = d.batch,
               .tile_pixels = tile_pixels};
  if (direction == Gather::forward) {
    forward_pieces(plan.row_axis, plan.rows, d.out_h, d.in_h, d.window_h, d.padding.top, d.rate.h,
                   d.stride.h);
    forward_pieces(plan.column_axis, plan.columns, d.out_w, d.in_w, d.window_w, d.padding.left, d.rate.w,
                   d.stride.w);
  } else {
    backward_pieces(plan.row_axis, plan.rows, d.in_h, d.out_h, d.window_h, d.padding.top, d.rate.h,
                    d.stride.h);
    backward_pieces(plan.column_axis, plan.columns, d.in_w, d.out_w, d.window_w, d.padding.left, d.rate.w,
                    d.stride.w);
  }
  limit(plan.row_axis, plan.rows);
  limit(plan.column_axis, plan.columns);
  // What merging pieces a and b of one axis adds, in tile-taps; `across` are the pieces of the other.
  const auto added = [&](const TapAxis& axis, const TapPiece& a, const TapPiece& b,
                         const std::vector<TapPiece>& across) {
    const TapPiece both = merged(axis, a, b);
    std::int64_t sum = 0;
    for (const TapPiece& o : across)
      sum +=
          o.taps * (plan.tiles(both, o) * both.taps - plan.tiles(a, o) * a.taps - plan.tiles(b, o) * b.taps);
    return sum;
  };
  for (bool again = true; again;) {
    again = false;
    for (const bool by_rows : {true, false}) {
      const TapAxis& axis = by_rows ? plan.row_axis : plan.column_axis;
      std::vector<TapPiece>& pieces = by_rows ? plan.rows : plan.columns;
      const std::vector<TapPiece>& across = by_rows ? plan.columns : plan.rows;
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i)
        if (neighbours(axis, pieces[i], pieces[i + 1]) &&
            added(axis, pieces[i], pieces[i + 1], across) <= 0) {
          merge_at(axis, pieces, i--);
          again = true;
        }
    }
  }
  return plan;
}

namespace {

using SumPieces = TapSumPlan::Pieces;

SumPieces merged(const std::vector<TapAxis>& axes, const SumPieces& a, const SumPieces& b) {
  SumPieces both;
  for (std::size_t t = 0; t < axes.size(); ++t) both.push_back(merged(axes[t], a[t], b[t]));
  return both;
}

// The pieces of all terms, cut wherever one of them is.
std::vector<SumPieces> common_pieces(const std::vector<TapAxis>& axes,
                                     const std::vector<std::vector<TapPiece>>& of_terms) {
  std::vector<std::int32_t> cuts;
  for (const auto& pieces : of_terms)
    for (const TapPiece& p : pieces) cuts.push_back(p.at);
  cuts.push_back(axes[0].destination);
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<SumPieces> common;
  for (std::size_t k = 0; k + 1 < cuts.size(); ++k) {
    SumPieces row;
    for (std::size_t t = 0; t < axes.size(); ++t) {
      const auto whole = std::find_if(of_terms[t].begin(), of_terms[t].end(), [&](const TapPiece& p) {
        return p.at <= cuts[k] && cuts[k] < p.at + p.count;
      });
      TapPiece part = *whole;
      part.at = cuts[k];
      part.count = cuts[k + 1] - cuts[k];
      part.source += (cuts[k] - whole->at) * axes[t].source_step;
      row.push_back(part);
    }
    common.push_back(std::move(row));
  }
  return common;
}

// Merges the neighbours for which `added` is least, while it is below 1 or there are more than kMostPieces.
template <class Added>
bool merge_pieces(const std::vector<TapAxis>& axes, std::vector<SumPieces>& pieces, const Added& added) {
  bool any = false;
  while (pieces.size() > 1) {
    std::size_t best = 0;
    std::int64_t least = -1;
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      const std::int64_t more = std::max<std::int64_t>(added(pieces[i], pieces[i + 1]), 0);
      if (least < 0 || more < least) least = more, best = i;
    }
    if (least > 0 && std::int64_t(pieces.size()) <= kMostPieces) break;
    pieces[best] = merged(axes, pieces[best], pieces[best + 1]);
    pieces.erase(pieces.begin() + std::ptrdiff_t(best) + 1);
    any = true;
  }
  return any;
}

}  // namespace

std::int64_t TapSumPlan::tiles(const Pieces& row, const Pieces& column) const {
  return divide_up(batch * row[0].count * column[0].count, tile_pixels);
}

TapSumPlan make_tap_sum_plan(Gather direction, const std::vector<Conv2dDims>& dims, int tile_pixels) {
  TapSumPlan plan{.row_axes = {},
                  .column_axes = {},
                  .rows = {},
                  .columns = {},
                  .batch = dims[0].batch,
                  .tile_pixels = tile_pixels};
  std::vector<std::vector<TapPiece>> rows, columns;
  for (const Conv2dDims& d : dims) {
    TapPlan own = make_tap_plan(direction, d, 1);  // merged where that multiplies no more
    plan.row_axes.push_back(own.row_axis);
    plan.column_axes.push_back(own.column_axis);
    rows.push_back(std::move(own.rows));
    columns.push_back(std::move(own.columns));
  }
  plan.rows = common_pieces(plan.row_axes, rows);
  plan.columns = common_pieces(plan.column_axes, columns);
  const auto channels = [&](std::size_t t) {
    return direction == Gather::forward ? dims[t].in_channels : dims[t].out_channels;
  };
  // What the tiles of a rectangle multiply.
  const auto cost = [&](const SumPieces& a, const SumPieces& b) {
    std::int64_t sum = 0;
    for (std::size_t t = 0; t < dims.size(); ++t) sum += a[t].taps * b[t].taps * channels(t);
    return sum * plan.tiles(a, b);
  };
  for (bool again = true; again;) {
    again = false;
    for (const bool by_rows : {true, false}) {
      const auto& axes = by_rows ? plan.row_axes : plan.column_axes;
      const auto& across = by_rows ? plan.columns : plan.rows;
      again |=
          merge_pieces(axes, by_rows ? plan.rows : plan.columns, [&](const SumPieces& a, const SumPieces& b) {
            const SumPieces both = merged(axes, a, b);
            std::int64_t more = 0;
            for (const SumPieces& o : across) more += cost(both, o) - cost(a, o) - cost(b, o);
            return more;
          });
    }
  }
  return plan;
}

}  // namespace atrous::kernels
