#include "atrous/kernels/conv2d/implicit_gemm.h"

#include <algorithm>

namespace atrous::kernels {
namespace {

// Blocks that an H200 holds at once: 132 multiprocessors with two each. A constant, so that sums do not
// depend on the device; smaller ones lose little.
constexpr int kSlots = 264;
// Steps of a slice at least: below, filling the pipeline and adding up cost more than is won.
constexpr std::int64_t kLeastSteps = 8;

// Pieces and shapes of a problem, or of the terms of a sum.
struct Planned {
  TapSumPlan plan;
  std::vector<GatherShape> shapes;
  bool exact;  // how sums are cut may not depend on sizes: they are not
};

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

GatherShape shape_of(Gather direction, const Conv2dDims& d, const TapAxis& rows, const TapAxis& columns) {
  const bool forward = direction == Gather::forward;
  const auto channels = std::int32_t(forward ? d.in_channels : d.out_channels),
             outputs = std::int32_t(forward ? d.out_channels : d.in_channels);
  return {std::int32_t(d.batch),    rows,     columns, channels, outputs,
          std::int32_t(d.window_w), channels, outputs};
}

Planned planned(Gather direction, const Conv2dDims& d) {
  const TapPlan plan = make_tap_plan(direction, d, kTilePixels);
  Planned one{{.row_axes = {plan.row_axis},
               .column_axes = {plan.column_axis},
               .rows = {},
               .columns = {},
               .batch = plan.batch,
               .tile_pixels = plan.tile_pixels},
              {shape_of(direction, d, plan.row_axis, plan.column_axis)},
              d.exact};
  for (const TapPiece& row : plan.rows) one.plan.rows.push_back({row});
  for (const TapPiece& column : plan.columns) one.plan.columns.push_back({column});
  return one;
}

// Collects the rectangles of a launch, then puts them in order and cuts the last wave.
class Builder {
 public:
  Builder(const GatherTile& tile, int terms) : tile_(tile) {
    s_.columns = tile.outputs;
    s_.terms = terms;
  }

  bool has_room(std::size_t rows, std::size_t columns) const {
    return s_.problem_count + s_.terms <= kLaunchProblems &&
           pieces_ + (rows + columns) * std::size_t(s_.terms) <= std::size_t(kLaunchPieces) &&
           entries_.size() + rows * columns <= std::size_t(kLaunchRectangles);
  }

  // Rows [begin, end) of the plan of problem `place` (and those that follow it, if it is a sum).
  void add(const Planned& p, std::size_t place, std::size_t begin, std::size_t end) {
    const std::uint8_t problem = std::uint8_t(s_.problem_count);
    exact_ = exact_ || p.exact;
    for (const GatherShape& shape : p.shapes) {
      s_.problems[s_.problem_count] = std::int32_t(place++);
      s_.shapes[s_.problem_count++] = shape;
    }
    const std::size_t terms = p.shapes.size(), first_row = pieces_,
                      first_column = pieces_ + (end - begin) * terms;
    for (std::size_t i = begin; i < end; ++i)
      for (const TapPiece& row : p.plan.rows[i]) s_.pieces[pieces_++] = row;
    for (const auto& columns : p.plan.columns)
      for (const TapPiece& column : columns) s_.pieces[pieces_++] = column;
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t j = 0; j < p.plan.columns.size(); ++j) {
        const auto &row = p.plan.rows[i], &column = p.plan.columns[j];
        std::int64_t steps = 0;
        for (std::size_t t = 0; t < terms; ++t)
          steps += tile_.steps(std::int64_t(row[t].taps) * column[t].taps, p.shapes[t].channels);
        entries_.push_back({{0, problem, std::uint8_t(first_row + (i - begin) * terms),
                             std::uint8_t(first_column + j * terms)},
                            p.plan.tiles(row, column) * divide_up(p.shapes[0].outputs, s_.columns),
                            steps});
      }
  }

  bool empty() const { return entries_.empty(); }

  TileSchedule finish() {
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const Entry& a, const Entry& b) { return a.steps > b.steps; });
    std::int64_t tiles = 0;
    for (Entry& e : entries_) {
      e.rectangle.first_tile = std::int32_t(tiles);
      s_.rectangles[s_.rectangle_count++] = e.rectangle;
      tiles += e.tiles;
    }
    s_.tiles = s_.whole = std::int32_t(tiles);
    s_.slices = 1;
    const std::int64_t tail = tiles % tile_.slots;
    if (tail == 0 || exact_) return s_;
    const auto first = std::find_if(entries_.rbegin(), entries_.rend(),
                                    [&](const Entry& e) { return e.rectangle.first_tile <= tiles - tail; });
    const std::int64_t slices = std::min(tile_.slots / tail, first->steps / kLeastSteps);
    if (slices < 2) return s_;
    s_.whole = std::int32_t(tiles - tail);
    s_.slices = std::int32_t(slices);
    return s_;
  }

 private:
  struct Entry {
    TileRectangle rectangle;
    std::int64_t tiles, steps;
  };
  TileSchedule s_{};
  std::size_t pieces_ = 0;
  std::vector<Entry> entries_;
  GatherTile tile_;
  bool exact_ = false;  // any of the problems
};

// Of the kernels on mma.sync and on multiply-adds.
GatherTile mma_tile(std::int64_t outputs, int element_bytes) {
  return {tile_outputs(outputs, element_bytes), 64 / element_bytes, false, kSlots};
}

// Phases of the stride that pieces must stand for.
std::int64_t phases(Gather direction, std::int64_t stride, std::int64_t destination) {
  return direction == Gather::forward ? 1 : std::min(stride, destination);
}

}  // namespace

std::int64_t gather_outputs(Gather direction, const Conv2dDims& dims) {
  return direction == Gather::forward ? dims.out_channels : dims.in_channels;
}

std::int64_t GatherTile::steps(std::int64_t taps, std::int64_t channels) const {
  return whole_taps ? taps * divide_up(channels, depth) : divide_up(taps * channels, depth);
}

int tile_outputs(std::int64_t outputs, int element_bytes) {
  return element_bytes > 2 || outputs <= 64 || (outputs > 128 && outputs <= 192) ? 64 : 128;
}

bool takes_implicit_gemm(Gather direction, const Conv2dDims& d) {
  constexpr std::int64_t kSmall = std::int64_t(1) << 30;
  const std::int64_t channels = direction == Gather::forward ? d.in_channels : d.out_channels;
  return fits_tiles(d) && channels < (1 << 15) && d.taps() * channels * channels < (std::int64_t(1) << 32) &&
         d.out_pixels() / kTilePixels * d.out_channels < kSmall &&
         d.in_pixels() / kTilePixels * d.in_channels < kSmall &&
         phases(direction, d.stride.w, d.in_w) <= kLaunchPieces / 2;
}

std::vector<TileSchedule> make_tile_schedules(const std::vector<Gather>& directions,
                                              const std::vector<Conv2dDims>& dims, int element_bytes) {
  if (dims.empty()) return {};
  return make_tile_schedules(directions, dims,
                             mma_tile(gather_outputs(directions[0], dims[0]), element_bytes));
}

std::vector<TileSchedule> make_tile_schedules(const std::vector<Gather>& directions,
                                              const std::vector<Conv2dDims>& dims, const GatherTile& tile) {
  std::vector<TileSchedule> schedules;
  Builder builder(tile, 1);
  const auto next = [&] {
    if (!builder.empty()) schedules.push_back(builder.finish());
    builder = Builder(tile, 1);
  };
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const Planned p = planned(directions[i], dims[i]);
    // All rows at once, or as many as an empty launch holds.
    const std::size_t columns = p.plan.columns.size(), all = p.plan.rows.size();
    for (std::size_t row = 0; row < all;) {
      std::size_t count = all - row;
      if (!builder.has_room(count, columns)) next();
      while (!builder.has_room(count, columns)) --count;
      builder.add(p, i, row, row + count);
      row += count;
    }
  }
  next();
  return schedules;
}

TileSchedule make_sum_schedule(Gather direction, const std::vector<Conv2dDims>& dims, int element_bytes) {
  Planned sum{make_tap_sum_plan(direction, dims, kTilePixels), {}, false};
  for (std::size_t t = 0; t < dims.size(); ++t)
    sum.shapes.push_back(shape_of(direction, dims[t], sum.plan.row_axes[t], sum.plan.column_axes[t]));
  Builder builder(mma_tile(gather_outputs(direction, dims[0]), element_bytes), int(dims.size()));
  builder.add(sum, 0, 0, sum.plan.rows.size());  // there is room: kMostPieces an axis
  return builder.finish();
}

std::vector<TileSchedule> branch_schedules(Gather direction, const std::vector<Conv2dDims>& dims,
                                           int element_bytes) {
  if (direction == Gather::forward)
    return make_tile_schedules(std::vector(dims.size(), direction), dims, element_bytes);
  return {make_sum_schedule(direction, dims, element_bytes)};
}

bool branches_take_implicit_gemm(Gather direction, const std::vector<Conv2dDims>& dims, int element_bytes) {
  if (direction == Gather::backward_input && dims.size() > std::size_t(kLaunchProblems)) return false;
  if (element_bytes == 2 && dims[0].exact) return false;  // plain_in_exact()
  const int tile = tile_outputs(gather_outputs(direction, dims[0]), element_bytes);
  return std::all_of(dims.begin(), dims.end(), [&](const Conv2dDims& d) {
    return takes_implicit_gemm(direction, d) && d.stride == PerAxis(1) &&
           tile_outputs(gather_outputs(direction, d), element_bytes) == tile;
  });
}

std::int64_t implicit_gemm_partial_sums(const std::vector<TileSchedule>& schedules) {
  std::int64_t most = 0;
  for (const TileSchedule& s : schedules) most = std::max(most, s.partial_tiles() * kTilePixels * s.columns);
  return most;
}

std::int64_t implicit_gemm_moments(const std::vector<TileSchedule>& schedules) {
  std::int64_t most = 0;
  for (const TileSchedule& s : schedules) most = std::max(most, 2 * s.moment_pieces() * s.columns);
  return most;
}

}  // namespace atrous::kernels
