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

// f(at, scheme) for every piece of an axis, from position `at` on. Every phase is cut by itself, into as few
// pieces as will do, of nearly one size: a piece takes two products more than it has outputs.
template <class F>
void for_each_segment(std::int64_t size, std::int64_t rate, int most_outs, const F& f) {
  for (std::int64_t phase = 0; phase < std::min(rate, size); ++phase) {
    const std::int64_t length = (size - phase + rate - 1) / rate;
    if (length <= 2) {
      f(phase, length == 1 ? wino::kT1 : wino::kT2);
      continue;
    }
    const std::int64_t pieces = (length + most_outs - 1) / most_outs;
    std::int64_t at = phase;
    for (std::int64_t i = 0; i < pieces; ++i) {
      const int outs = int((length + pieces - 1 - i) / pieces);
      f(at, outs);  // the number of its scheme
      at += outs * rate;
    }
  }
}
using Counts = std::array<std::int64_t, wino::kSchemes>;
Counts count_schemes(std::int64_t size, std::int64_t rate, int most_outs) {
  Counts counts{};
  for_each_segment(size, rate, most_outs, [&](std::int64_t, int scheme) { ++counts[std::size_t(scheme)]; });
  return counts;
}

struct Segment {
  std::int64_t at;
  int scheme;
};
RecycledVector<Segment> segments_by_scheme(std::int64_t size, std::int64_t rate, int most_outs) {
  RecycledVector<Segment> segments;
  for (int wanted = 0; wanted < wino::kSchemes; ++wanted)
    for_each_segment(size, rate, most_outs, [&](std::int64_t at, int scheme) {
      if (scheme == wanted) segments.push_back({at, scheme});
    });
  return segments;
}

WinogradBlocking cheaper_blocking(Gather direction, const Conv2dDims& d) {
  const WinogradBlocking small(direction, d, kSmallWinograd), large(direction, d, kLargeWinograd);
  return kLargeWinogradGain * large.cost() < small.cost() ? large : small;
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
  return 1.2 * WinogradBlocking(direction, d).cost() < product * winograd_direct_cost(d);
}

WinogradCut::WinogradCut(const Conv2dDims& d, int most) : most_outs(most) {
  // Which schemes meet which.
  const Counts down = count_schemes(d.in_h, d.rate.h, most), across = count_schemes(d.in_w, d.rate.w, most);
  slots.fill(-1);
  for (int h = 0; h < wino::kSchemes; ++h)
    for (int w = 0; w < wino::kSchemes; ++w) {
      const std::int64_t patches = d.batch * down[std::size_t(h)] * across[std::size_t(w)];
      if (patches == 0) continue;
      patch_count += patches;
      points += patches * wino::points(h) * wino::points(w);
      for (int i = 0; i < wino::points(h); ++i)
        for (int j = 0; j < wino::points(w); ++j)
          slots[std::size_t(wino::row_of_g(h, i) * wino::kRowsOfG + wino::row_of_g(w, j))] = 0;
    }
  for (int& slot : slots)
    if (slot == 0) slot = slot_count++;
}

WinogradBlocking::WinogradBlocking(Gather way, const Conv2dDims& d)
    : WinogradBlocking(cheaper_blocking(way, d)) {}

WinogradBlocking::WinogradBlocking(Gather way, const Conv2dDims& d, int most_outs)
    : tile(simd::tile_shape()),
      direction(way),
      depth(way == Gather::forward ? d.in_channels : d.out_channels),
      columns(way == Gather::forward ? d.out_channels : d.in_channels),
      cut(d, most_outs) {
  const std::int64_t blocks = std::max<std::int64_t>(1, (depth + kBlockDepth / 2) / kBlockDepth);
  block_depth = round_up((depth + blocks - 1) / blocks, simd::kChunk);  // 2/3 to 3/2 of what is wanted
  depth_blocks = (depth + block_depth - 1) / block_depth;
  const std::int64_t floats = block_depth + Panels{tile, columns}.count() * tile.columns;
  const bool cached = packed_size() <= kCachedWeights;
  // More of them where the weights, which two blocks would read twice, are larger still.
  together =
      !cached && cut.points * floats <= std::clamp(packed_size() / 2, kTogetherFloats, 3 * kTogetherFloats);
  const std::int64_t most = (cached ? kCachedFloats : kBlockFloats) / floats;
  block_points = together ? cut.points : std::min(cut.points, std::max<std::int64_t>(most, 256));
}

double WinogradBlocking::cost() const {
  // Transforming and writing a weight of one pair of points; about 25 as measured, counted half: inference
  // does it once for all images.
  constexpr double kWeight = 12;
  const double transform = cut.most_outs == kSmallWinograd ? 14 : 24;  // the same of an input or an output
  return double(cut.points) * (1 + transform / double(depth) + transform / double(columns)) +
         kWeight * cut.slot_count;
}

std::int64_t WinogradBlocking::packed_size() const {
  return cut.slot_count * depth * round_up(columns, tile.lanes);
}
// A block holds at most one patch (kMostPairs pairs of points) more than block_points. Each pair of points
// has tiles of its own, and a few lines between: at one stride their rows would fall into one set of the
// cache.
std::int64_t WinogradBlocking::a_size() const {
  return (block_points + wino::kMostPairs + cut.slot_count * tile.rows) * block_depth +
         cut.slot_count * 3 * simd::kChunk;
}
std::int64_t WinogradBlocking::sums_size() const {
  return (block_points + wino::kMostPairs) * Panels{tile, columns}.count() * tile.columns +
         cut.slot_count * simd::kChunk;
}

RecycledVector<WinogradPatch> winograd_patches(const WinogradCut& cut, const Conv2dDims& d) {
  const RecycledVector<Segment> rows = segments_by_scheme(d.in_h, d.rate.h, cut.most_outs),
                                columns = segments_by_scheme(d.in_w, d.rate.w, cut.most_outs);
  const auto end_of_scheme = [](const RecycledVector<Segment>& segments, std::size_t begin) {
    std::size_t end = begin;
    while (end < segments.size() && segments[end].scheme == segments[begin].scheme) ++end;
    return end;
  };
  RecycledVector<WinogradPatch> patches;
  patches.reserve(std::size_t(cut.patch_count));
  for (std::size_t h = 0, h_end; h < rows.size(); h = h_end) {
    h_end = end_of_scheme(rows, h);
    for (std::size_t w = 0, w_end; w < columns.size(); w = w_end) {
      w_end = end_of_scheme(columns, w);
      const int pairs = wino::points(rows[h].scheme) * wino::points(columns[w].scheme);
      for (std::int64_t n = 0; n < d.batch; ++n)
        for (std::size_t i = h; i < h_end; ++i)
          for (std::size_t j = w; j < w_end; ++j)
            patches.push_back({n, rows[i].at, columns[j].at, rows[i].scheme, columns[j].scheme, pairs});
    }
  }
  return patches;
}

}  // namespace atrous::kernels
