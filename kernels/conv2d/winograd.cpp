#include "atrous/kernels/conv2d/winograd.h"

#include <algorithm>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/winograd_schemes.h"
#include "atrous/kernels/conv2d/winograd_simd.h"

// A thread takes its patches in blocks. For each block of channels it transforms the patches' inputs into
// rows of one A for each pair of points, and multiplies each A with that pair's weights; then it transforms
// the sums back. Where all patches are one block, the threads share out each of these steps: patches,
// panels of weights, patches.

namespace atrous::kernels {
namespace {

namespace wino = winograd;
using simd::kChunk;

using wino::kMostPairs;
constexpr int kMostOutputs = wino::kMostOuts * wino::kMostOuts;
// In place of pixels outside of the picture: a block of depth and the vector that is fetched ahead.
alignas(64) constexpr float kZeros[512] = {};

struct Job {
  const WinogradBlocking& blocking;
  const Conv2dDims& dims;
  const RecycledVector<WinogradPatch>& patches;
  const float* source;
  const float* packed;      // weights, transformed; or
  Span<const float> plain;  // as they are
  const float* bias;        // padded to whole vectors, or null
  int activation;
  const float* residual;  // or null
  float* destination;
  std::int64_t y_channels = 0;  // of a pixel of the destination; run_job() sets it
};

// Pairs of points whose weights are transformed together: rows of G, so that the slots are neighbours.
struct SlotGroup {
  WinogradSlots slots;
  int first, count;
};
constexpr int kGroupSlots = 16;                // half of the L2 cache
constexpr std::int64_t kSlotGap = 3 * kChunk;  // between them: so their lines fall into different sets

std::vector<SlotGroup> slot_groups(const WinogradBlocking& b) {
  std::vector<SlotGroup> groups;
  for (std::size_t row = 0; row < b.cut.slots.size(); row += wino::kRowsOfG) {
    const auto begin = b.cut.slots.begin() + std::ptrdiff_t(row), end = begin + wino::kRowsOfG;
    const int count = int(std::count_if(begin, end, [](int slot) { return slot >= 0; }));
    if (count == 0) continue;
    if (groups.empty() || groups.back().count + count > kGroupSlots) {
      const int first = groups.empty() ? 0 : groups.back().first + groups.back().count;
      groups.push_back({{}, first, 0});
      groups.back().slots.fill(-1);
    }
    SlotGroup& g = groups.back();
    for (std::size_t j = row; j < row + wino::kRowsOfG; ++j)
      if (b.cut.slots[j] >= 0) g.slots[j] = b.cut.slots[j] - g.first;
    g.count += count;
  }
  return groups;
}

class Worker {
 public:
  Worker(const Job& job, float* a, float* sums) : j_(job), b_(job.blocking), a_(a), sums_(sums) {}

  // A block of patches.
  void run(std::size_t begin, std::size_t end) {
    place(begin, end);
    for (std::int64_t block = 0; block < b_.depth_blocks; ++block) {
      transform_inputs(begin, begin, end, block);
      for (int slot = 0; slot < b_.cut.slot_count; ++slot) multiply(block, slot);
    }
    transform_outputs(begin, begin, end);
  }

  // Finds room for the transformed patches [begin, end).
  void place(std::size_t begin, std::size_t end) {
    for (Slot& s : slots()) s.rows = 0;
    for_each_run(begin, end, [&](std::size_t from, std::size_t to) {
      for (int i = 0; i < run_.pairs; ++i) run_.slot[i]->rows += std::int64_t(to - from);
    });
    float *a = a_, *sums = sums_;
    for (Slot& s : slots()) {
      s.a = a, s.sums = sums;
      if (s.rows == 0) continue;
      const std::int64_t tiles = (s.rows + b_.tile.rows - 1) / b_.tile.rows;
      s.height = (s.rows + tiles - 1) / tiles;
      a += tiles * tile_size() + 3 * kChunk;
      sums += s.rows * panels_.count() * b_.tile.columns + kChunk;
    }
  }

  // Patches [begin, end) of those that were placed, which start with `first`.
  void transform_inputs(std::size_t first, std::size_t begin, std::size_t end, std::int64_t block) {
    const float* source = j_.source + block * b_.block_depth;
    skip(first, begin);
    for_each_run(begin, end, [&](std::size_t from, std::size_t to) {
      const float *inner[kMostPairs], *border[2][kMostPairs];
      float* points[kMostPairs];
      const int pixels = wino::ins(j_.patches[from].scheme_h) * wino::ins(j_.patches[from].scheme_w);
      for (int i = 0; i < pixels; ++i) inner[i] = source + run_.in_offset[i];
      Pixels next = find_pixels(from, source, inner, border[0]);
      for (std::size_t t = from; t < to;) {
        const std::int64_t count = std::min(std::int64_t(to - t), room());
        for (int i = 0; i < run_.pairs; ++i) points[i] = run_.slot[i]->next;
        for (std::int64_t k = 0; k < count; ++k, ++t) {
          const Pixels here = next;
          next = t + 1 < to ? find_pixels(t + 1, source, inner, border[(t + 1 - from) % 2]) : Pixels();
          const WinogradPatch& p = j_.patches[t];
          simd::winograd_input({p.scheme_h,
                                p.scheme_w,
                                here,
                                {points, k * kChunk},
                                b_.tile.rows * kChunk,
                                b_.depth_of(block),
                                next});
        }
        for (int i = 0; i < run_.pairs; ++i) fill(*run_.slot[i], count);
      }
    });
  }

  // One pair of points and its packed weights.
  void multiply(std::int64_t block, int slot) const {
    const std::int64_t depth = b_.depth_of(block);
    const float* weights =
        j_.packed + (block * b_.block_depth * b_.cut.slot_count + slot * depth) * panels_.packed_columns();
    for (std::int64_t p = 0; p < panels_.count(); ++p)
      multiply(slots_[slot], block, p, weights + p * b_.tile.columns * depth, true);
  }
  // All pairs of points and panels [begin, end) of weights as they are: the taps of a panel are gathered, and
  // transformed for a few pairs of points at a time.
  void multiply_plain(std::int64_t block, std::int64_t begin, std::int64_t end,
                      const std::vector<SlotGroup>& groups, float* scratch) const {
    const std::int64_t depth = b_.depth_of(block);
    for (std::int64_t p = begin; p < end; ++p) {
      const int width = panels_.width(p);
      const std::int64_t slot_size = depth * width + kSlotGap;
      float *taps = scratch, *transformed = scratch + 9 * depth * width;
      winograd_gather_taps(b_, j_.plain, p, block * b_.block_depth, depth, taps);
      for (const SlotGroup& g : groups) {
        winograd_transform_taps(taps, depth, width, g.slots, slot_size, false, transformed);
        for (int i = 0; i < g.count; ++i)
          multiply(slots_[g.first + i], block, p, transformed + i * slot_size, false);
      }
    }
  }

  void transform_outputs(std::size_t first, std::size_t begin, std::size_t end) {
    const Conv2dDims& d = j_.dims;
    skip(first, begin);
    for_each_run(begin, end, [&](std::size_t from, std::size_t to) {
      const float* points[kMostPairs];
      std::int64_t panel_step[kMostPairs];
      float* pixels[kMostOutputs];
      const float* residual[kMostOutputs];
      for (int i = 0; i < run_.pairs; ++i) {
        const Slot& s = *run_.slot[i];
        panel_step[i] = s.rows * b_.tile.columns;
        points[i] = s.sums + s.filled * b_.tile.columns;
      }
      const int outputs = wino::outs(j_.patches[from].scheme_h) * wino::outs(j_.patches[from].scheme_w);
      for (int i = 0; i < outputs; ++i) {
        pixels[i] = j_.destination + run_.out_offset[i];
        residual[i] = j_.residual ? j_.residual + run_.out_offset[i] : nullptr;
      }
      for (std::size_t t = from; t < to; ++t) {
        const WinogradPatch& p = j_.patches[t];
        const std::int64_t corner = ((p.image * d.in_h + p.h) * d.in_w + p.w) * j_.y_channels;
        simd::winograd_output({p.scheme_h,
                               p.scheme_w,
                               {points, std::int64_t(t - from) * b_.tile.columns},
                               panel_step,
                               {pixels, corner},
                               j_.bias,
                               b_.columns,
                               j_.activation,
                               {j_.residual ? residual : nullptr, corner}});
      }
      for (int i = 0; i < run_.pairs; ++i) run_.slot[i]->filled += std::int64_t(to - from);
    });
  }

 private:
  // The product of one pair of points: rows of A are patches.
  struct Slot {
    std::int64_t rows, height;  // of the product; of its tiles, equal but for the last
    std::int64_t filled;        // rows that were transformed
    float *a, *sums;
    float* next;               // where the next row goes
    std::int64_t row_of_tile;  // of it
  };

  // Neighbours among the patches that have their schemes in common.
  struct Run {
    int pairs;
    Slot* slot[kMostPairs];              // of each pair of points
    std::int64_t in_offset[kMostPairs];  // of each pixel from the first
    std::int64_t out_offset[kMostOutputs];
  };

  // f(from, to) for each run among the patches [begin, end), with run_ for it.
  template <class F>
  void for_each_run(std::size_t begin, std::size_t end, const F& f) {
    const Conv2dDims& d = j_.dims;
    for (std::size_t from = begin, to; from < end; from = to) {
      const int h = j_.patches[from].scheme_h, w = j_.patches[from].scheme_w;
      for (to = from + 1; to < end && j_.patches[to].scheme_h == h && j_.patches[to].scheme_w == w;) ++to;
      run_.pairs = 0;
      for (int i = 0; i < wino::points(h); ++i)
        for (int j = 0; j < wino::points(w); ++j) {
          const int pair = wino::row_of_g(h, i) * wino::kRowsOfG + wino::row_of_g(w, j);
          run_.slot[run_.pairs++] = &slots_[b_.cut.slots[std::size_t(pair)]];
        }
      for (int i = 0; i < wino::ins(h); ++i)
        for (int j = 0; j < wino::ins(w); ++j)
          run_.in_offset[i * wino::ins(w) + j] = (i * d.rate.h * d.in_w + j * d.rate.w) * b_.depth;
      for (int i = 0; i < wino::outs(h); ++i)
        for (int j = 0; j < wino::outs(w); ++j)
          run_.out_offset[i * wino::outs(w) + j] = (i * d.rate.h * d.in_w + j * d.rate.w) * j_.y_channels;
      f(from, to);
    }
  }

  Span<Slot> slots() { return {slots_, b_.cut.slot_count}; }
  std::int64_t tile_size() const { return b_.tile.rows * b_.block_depth; }

  // The pixels that patch t reads: `inner`, which holds them for a patch that begins with the first pixel, or
  // at the picture's border pointers of its own in `border`.
  using Pixels = simd::WinogradPlaces<const float>;
  Pixels find_pixels(std::size_t t, const float* source, const float** inner, const float** border) const {
    const Conv2dDims& d = j_.dims;
    const WinogradPatch& p = j_.patches[t];
    const std::int64_t h = p.h + wino::first_in(p.scheme_h) * d.rate.h,
                       w = p.w + wino::first_in(p.scheme_w) * d.rate.w;
    const int ins_h = wino::ins(p.scheme_h), ins_w = wino::ins(p.scheme_w);
    const bool inside =
        h >= 0 && w >= 0 && h + (ins_h - 1) * d.rate.h < d.in_h && w + (ins_w - 1) * d.rate.w < d.in_w;
    const std::int64_t corner = ((p.image * d.in_h + h) * d.in_w + w) * b_.depth;
    if (inside) return {inner, corner};
    for (int i = 0; i < ins_h; ++i)
      for (int j = 0; j < ins_w; ++j) {
        const std::int64_t at_h = h + i * d.rate.h, at_w = w + j * d.rate.w;
        const bool outside = at_h < 0 || at_h >= d.in_h || at_w < 0 || at_w >= d.in_w;
        const int pixel = i * ins_w + j;
        border[pixel] = outside ? kZeros : source + (corner + run_.in_offset[pixel]);
      }
    return {border};
  }

  // Patches until a tile of one of the run's products is full.
  std::int64_t room() const {
    std::int64_t least = run_.slot[0]->height - run_.slot[0]->row_of_tile;
    for (int i = 1; i < run_.pairs; ++i)
      least = std::min(least, run_.slot[i]->height - run_.slot[i]->row_of_tile);
    return least;
  }
  // Goes on by `count` rows, which are in one tile.
  void fill(Slot& s, std::int64_t count) const {
    s.next += count * kChunk;
    s.row_of_tile += count;
    if (s.row_of_tile == s.height) s.row_of_tile = 0, s.next += tile_size() - s.height * kChunk;
  }

  // Leaves out the rows of the patches [first, begin).
  void skip(std::size_t first, std::size_t begin) {
    for (Slot& s : slots()) s.filled = 0;
    for_each_run(first, begin, [&](std::size_t from, std::size_t to) {
      for (int i = 0; i < run_.pairs; ++i) run_.slot[i]->filled += std::int64_t(to - from);
    });
    for (Slot& s : slots()) {
      if (s.rows == 0) continue;
      s.row_of_tile = s.filled % s.height;
      s.next = s.a + s.filled / s.height * tile_size() + s.row_of_tile * kChunk;
    }
  }

  // One pair of points and one panel of its weights.
  void multiply(const Slot& s, std::int64_t block, std::int64_t p, const float* panel,
                bool from_memory) const {
    if (s.rows == 0) return;
    const std::int64_t depth = b_.depth_of(block), chunks = std::max<std::int64_t>(1, depth / kChunk);
    const std::int64_t tiles = (s.rows + s.height - 1) / s.height;
    simd::TileArgs args;
    args.columns = panels_.used(p);
    args.depth = depth;
    args.b = panel;
    args.add = block > 0;
    // The tiles of this panel fetch the next one, each its share; or the next tile's A.
    args.next_lines =
        from_memory ? (depth * panels_.width(p) / 16 + tiles * chunks - 1) / (tiles * chunks) : s.height;
    const float* next = from_memory ? panel + depth * panels_.width(p) : s.a + tile_size();
    const std::int64_t next_step = from_memory ? args.next_lines * chunks * 16 : tile_size();
    for (std::int64_t i = 0; i < tiles; ++i) {
      args.rows = int(std::min(s.height, s.rows - i * s.height));
      args.a = s.a + i * tile_size();
      args.sums = s.sums + (p * s.rows + i * s.height) * b_.tile.columns;
      args.next_b = next + i * next_step;
      simd::gemm_tile(args);
    }
  }

  const Job& j_;
  const WinogradBlocking& b_;
  float *a_, *sums_;
  Slot slots_[std::tuple_size_v<WinogradSlots>];  // those in use come first
  Run run_;                                       // points into slots_
  const Panels panels_{b_.tile, b_.columns};
};

}  // namespace

namespace {

std::int64_t scratch_of_block(const WinogradBlocking& b) { return b.a_size() + b.sums_size(); }
// Room for the bias, in whole panels.
std::int64_t bias_size(const WinogradBlocking& b) { return round_up(b.columns, b.tile.columns); }
// Weights of one panel and one block of channels: their taps, and one group of pairs of points.
std::int64_t panel_size(const WinogradBlocking& b) {
  const std::int64_t panel = b.block_depth * b.tile.columns;
  return 9 * panel + std::min(kGroupSlots, b.cut.slot_count) * (panel + kSlotGap);
}

// The bias goes to the front of the workspace.
void run_job(Job job, const Conv2dEpilogue<float>& epilogue, Span<float> workspace) {
  const WinogradBlocking& b = job.blocking;
  const RecycledVector<WinogradPatch>& patches = job.patches;
  job.y_channels = epilogue.y_channels_or(b.columns);
  if (!epilogue.bias.empty()) {
    const Span<float> padded = workspace.part(0, bias_size(b));
    std::fill(std::copy(epilogue.bias.begin(), epilogue.bias.end(), padded.begin()), padded.end(), 0.0f);
    job.bias = padded.data();
  }
  float* const scratch = workspace.data() + bias_size(b);
  const std::int64_t each = scratch_of_block(b), left = workspace.size() - bias_size(b);
  if (b.together) {
    const std::vector<SlotGroup> groups = job.packed ? std::vector<SlotGroup>() : slot_groups(b);
    Worker all(job, scratch, scratch + b.a_size());
    all.place(0, patches.size());
    const std::int64_t panels = Panels{b.tile, b.columns}.count(), count = std::int64_t(patches.size());
    const std::int64_t points = b.cut.points / count;  // of a patch
    for (std::int64_t block = 0; block < b.depth_blocks; ++block) {
      share_out(count, threads(), points * b.block_depth,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  Worker(all).transform_inputs(0, std::size_t(begin), std::size_t(end), block);
                });
      if (job.packed)
        share_out(b.cut.slot_count, threads(), kPartWork,
                  [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                    for (std::int64_t slot = begin; slot < end; ++slot) all.multiply(block, int(slot));
                  });
      else
        share_out(panels, std::min<std::int64_t>(threads(), (left - each) / panel_size(b)), kPartWork,
                  [&](std::int64_t part, std::int64_t begin, std::int64_t end) {
                    all.multiply_plain(block, begin, end, groups, scratch + each + part * panel_size(b));
                  });
    }
    share_out(count, threads(), points * b.columns, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      Worker(all).transform_outputs(0, std::size_t(begin), std::size_t(end));
    });
    return;
  }
  // Blocks of nearly equal size, as many for each thread. Results do not depend on them.
  const std::int64_t parts =
      std::min<std::int64_t>({threads(), left / each, 1 + b.cut.points * b.depth * b.columns / kPartWork});
  const std::int64_t blocks = round_up((b.cut.points + b.block_points - 1) / b.block_points, parts);
  RecycledVector<std::size_t> begins;
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < patches.size(); sum += patches[i++].pairs)
    while (sum * blocks >= b.cut.points * std::int64_t(begins.size())) begins.push_back(i);
  begins.resize(std::size_t(blocks + 1), patches.size());
  share_out(blocks, parts, kPartWork, [&](std::int64_t part, std::int64_t begin, std::int64_t end) {
    float* own = scratch + part * each;
    for (std::size_t i = std::size_t(begin); i < std::size_t(end); ++i)
      Worker(job, own, own + b.a_size()).run(begins[i], begins[i + 1]);
  });
}

}  // namespace

std::int64_t winograd_workspace_size(const WinogradBlocking& b) {
  return bias_size(b) + (b.together ? 1 : threads()) * scratch_of_block(b);
}

std::int64_t winograd_unpacked_workspace_size(const WinogradBlocking& b) {
  const std::int64_t weights =
      b.together ? std::min<std::int64_t>(threads(), Panels{b.tile, b.columns}.count()) * panel_size(b)
                 : b.packed_size();
  return weights + winograd_workspace_size(b);
}

void winograd_run(const WinogradBlocking& b, const Conv2dDims& dims, Span<const float> source,
                  Span<const float> packed, const Conv2dEpilogue<float>& epilogue, Span<float> workspace,
                  Span<float> destination) {
  const RecycledVector<WinogradPatch> patches = winograd_patches(b.cut, dims);
  run_job({b,
           dims,
           patches,
           source.data(),
           packed.data(),
           {},
           nullptr,
           int(epilogue.activation),
           epilogue.residual.data(),
           destination.data()},
          epilogue, workspace);
}

void winograd_run_unpacked(const WinogradBlocking& b, const Conv2dDims& dims, Span<const float> source,
                           Span<const float> weight, const Conv2dEpilogue<float>& epilogue,
                           Span<float> workspace, Span<float> destination) {
  if (!b.together) {
    const Span<float> packed = workspace.part(0, b.packed_size());
    winograd_pack(b, weight, packed);
    return winograd_run(b, dims, source, packed, epilogue,
                        workspace.part(packed.size(), workspace.size() - packed.size()), destination);
  }
  const RecycledVector<WinogradPatch> patches = winograd_patches(b.cut, dims);
  run_job({b, dims, patches, source.data(), nullptr, weight, nullptr, int(epilogue.activation),
           epilogue.residual.data(), destination.data()},
          epilogue, workspace);
}

}  // namespace atrous::kernels
