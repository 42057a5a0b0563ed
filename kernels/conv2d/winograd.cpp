#include "atrous/kernels/conv2d/winograd.h"

#include <algorithm>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/winograd_schemes.h"
#include "atrous/kernels/conv2d/winograd_simd.h"

// A thread takes its patches in blocks. For each block of channels it transforms the patches' inputs into
// rows of one A for each pair of points, and multiplies each A with that pair's weights; then it transforms
// the sums back.

namespace atrous::kernels {
namespace {

namespace wino = winograd;
using simd::kChunk;

constexpr int kMostPairs = wino::kMostIns * wino::kMostIns;
// In place of pixels outside of the picture: a block of depth and the vector that is fetched ahead.
alignas(64) constexpr float kZeros[512] = {};

struct Job {
  const WinogradBlocking& blocking;
  const Conv2dDims& dims;
  const std::vector<WinogradPatch>& patches;
  const float* source;
  const float* packed;
  const float* bias;  // padded to whole vectors, or null
  int activation;
  const float* residual;  // or null
  float* destination;
};

class Worker {
 public:
  Worker(const Job& job, float* a, float* sums)
      : j_(job), b_(job.blocking), a_(a), sums_(sums), slots_(std::size_t(b_.slot_count)) {}

  void run(std::size_t first, std::size_t last) {
    std::int64_t all = 0;
    for (std::size_t t = first; t < last; ++t) all += j_.patches[t].pairs;
    const std::int64_t blocks = (all + b_.block_points - 1) / b_.block_points;
    for (std::size_t begin = first, end; begin < last; begin = end) {
      for (Slot& s : slots_) s.rows = 0;
      std::int64_t used = 0;
      for (end = begin; end < last && used * blocks < all; ++end) {  // blocks of equal size
        const WinogradPatch& patch = j_.patches[end];
        for_each_pair(patch, [&](int, Slot& s) { ++s.rows; });
        used += patch.pairs;
      }
      place_slots();
      for (std::int64_t block = 0; block < b_.depth_blocks; ++block) {
        transform_inputs(begin, end, block);
        multiply(block);
      }
      transform_outputs(begin, end);
    }
  }

 private:
  // The product of one pair of points: rows of A are patches.
  struct Slot {
    std::int64_t rows, height;  // of the product; of its tiles, equal but for the last
    std::int64_t filled;        // rows that were transformed
    float *a, *sums;
  };

  template <class F>
  void for_each_pair(const WinogradPatch& p, const F& f) {
    int pair = 0;
    for (int i = 0; i < wino::points(p.scheme_h); ++i)
      for (int j = 0; j < wino::points(p.scheme_w); ++j)
        f(pair++, slots_[std::size_t(b_.slots[std::size_t(wino::row_of_g(p.scheme_h, i) * wino::kRowsOfG +
                                                          wino::row_of_g(p.scheme_w, j))])]);
  }

  std::int64_t tile_size() const { return b_.tile.rows * b_.block_depth; }

  void place_slots() {
    float *a = a_, *sums = sums_;
    for (Slot& s : slots_) {
      s.a = a, s.sums = sums;
      if (s.rows == 0) continue;
      const std::int64_t tiles = (s.rows + b_.tile.rows - 1) / b_.tile.rows;
      s.height = (s.rows + tiles - 1) / tiles;
      a += tiles * tile_size() + 3 * kChunk;
      sums += s.rows * panels_.count() * b_.tile.columns + kChunk;
    }
  }

  void transform_inputs(std::size_t begin, std::size_t end, std::int64_t block) {
    const Conv2dDims& d = j_.dims;
    const float* source = j_.source + block * b_.block_depth;
    for (Slot& s : slots_) s.filled = 0;
    for (std::size_t t = begin; t < end; ++t) {
      const WinogradPatch& p = j_.patches[t];
      const float* pixels[kMostPairs];
      float* points[kMostPairs];
      int count = 0;
      for (int i = 0; i < wino::ins(p.scheme_h); ++i)
        for (int j = 0; j < wino::ins(p.scheme_w); ++j) {
          const std::int64_t h = p.h + (i + wino::first_in(p.scheme_h)) * d.rate.h;
          const std::int64_t w = p.w + (j + wino::first_in(p.scheme_w)) * d.rate.w;
          const bool outside = h < 0 || h >= d.in_h || w < 0 || w >= d.in_w;
          pixels[count++] = outside ? kZeros : source + ((p.image * d.in_h + h) * d.in_w + w) * b_.depth;
        }
      for_each_pair(p, [&](int pair, Slot& s) {
        points[pair] = s.a + s.filled / s.height * tile_size() + s.filled % s.height * kChunk;
        ++s.filled;
      });
      simd::winograd_input(
          {p.scheme_h, p.scheme_w, pixels, points, b_.tile.rows * kChunk, b_.depth_of(block)});
    }
  }

  void multiply(std::int64_t block) {
    const std::int64_t depth = b_.depth_of(block), chunks = std::max<std::int64_t>(1, depth / kChunk);
    const float* weights = j_.packed + block * b_.block_depth * b_.slot_count * panels_.packed_columns();
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
      const Slot& s = slots_[slot];
      if (s.rows == 0) continue;
      const std::int64_t tiles = (s.rows + s.height - 1) / s.height;
      const float* panel = weights + std::int64_t(slot) * depth * panels_.packed_columns();
      for (std::int64_t p = 0; p < panels_.count(); ++p) {
        simd::TileArgs args;
        args.columns = panels_.used(p);
        args.depth = depth;
        args.b = panel;
        panel += depth * panels_.width(p);
        args.add = block > 0;
        // The tiles of this panel fetch the next one, each its share.
        args.next_lines = (depth * panels_.width(p) / 16 + tiles * chunks - 1) / (tiles * chunks);
        for (std::int64_t i = 0; i < tiles; ++i) {
          args.rows = int(std::min(s.height, s.rows - i * s.height));
          args.a = s.a + i * tile_size();
          args.sums = s.sums + (p * s.rows + i * s.height) * b_.tile.columns;
          args.next_b = panel + i * args.next_lines * chunks * 16;
          simd::gemm_tile(args);
        }
      }
    }
  }

  void transform_outputs(std::size_t begin, std::size_t end) {
    const Conv2dDims& d = j_.dims;
    for (Slot& s : slots_) s.filled = 0;
    for (std::size_t t = begin; t < end; ++t) {
      const WinogradPatch& p = j_.patches[t];
      const float* points[kMostPairs];
      std::int64_t panel_step[kMostPairs];
      float* pixels[wino::kMostOuts * wino::kMostOuts];
      const float* residual[wino::kMostOuts * wino::kMostOuts];
      for_each_pair(p, [&](int pair, Slot& s) {
        points[pair] = s.sums + s.filled++ * b_.tile.columns;
        panel_step[pair] = s.rows * b_.tile.columns;
      });
      int count = 0;
      for (int i = 0; i < wino::outs(p.scheme_h); ++i)
        for (int j = 0; j < wino::outs(p.scheme_w); ++j) {
          const std::int64_t at =
              ((p.image * d.in_h + p.h + i * d.rate.h) * d.in_w + p.w + j * d.rate.w) * b_.columns;
          if (j_.residual) residual[count] = j_.residual + at;
          pixels[count++] = j_.destination + at;
        }
      simd::winograd_output({p.scheme_h, p.scheme_w, points, panel_step, pixels, j_.bias, b_.columns,
                             j_.activation, j_.residual ? residual : nullptr});
    }
  }

  const Job& j_;
  const WinogradBlocking& b_;
  float *a_, *sums_;
  std::vector<Slot> slots_;
  const Panels panels_{b_.tile, b_.columns};
};

}  // namespace

std::int64_t winograd_workspace_size(const WinogradBlocking& b) {
  return round_up(b.columns, b.tile.columns) + threads() * (b.a_size() + b.sums_size());
}

void winograd_run(const WinogradBlocking& b, const Conv2dDims& dims, Span<const float> source,
                  Span<const float> packed, const Conv2dEpilogue<float>& epilogue, Span<float> workspace,
                  Span<float> destination) {
  const std::vector<WinogradPatch> patches = winograd_patches(b, dims.batch);
  const std::int64_t bias_size = round_up(b.columns, b.tile.columns);
  const std::int64_t each = b.a_size() + b.sums_size();
  Job job{b,
          dims,
          patches,
          source.data(),
          packed.data(),
          nullptr,
          int(epilogue.activation),
          epilogue.residual.data(),
          destination.data()};
  if (!epilogue.bias.empty()) {
    const Span<float> padded = workspace.part(0, bias_size);
    std::fill(std::copy(epilogue.bias.begin(), epilogue.bias.end(), padded.begin()), padded.end(), 0.0f);
    job.bias = padded.data();
  }
  // Patches are shared out by their products. Results do not depend on it.
  const std::int64_t parts = std::min<std::int64_t>(
      {threads(), (workspace.size() - bias_size) / each, 1 + b.points * b.depth * b.columns / kPartWork});
  const auto part_begin = [&](std::int64_t part) {
    std::int64_t sum = 0;
    std::size_t i = 0;
    while (i < patches.size() && sum * parts < b.points * part) sum += patches[i++].pairs;
    return i;
  };
  parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      float* scratch = workspace.data() + bias_size + part * each;
      Worker(job, scratch, scratch + b.a_size()).run(part_begin(part), part_begin(part + 1));
    }
  });
}

}  // namespace atrous::kernels
