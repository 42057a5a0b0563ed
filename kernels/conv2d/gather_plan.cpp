#include "atrous/kernels/conv2d/gather_plan.h"

#include <algorithm>

namespace atrous::kernels {
namespace {

void add_position(GatherAxis& axis, const RecycledVector<GatherAxis::Tap>& taps,
                  const GatherAxis::Position& position) {
  auto& classes = axis.classes;
  // Neighbours mostly share their class, or alternate with the phase of a stride.
  auto found = std::find_if(classes.rbegin(), classes.rend(), [&](const auto& c) { return c.taps == taps; });
  if (found != classes.rend())
    found->positions.push_back(position);
  else
    classes.push_back({taps, {position}});
}

}  // namespace

GatherAxis forward_axis(std::int64_t out, std::int64_t in, std::int64_t taps, std::int64_t before,
                        std::int64_t rate, std::int64_t stride) {
  GatherAxis axis;
  RecycledVector<GatherAxis::Tap> live;
  for (std::int64_t o = 0; o < out; ++o) {
    const TapRange range = live_taps(o, in, before, taps, rate, stride);
    live.clear();
    for (std::int64_t t = range.first; t < range.end; ++t) live.push_back({t, t * rate});
    add_position(axis, live, {o, o * stride - before});
  }
  return axis;
}

GatherAxis backward_axis(std::int64_t in, std::int64_t out, std::int64_t taps, std::int64_t before,
                         std::int64_t rate, std::int64_t stride) {
  GatherAxis axis;
  RecycledVector<GatherAxis::Tap> live;
  for (std::int64_t i = 0; i < in; ++i) {
    const std::int64_t base = (i + before) / stride;
    live.clear();
    for (std::int64_t t = 0; t < taps; ++t)
      if (const std::int64_t o = reader_of(i, t, out, before, rate, stride); o >= 0)
        live.push_back({t, o - base});
    add_position(axis, live, {i, base});
  }
  return axis;
}

GatherPlan GatherPlan::forward(const Conv2dDims& d, int tile_rows) {
  GatherPlan plan;
  plan.row_axis = forward_axis(d.out_h, d.in_h, d.window_h, d.padding.top, d.rate.h, d.stride.h);
  plan.column_axis = forward_axis(d.out_w, d.in_w, d.window_w, d.padding.left, d.rate.w, d.stride.w);
  plan.set_sizes(d);
  plan.cut(d.batch, d.window_w, tile_rows);
  return plan;
}

GatherPlan GatherPlan::windows(const Conv2dDims& d, int tile_rows) {
  const auto axis = [](std::int64_t out, std::int64_t before, std::int64_t stride) {
    GatherAxis all;
    all.classes.push_back({{{0, 0}}, {}});
    for (std::int64_t o = 0; o < out; ++o) all.classes[0].positions.push_back({o, o * stride - before});
    return all;
  };
  GatherPlan plan;
  plan.row_axis = axis(d.out_h, d.padding.top, d.stride.h);
  plan.column_axis = axis(d.out_w, d.padding.left, d.stride.w);
  plan.set_sizes(d);
  plan.cut(d.batch, 1, tile_rows);
  return plan;
}

GatherPlan GatherPlan::backward_input(const Conv2dDims& d, int tile_rows) {
  GatherPlan plan;
  plan.row_axis = backward_axis(d.in_h, d.out_h, d.window_h, d.padding.top, d.rate.h, d.stride.h);
  plan.column_axis = backward_axis(d.in_w, d.out_w, d.window_w, d.padding.left, d.rate.w, d.stride.w);
  plan.source_h = d.out_h, plan.source_w = d.out_w, plan.source_channels = d.out_channels;
  plan.destination_h = d.in_h, plan.destination_w = d.in_w, plan.destination_channels = d.in_channels;
  plan.cut(d.batch, d.window_w, tile_rows);
  return plan;
}

void GatherPlan::set_sizes(const Conv2dDims& d) {
  source_h = d.in_h, source_w = d.in_w, source_channels = d.in_channels;
  destination_h = d.out_h, destination_w = d.out_w, destination_channels = d.out_channels;
}

void GatherPlan::cut(std::int64_t batch, std::int64_t window_w, int tile_rows) {
  for (const auto& rows : row_axis.classes)
    for (const auto& columns : column_axis.classes) {
      Region region{&rows, &columns, {}, 0, 0, tiles, 0};
      for (const auto& r : rows.taps)
        for (const auto& s : columns.taps)
          region.taps.push_back(
              {r.index * window_w + s.index, (r.offset * source_w + s.offset) * source_channels});
      region.pixels = batch * std::int64_t(rows.positions.size() * columns.positions.size());
      if (region.pixels == 0) continue;
      region.tiles = (region.pixels + tile_rows - 1) / tile_rows;
      // A tile without taps still writes its outputs; a small one costs no less than half a tile.
      region.cost = (double(region.taps.size()) + 0.1) *
                    std::max(0.5 * tile_rows, double(region.pixels) / double(region.tiles));
      tiles += region.tiles;
      regions.push_back(std::move(region));
    }
}

void GatherPlan::pixels(const Region& region, std::int64_t begin, int count, GatherPixel* to) const {
  const auto &rows = region.rows->positions, &columns = region.columns->positions;
  const std::int64_t row_count = std::int64_t(rows.size()), column_count = std::int64_t(columns.size());
  std::int64_t column = begin % column_count, row = begin / column_count % row_count,
               image = begin / column_count / row_count;
  for (int i = 0; i < count; ++i) {
    const auto &r = rows[std::size_t(row)], &c = columns[std::size_t(column)];
    to[i] = {((image * source_h + r.base) * source_w + c.base) * source_channels,
             ((image * destination_h + r.out) * destination_w + c.out) * destination_channels, r.base,
             c.base};
    if (++column < column_count) continue;
    column = 0;
    if (++row < row_count) continue;
    row = 0, ++image;
  }
}

const GatherPlan::Region& GatherPlan::region_of(std::int64_t tile) const {
  const auto after = std::upper_bound(regions.begin(), regions.end(), tile,
                                      [](std::int64_t t, const Region& r) { return t < r.first_tile; });
  return *std::prev(after);
}

std::int64_t GatherPlan::part_begin(int i, int parts) const {
  if (i >= parts) return tiles;
  double all = 0;
  for (const Region& r : regions) all += r.cost * double(r.tiles);
  double left = all * i / parts;
  for (const Region& r : regions) {
    const double cost = r.cost * double(r.tiles);
    if (left < cost) return r.first_tile + std::int64_t(left / r.cost);
    left -= cost;
  }
  return tiles;
}

}  // namespace atrous::kernels
