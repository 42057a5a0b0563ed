#include <algorithm>

#include "atrous/kernels/conv2d/winograd.h"
#include "atrous/kernels/conv2d/winograd_schemes.h"

namespace atrous::kernels {
namespace {

namespace wino = winograd;

constexpr std::int64_t kBlockDepth = 256;
constexpr std::int64_t kCachedWeights = 1 << 18;   // that stay in the L2 cache from block to block
constexpr std::int64_t kCachedFloats = 1 << 17;    // with them: factors and sums of a block of patches
constexpr std::int64_t kBlockFloats = 1 << 20;     // of other blocks: in the L3 cache
constexpr std::int64_t kTogetherFloats = 1 << 21;  // of all patches, where threads work together

using Segment = WinogradBlocking::Segment;

// Every phase of an axis by itself, cut into pieces of four, three and two outputs so that few products are
// needed (33 = 6 * 4 + 3 * 3: 51, where nine fours take 54).
std::vector<Segment> segments(std::int64_t size, std::int64_t rate) {
  std::vector<Segment> v;
  for (std::int64_t phase = 0; phase < std::min(rate, size); ++phase) {
    std::int64_t at = phase, left = (size - phase + rate - 1) / rate;
    if (left <= 2) {
      v.push_back({at, left == 1 ? wino::kT1 : wino::kT2});
      continue;
    }
    while (left > 0) {
      const int outs = left == 5 || left == 6 || left == 9 ? 3 : int(std::min<std::int64_t>(left, 4));
      v.push_back({at, outs});  // F2, F3 and F4 are numbered by their outputs
      at += outs * rate, left -= outs;
    }
  }
  return v;
}

// Other work counted as products.
double winograd_cost(const WinogradBlocking& b) {
  // Transforming and writing a weight of one pair of points; about 25 as measured, counted half: inference
  // does it once for all images.
  constexpr double kWeight = 12;
  constexpr double kTransform = 14;  // the same of an input or an output
  return double(b.points) * (1 + kTransform / double(b.depth) + kTransform / double(b.columns)) +
         kWeight * b.slot_count;
}

constexpr double kPairCost = 0.62;  // of a product of bf16 pairs, to one of floats

}  // namespace

bool winograd_applies(const Conv2dDims& d) {
  return d.window_h == 3 && d.window_w == 3 && d.stride == PerAxis(1) && d.padding == same_padding(3, d.rate);
}

double winograd_direct_cost(const Conv2dDims& d) {
  const auto live = [](std::int64_t size, std::int64_t rate) {
    return 3.0 * double(size) - 2.0 * double(std::min(size, rate));
  };
  return double(d.batch) * live(d.in_h, d.rate.h) * live(d.in_w, d.rate.w);
}
bool takes_winograd(Gather direction, const Conv2dDims& d) {
  if (d.exact || !winograd_applies(d) || d.batch == 0) return false;
  const double product = takes_bf16_pairs(direction, d) ? kPairCost : 1;
  return 1.2 * winograd_cost(WinogradBlocking(direction, d)) < product * winograd_direct_cost(d);
}

WinogradBlocking::WinogradBlocking(Gather way, const Conv2dDims& d)
    : tile(simd::tile_shape()), direction(way) {
  depth = way == Gather::forward ? d.in_channels : d.out_channels;
  columns = way == Gather::forward ? d.out_channels : d.in_channels;
  const std::int64_t blocks = std::max<std::int64_t>(1, (depth + kBlockDepth / 2) / kBlockDepth);
  block_depth = round_up((depth + blocks - 1) / blocks, simd::kChunk);  // 2/3 to 3/2 of what is wanted
  depth_blocks = (depth + block_depth - 1) / block_depth;
  rows_of_map = segments(d.in_h, d.rate.h);
  columns_of_map = segments(d.in_w, d.rate.w);
  // Which schemes meet which.
  std::array<std::int64_t, wino::kSchemes> down{}, across{};
  for (const Segment& s : rows_of_map) ++down[std::size_t(s.scheme)];
  for (const Segment& s : columns_of_map) ++across[std::size_t(s.scheme)];
  slots.fill(-1);
  points = 0;
  for (int h = 0; h < wino::kSchemes; ++h)
    for (int w = 0; w < wino::kSchemes; ++w) {
      const std::int64_t patches = d.batch * down[std::size_t(h)] * across[std::size_t(w)];
      if (patches == 0) continue;
      points += patches * wino::points(h) * wino::points(w);
      for (int i = 0; i < wino::points(h); ++i)
        for (int j = 0; j < wino::points(w); ++j)
          slots[std::size_t(wino::row_of_g(h, i) * wino::kRowsOfG + wino::row_of_g(w, j))] = 0;
    }
  for (int& slot : slots)
    if (slot == 0) slot = slot_count++;
  const std::int64_t floats = block_depth + Panels{tile, columns}.count() * tile.columns;
  const bool cached = packed_size() <= kCachedWeights;
  // More of them where the weights, which two blocks would read twice, are larger still.
  together =
      !cached && points * floats <= std::clamp(packed_size() / 2, kTogetherFloats, 3 * kTogetherFloats);
  const std::int64_t most = (cached ? kCachedFloats : kBlockFloats) / floats;
  block_points = together ? points : std::min(points, std::max<std::int64_t>(most, 256));
}

std::int64_t WinogradBlocking::packed_size() const {
  return slot_count * depth * round_up(columns, tile.lanes);
}
// A block holds at most one patch (36 pairs of points) more than block_points. Each pair of points has tiles
// of its own, and a few lines between: at one stride their rows would fall into one set of the cache.
std::int64_t WinogradBlocking::a_size() const {
  return (block_points + 36 + slot_count * tile.rows) * block_depth + slot_count * 3 * simd::kChunk;
}
std::int64_t WinogradBlocking::sums_size() const {
  return (block_points + 36) * Panels{tile, columns}.count() * tile.columns + slot_count * simd::kChunk;
}

std::vector<WinogradPatch> winograd_patches(const WinogradBlocking& b, std::int64_t batch) {
  std::vector<WinogradPatch> patches;
  for (int h = 0; h < wino::kSchemes; ++h)
    for (int w = 0; w < wino::kSchemes; ++w)
      for (std::int64_t n = 0; n < batch; ++n)
        for (const auto& row : b.rows_of_map)
          for (const auto& column : b.columns_of_map)
            if (row.scheme == h && column.scheme == w)
              patches.push_back({n, row.at, column.at, h, w, wino::points(h) * wino::points(w)});
  return patches;
}

}  // namespace atrous::kernels
