#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "atrous/kernels/conv2d/tap_plan.h"
#include "atrous/kernels/conv2d/weight_gemm.h"
#include "tests/support/catch.h"

// The host side of the tiled convolution: which taps a plan multiplies, and how tiles become blocks.

namespace atrous::tests {
namespace {

using kernels::Conv2dDims;
using kernels::Gather;
using kernels::TapAxis;
using kernels::TapPiece;
using kernels::TapPlan;
using kernels::TileSchedule;

Conv2dDims aspp_branch(std::int64_t rate) {
  return kernels::with_output_size({.batch = 8,
                                    .in_h = 33,
                                    .in_w = 33,
                                    .in_channels = 2048,
                                    .out_channels = 256,
                                    .window_h = 3,
                                    .window_w = 3,
                                    .padding = rate,
                                    .rate = rate});
}

// (destination position, source position, window index) of every product along an axis that lies in the map.
using Products = std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t>>;

Products by_formula(Gather direction, std::int64_t out, std::int64_t in, std::int64_t taps,
                    std::int64_t before, std::int64_t rate, std::int64_t stride) {
  Products products;
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t r = 0; r < taps; ++r) {
      const std::int64_t at = o * stride + r * rate - before;
      if (at < 0 || at >= in) continue;
      if (direction == Gather::forward)
        products.emplace(o, at, r);
      else
        products.emplace(at, o, r);
    }
  return products;
}

// Those that the pieces multiply; checks that each destination position is in one piece.
Products by_pieces(const TapAxis& axis, const std::vector<TapPiece>& pieces) {
  Products products;
  std::vector<int> seen(std::size_t(axis.destination));
  for (const TapPiece& p : pieces)
    for (std::int64_t i = 0; i < p.count; ++i) {
      const std::int64_t at = p.at + i * axis.step;
      ++seen.at(std::size_t(at));
      for (std::int64_t t = 0; t < p.taps; ++t) {
        const std::int64_t from = p.source + i * axis.source_step + t * axis.tap_source_step;
        if (from >= 0 && from < axis.source) products.emplace(at, from, p.tap + t * axis.tap_step);
      }
    }
  CHECK(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
  return products;
}

void check_plan(const Conv2dDims& sizes) {
  const Conv2dDims d = kernels::with_output_size(sizes);
  INFO("in " << d.in_h << 'x' << d.in_w << ", window " << d.window_h << 'x' << d.window_w << ", stride "
             << d.stride << ", rate " << d.rate << ", padding " << d.padding);
  for (const Gather direction : {Gather::forward, Gather::backward_input})
    for (const int tile : {64, 128}) {
      const TapPlan plan = kernels::make_tap_plan(direction, d, tile);
      CHECK(by_pieces(plan.row_axis, plan.rows) ==
            by_formula(direction, d.out_h, d.in_h, d.window_h, d.padding.top, d.rate.h, d.stride.h));
      CHECK(by_pieces(plan.column_axis, plan.columns) ==
            by_formula(direction, d.out_w, d.in_w, d.window_w, d.padding.left, d.rate.w, d.stride.w));
    }
}

}  // namespace

TEST_CASE("conv2d plan: rectangles of an axis by hand", "[cuda][conv2d]") {
  // 7 positions, taps at -2, 0, 2: the first two lack tap 0, the last two tap 2.
  const Conv2dDims d = kernels::with_output_size({.batch = 1000,
                                                  .in_h = 7,
                                                  .in_w = 1,
                                                  .in_channels = 8,
                                                  .out_channels = 8,
                                                  .window_h = 3,
                                                  .padding = {2, 2, 0, 0},
                                                  .rate = 2});
  const TapPlan plan = kernels::make_tap_plan(Gather::forward, d, 64);
  REQUIRE(plan.rows.size() == 3);
  const auto is = [](const TapPiece& p, int at, int count, int source, int tap, int taps) {
    return p.at == at && p.count == count && p.source == source && p.tap == tap && p.taps == taps;
  };
  CHECK(is(plan.rows[0], 0, 2, 0, 1, 2));
  CHECK(is(plan.rows[1], 2, 3, 0, 0, 3));
  CHECK(is(plan.rows[2], 5, 2, 3, 0, 2));
  CHECK(plan.columns.size() == 1);
}

TEST_CASE("conv2d plan: every pixel lies in one rectangle and every live tap is multiplied",
          "[cuda][conv2d]") {
  for (const std::int64_t stride : {1, 2, 3})
    for (const std::int64_t rate : {1, 2, 3, 4, 20})
      for (const std::int64_t window : {1, 2, 3, 5, 17})
        check_plan({.batch = 3,
                    .in_h = 19,
                    .in_w = 30,
                    .in_channels = 8,
                    .out_channels = 8,
                    .window_h = window,
                    .window_w = 3,
                    .stride = PerAxis(stride, 2),
                    .padding = {rate * (window - 1) / 2 + 1, rate * (window - 1) / 2, 3, 2},
                    .rate = PerAxis(rate, 1)});
  check_plan({.batch = 2,
              .in_h = 9,
              .in_w = 9,
              .in_channels = 8,
              .out_channels = 8,
              .window_h = 16,
              .window_w = 16,
              .stride = 8,
              .padding = 8});
}

TEST_CASE("conv2d plan: an axis has few pieces, whatever the window", "[cuda][conv2d]") {
  const Conv2dDims d = kernels::with_output_size({.batch = 1,
                                                  .in_h = 200,
                                                  .in_w = 200,
                                                  .in_channels = 8,
                                                  .out_channels = 8,
                                                  .window_h = 41,
                                                  .window_w = 41,
                                                  .padding = 20});
  for (const Gather direction : {Gather::forward, Gather::backward_input}) {
    const TapPlan plan = kernels::make_tap_plan(direction, d, 128);
    CHECK(plan.rows.size() <= std::size_t(kernels::kMostPieces));
    CHECK(plan.columns.size() <= std::size_t(kernels::kMostPieces));
  }
}

TEST_CASE("conv2d plan: ASPP at rates 6, 12, 18 on 33x33 multiplies 0.61 of the dense taps",
          "[cuda][conv2d]") {
  for (const auto& [tile, most] : {std::pair(128, 0.61), std::pair(64, 0.60)})
    for (const Gather direction : {Gather::forward, Gather::backward_input}) {
      std::int64_t taps = 0, dense = 0;
      for (const std::int64_t rate : {6, 12, 18}) {
        const Conv2dDims d = aspp_branch(rate);
        taps += kernels::make_tap_plan(direction, d, tile).tile_taps();
        dense += 9 * ((d.out_pixels() + tile - 1) / tile);
      }
      INFO(tile << " pixels a tile: " << taps << " of " << dense);
      CHECK(double(taps) <= most * double(dense));
    }
}

TEST_CASE("conv2d plan: a strided gradient multiplies each tap once", "[cuda][conv2d]") {
  // Without borders, the phases of stride 2 share out the 3x3 taps: 4 + 2 + 2 + 1.
  const Conv2dDims d = kernels::with_output_size({.batch = 8,
                                                  .in_h = 129,
                                                  .in_w = 129,
                                                  .in_channels = 64,
                                                  .out_channels = 64,
                                                  .window_h = 3,
                                                  .window_w = 3,
                                                  .stride = 2,
                                                  .padding = 1});
  const TapPlan plan = kernels::make_tap_plan(Gather::backward_input, d, 128);
  const double dense = 9.0 * double(d.out_pixels()) / 128;
  CHECK(double(plan.tile_taps()) < 1.05 * dense);
}

TEST_CASE("conv2d plan: the branches of an ASPP share a launch, long tiles first", "[cuda][conv2d]") {
  const std::vector<Conv2dDims> dims{aspp_branch(6), aspp_branch(12), aspp_branch(18)};
  const auto schedules = kernels::make_tile_schedules(std::vector<Gather>(3, Gather::forward), dims, 2);
  REQUIRE(schedules.size() == 1);
  const TileSchedule& s = schedules[0];
  CHECK(s.problem_count == 3);
  std::int64_t tiles = 0, before = 1 << 30;
  for (const Conv2dDims& d : dims) tiles += kernels::make_tap_plan(Gather::forward, d, 128).tiles() * 2;
  CHECK(s.tiles == tiles);
  for (int i = 0; i < s.rectangle_count; ++i) {
    const auto& r = s.rectangles[i];
    const std::int64_t taps = std::int64_t(s.pieces[r.row].taps) * s.pieces[r.column].taps;
    CHECK(taps <= before);
    before = taps;
    CHECK(r.first_tile < s.tiles);
  }
}

TEST_CASE("conv2d plan: a last wave that would leave the chip idle is cut along the sum", "[cuda][conv2d]") {
  // gpu.md's case: 276 tiles for 264 places.
  const Conv2dDims d = kernels::with_output_size({.batch = 8,
                                                  .in_h = 33,
                                                  .in_w = 33,
                                                  .in_channels = 512,
                                                  .out_channels = 512,
                                                  .window_h = 3,
                                                  .window_w = 3,
                                                  .padding = 2,
                                                  .rate = 2});
  const TileSchedule s = kernels::make_tile_schedules({Gather::forward}, {d}, 2).at(0);
  CHECK(s.tiles > 264);
  CHECK(s.whole == s.tiles / 264 * 264);
  CHECK(s.slices >= 2);
  CHECK((s.tiles - s.whole) * s.slices <= 264);
  CHECK(kernels::implicit_gemm_partial_sums({s}) == s.partial_tiles() * 128 * 128);
}

TEST_CASE("conv2d plan: a stride with many phases takes several launches", "[cuda][conv2d]") {
  const Conv2dDims d = kernels::with_output_size({.batch = 1,
                                                  .in_h = 64,
                                                  .in_w = 96,
                                                  .in_channels = 21,
                                                  .out_channels = 21,
                                                  .window_h = 32,
                                                  .window_w = 32,
                                                  .stride = 16,
                                                  .padding = 8});
  REQUIRE(kernels::takes_implicit_gemm(Gather::backward_input, d));
  std::int64_t pixels = 0;
  for (const TileSchedule& s : kernels::make_tile_schedules({Gather::backward_input}, {d}, 4))
    for (int i = 0; i < s.rectangle_count; ++i)
      pixels += std::int64_t(s.pieces[s.rectangles[i].row].count) * s.pieces[s.rectangles[i].column].count;
  CHECK(pixels == d.in_h * d.in_w);
}

TEST_CASE("conv2d plan: the weight gradient runs over the pixels of each tap alone", "[cuda][conv2d]") {
  const Conv2dDims d = aspp_branch(18);
  std::int64_t live = 0;
  for (std::int64_t r = 0; r < 3; ++r)
    for (std::int64_t s = 0; s < 3; ++s) live += kernels::WeightGemmPlan::pixels(d, r, s);
  CHECK(live == 8 * (33 + 15 + 15) * (33 + 15 + 15));  // at rate 18 an outer tap meets 15 of 33 rows
  const kernels::WeightGemmPlan plan(d, 2);
  CHECK(plan.by_tap);
  CHECK(plan.tile == 128);
  CHECK(plan.slice * plan.slices >= d.out_pixels());
  CHECK(plan.slice % 32 == 0);
}

}  // namespace atrous::tests
