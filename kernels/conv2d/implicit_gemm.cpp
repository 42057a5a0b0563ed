#include "atrous/kernels/conv2d/implicit_gemm.h"

#include <algorithm>

namespace atrous::kernels {
namespace {

// Blocks that an H200 holds at once: 132 multiprocessors with two each. A constant, so that sums do not
// depend on the device; smaller ones lose little.
constexpr std::int64_t kSlots = 264;
// Steps of a slice at least: below, filling the pipeline and adding up cost more than is won.
constexpr std::int64_t kLeastSteps = 8;

struct Planned {
  TapPlan plan;
  GatherShape shape;
};

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

Planned planned(Gather direction, const Conv2dDims& d) {
  TapPlan plan = make_tap_plan(direction, d, kTilePixels);
  const bool forward = direction == Gather::forward;
  const GatherShape shape{std::int32_t(d.batch),
                          plan.row_axis,
                          plan.column_axis,
                          std::int32_t(forward ? d.in_channels : d.out_channels),
                          std::int32_t(forward ? d.out_channels : d.in_channels),
                          std::int32_t(d.window_w)};
  return {std::move(plan), shape};
}

// Collects the rectangles of a launch, then puts them in order and cuts the last wave.
class Builder {
 public:
  Builder(int element_bytes, int outputs) : depth_(64 / element_bytes), outputs_(outputs) {}

  bool has_room(std::size_t rows, std::size_t columns) const {
    return s_.problem_count < kLaunchProblems && pieces_ + rows + columns <= std::size_t(kLaunchPieces) &&
           entries_.size() + rows * columns <= std::size_t(kLaunchRectangles);
  }

  // Rows [begin, end) of the plan of problem `place`.
  void add(const Planned& p, std::size_t place, std::size_t begin, std::size_t end) {
    const std::uint8_t problem = std::uint8_t(s_.problem_count++);
    s_.problems[problem] = std::int32_t(place);
    s_.shapes[problem] = p.shape;
    const std::size_t first_row = pieces_, first_column = pieces_ + (end - begin);
    for (std::size_t i = begin; i < end; ++i) s_.pieces[pieces_++] = p.plan.rows[i];
    for (const TapPiece& column : p.plan.columns) s_.pieces[pieces_++] = column;
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t j = 0; j < p.plan.columns.size(); ++j) {
        const TapPiece &row = p.plan.rows[i], &column = p.plan.columns[j];
        entries_.push_back({{0, problem, std::uint8_t(first_row + i - begin), std::uint8_t(first_column + j)},
                            p.plan.tiles(row, column) * divide_up(p.shape.outputs, outputs_),
                            divide_up(std::int64_t(row.taps) * column.taps * p.shape.channels, depth_)});
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
    const std::int64_t tail = tiles % kSlots;
    if (tail == 0) return s_;
    const auto first = std::find_if(entries_.rbegin(), entries_.rend(),
                                    [&](const Entry& e) { return e.rectangle.first_tile <= tiles - tail; });
    const std::int64_t slices = std::min(kSlots / tail, first->steps / kLeastSteps);
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
  std::int64_t depth_, outputs_;
};

// Phases of the stride that pieces must stand for.
std::int64_t phases(Gather direction, std::int64_t stride, std::int64_t destination) {
  return direction == Gather::forward ? 1 : std::min(stride, destination);
}

}  // namespace

std::int64_t gather_outputs(Gather direction, const Conv2dDims& dims) {
  return direction == Gather::forward ? dims.out_channels : dims.in_channels;
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
  std::vector<TileSchedule> schedules;
  if (dims.empty()) return schedules;
  const int tile = tile_outputs(gather_outputs(directions[0], dims[0]), element_bytes);
  Builder builder(element_bytes, tile);
  const auto next = [&] {
    if (!builder.empty()) schedules.push_back(builder.finish());
    builder = Builder(element_bytes, tile);
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

std::int64_t implicit_gemm_partial_sums(const std::vector<Gather>& directions,
                                        const std::vector<Conv2dDims>& dims, int element_bytes) {
  std::int64_t most = 0;
  for (const TileSchedule& s : make_tile_schedules(directions, dims, element_bytes))
    most = std::max(most, s.partial_tiles());
  return most == 0 ? 0
                   : most * kTilePixels * tile_outputs(gather_outputs(directions[0], dims[0]), element_bytes);
}

std::int64_t implicit_gemm_moments(const std::vector<Gather>& directions, const std::vector<Conv2dDims>& dims,
                                   int element_bytes) {
  std::int64_t most = 0;
  for (const TileSchedule& s : make_tile_schedules(directions, dims, element_bytes))
    most = std::max(most, s.moment_pieces());
  return most == 0 ? 0 : 2 * most * tile_outputs(gather_outputs(directions[0], dims[0]), element_bytes);
}

}  // namespace atrous::kernels
