#include "atrous/kernels/conv2d/weight_gradient.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "atrous/core/cpu_isa.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/kernels/conv2d/weight_gradient_simd.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

using kernels::Conv2dDims;
using kernels::WeightGradientBlocking;
using kernels::simd::PixelRun;
using kernels::simd::WeightTile;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_values(std::int64_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> v(std::size_t(n), 0.0f);
  for (float& x : v) x = float(random.uniform(-1, 1));
  return v;
}

std::vector<float> gradient(const Conv2dDims& d, const std::vector<float>& x, const std::vector<float>& dy) {
  const WeightGradientBlocking blocking(d);
  std::vector<float> workspace(std::size_t(kernels::weight_gradient_workspace_size(blocking)), kNan),
      dweight(std::size_t(d.taps() * d.in_channels * d.out_channels), kNan);
  kernels::weight_gradient(blocking, d, x, dy, workspace, dweight);
  return dweight;
}

// The formula, in double.
std::vector<double> reference(const Conv2dDims& d, const std::vector<float>& x,
                              const std::vector<float>& dy) {
  std::vector<double> dweight(std::size_t(d.taps() * d.in_channels * d.out_channels));
  for (std::int64_t n = 0; n < d.batch; ++n)
    for (std::int64_t oh = 0; oh < d.out_h; ++oh)
      for (std::int64_t ow = 0; ow < d.out_w; ++ow)
        for (std::int64_t r = 0; r < d.window_h; ++r)
          for (std::int64_t s = 0; s < d.window_w; ++s) {
            const std::int64_t h = oh * d.stride.h + r * d.rate.h - d.padding.top,
                               w = ow * d.stride.w + s * d.rate.w - d.padding.left;
            if (h < 0 || h >= d.in_h || w < 0 || w >= d.in_w) continue;
            const float* in = &x[std::size_t(((n * d.in_h + h) * d.in_w + w) * d.in_channels)];
            const float* g = &dy[std::size_t(((n * d.out_h + oh) * d.out_w + ow) * d.out_channels)];
            double* to = &dweight[std::size_t((r * d.window_w + s) * d.in_channels * d.out_channels)];
            for (std::int64_t c = 0; c < d.in_channels; ++c)
              for (std::int64_t k = 0; k < d.out_channels; ++k)
                to[c * d.out_channels + k] += double(in[c]) * double(g[k]);
          }
  return dweight;
}

// Against the formula, and with the same bits for every number of threads.
void check(const Conv2dDims& sizes) {
  const Conv2dDims d = kernels::with_output_size(sizes);
  INFO("x " << d.batch << 'x' << d.in_h << 'x' << d.in_w << 'x' << d.in_channels << ", window " << d.window_h
            << 'x' << d.window_w << 'x' << d.out_channels << ", stride " << d.stride << ", rate " << d.rate
            << ", padding " << d.padding);
  const std::vector<float> x = random_values(d.in_pixels() * d.in_channels, 1),
                           dy = random_values(d.out_pixels() * d.out_channels, 2);
  const std::vector<double> truth = reference(d, x, dy);
  std::vector<float> first;
  for (const int team : {1, 2, 3, 7}) {
    const ThreadsScope scope(team);
    const std::vector<float> got = gradient(d, x, dy);
    if (team > 1) {
      CHECK(got == first);
      continue;
    }
    first = got;
    double worst = 0, scale = 1e-6;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const double difference = std::abs(double(got[i]) - truth[i]);
      worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
      scale = std::max(scale, std::abs(truth[i]));
    }
    CHECK(worst / scale < 2e-6);
  }
}

}  // namespace

TEST_CASE("weight gradient: the tile reads and writes what is its own, on every instruction set",
          "[kernels][conv2d]") {
  for (const CpuIsa isa : {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512}) {
    if (isa > cpu_isa()) continue;
    const auto tile = kernels::simd::weight_tile.on(isa);
    const auto shape = kernels::simd::tile_shape.on(isa)();
    for (int rows = 1; rows <= shape.rows; ++rows)
      for (int columns = 1; columns <= shape.columns; ++columns) {
        INFO(cpu_isa_name(isa) << ", " << rows << " x " << columns);
        // Two runs of 3 and 2 pixels, exactly as long as they need to be: the last pixel ends the memory.
        const std::int64_t a_step = rows + 2, b_step = columns + 1, pixels = 5;
        const std::vector<float> a = random_values((pixels - 1) * a_step + rows, 3),
                                 b = random_values((pixels - 1) * b_step + columns, 4);
        const PixelRun runs[] = {{a.data(), b.data(), 3}, {a.data() + 3 * a_step, b.data() + 3 * b_step, 2}};
        std::vector<float> sums(std::size_t(shape.rows * shape.columns), 0.5f),
            out(std::size_t(rows * (columns + 1)), kNan);
        WeightTile t;
        t.rows = rows, t.columns = columns, t.runs = 2, t.run = runs;
        t.a_step = a_step, t.b_step = b_step;
        t.sums = sums.data(), t.add = true;
        tile(t);  // to the sums, and from them to the result
        t.out = out.data(), t.out_stride = columns + 1;
        tile(t);
        for (int i = 0; i < rows; ++i) {
          for (int j = 0; j < columns; ++j) {
            double sum = 0;
            for (std::int64_t p = 0; p < pixels; ++p)
              sum += double(a[std::size_t(p * a_step + i)]) * double(b[std::size_t(p * b_step + j)]);
            CHECK(std::abs(double(out[std::size_t(i * (columns + 1) + j)]) - (0.5 + 2 * sum)) < 4e-6);
          }
          CHECK(std::isnan(out[std::size_t(i * (columns + 1) + columns)]));
        }
      }
  }
}

TEST_CASE("weight gradient: what is broadcast and what is one tap follow from the sizes",
          "[kernels][conv2d]") {
  const auto blocking = [](Conv2dDims d) { return WeightGradientBlocking(kernels::with_output_size(d)); };
  const Conv2dDims logits{.batch = 1, .in_h = 9, .in_w = 9, .in_channels = 256, .out_channels = 21};
  CHECK(blocking(logits).turned);
  CHECK_FALSE(blocking({.batch = 1, .in_h = 9, .in_w = 9, .in_channels = 256, .out_channels = 256}).turned);
  Conv2dDims stem{.batch = 1, .in_h = 33, .in_w = 65, .in_channels = 3, .out_channels = 32};
  stem.window_h = stem.window_w = 3, stem.padding = 1, stem.stride = 2;
  CHECK(blocking(stem).window_rows);
  stem.rate = 2;  // taps do not lie side by side
  CHECK_FALSE(blocking(stem).window_rows);
  stem.rate = 1, stem.in_channels = 304;
  CHECK_FALSE(blocking(stem).window_rows);
}

TEST_CASE("weight gradient: one row of taps or many, turned or not, at every border", "[kernels][conv2d]") {
  const std::int64_t channels = GENERATE(3, 20, 33), out_channels = GENERATE(2, 21, 48);
  const PerAxis stride = GENERATE(PerAxis(1), PerAxis(2, 3)),
                rate = GENERATE(PerAxis(1), PerAxis(3, 1), PerAxis(2));
  for (const std::int64_t window : {1, 3, 4})
    check({.batch = 2,
           .in_h = 11,
           .in_w = 9,
           .in_channels = channels,
           .out_channels = out_channels,
           .window_h = window,
           .window_w = window,
           .stride = stride,
           .padding = {window / 2, 3, 2, 4},
           .rate = rate});
}

TEST_CASE("weight gradient: windows wider than the picture, taps in the padding alone", "[kernels][conv2d]") {
  Conv2dDims d{.batch = 1, .in_h = 3, .in_w = 2, .in_channels = 5, .out_channels = 17};
  d.window_h = d.window_w = 7, d.padding = 6;
  check(d);
  d.window_h = d.window_w = 3, d.rate = 18, d.padding = 18;
  check(d);
}

TEST_CASE("weight gradient: many chunks, visits, blocks of rows and of columns", "[kernels][conv2d]") {
  check({.batch = 3, .in_h = 65, .in_w = 33, .in_channels = 9, .out_channels = 20});
  check({.batch = 1, .in_h = 90, .in_w = 100, .in_channels = 6, .out_channels = 1});
  check({.batch = 1, .in_h = 12, .in_w = 25, .in_channels = 700, .out_channels = 40});   // of rows
  check({.batch = 1, .in_h = 12, .in_w = 13, .in_channels = 41, .out_channels = 1030});  // of columns
  Conv2dDims d{.batch = 2, .in_h = 61, .in_w = 47, .in_channels = 8, .out_channels = 40};
  d.window_h = d.window_w = 3, d.padding = 1;
  check(d);
  d.batch = 3;  // threads take chunks whole
  CHECK(WeightGradientBlocking(kernels::with_output_size(d)).whole_chunks);
  check(d);
  d.rate = 2, d.padding = 2, d.in_channels = 5;
  check(d);
}

}  // namespace atrous::tests
