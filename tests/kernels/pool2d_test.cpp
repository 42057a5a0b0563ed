#include "atrous/kernels/pool2d/pool2d.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "atrous/core/cpu_isa.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/kernels/pool2d/pool2d_body.h"
#include "atrous/kernels/pool2d/pool2d_simd.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::Pool2dDims;

// Few different values, so that many are equal; now and then infinite or, with `nan`, NaN.
std::vector<float> coarse_values(std::int64_t n, bool nan) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float special[] = {infinity, -infinity, -0.0f, 0.0f, nan ? std::nanf("") : 1.0f};
  Random random(7);
  std::vector<float> v(static_cast<std::size_t>(n));
  for (float& x : v)
    x = random.below(16) == 0 ? special[random.below(5)] : float(std::int64_t(random.below(9)) - 4);
  return v;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace

TEST_CASE("max_pool2d: windows of 3x3 at stride 1 give the body's bits and taps, NaN or not",
          "[kernels][pool2d]") {
  struct Case {
    std::int64_t height, width, channels;
    Padding padding;
  };
  // Rows that leave 1, 2, 3 and no row in the last tile; no window inside of the image; uneven padding.
  for (const auto& [height, width, channels, padding] : {Case{9, 10, 16, {1, 1, 1, 1}},
                                                         {10, 7, 17, {1, 1, 1, 1}},
                                                         {11, 5, 40, {2, 0, 1, 2}},
                                                         {12, 4, 16, {}},
                                                         {7, 3, 20, {1, 1, 1, 1}},
                                                         {2, 6, 16, {1, 1, 1, 1}}})
    for (const bool nan : {false, true}) {
      INFO(height << 'x' << width << 'x' << channels << ", padding " << padding << (nan ? ", NaN" : ""));
      Pool2dDims d{};
      d.batch = 2, d.in_h = height, d.in_w = width, d.channels = channels;
      d.window = 3, d.stride = 1, d.padding = padding;
      d.out_h = height + padding.top + padding.bottom - 2, d.out_w = width + padding.left + padding.right - 2;
      const auto x = coarse_values(2 * height * width * channels, nan);
      const std::int64_t pixels = 2 * d.out_h * d.out_w;
      std::vector<float> expected(std::size_t(pixels * channels));
      std::vector<std::uint8_t> where(expected.size());
      const kernels::MaxPoolForward<float, std::uint8_t> body{d, x, expected, where};
      for (std::int64_t i = 0; i < pixels; ++i) body(i, 0, channels);
      for (const int count : {1, 2, 3, 5})
        for (const bool with_taps : {true, false}) {
          INFO(count << " threads, " << (with_taps ? "with" : "without") << " taps");
          const ThreadsScope scope(count);
          Guarded<float> y(pixels * channels);
          Guarded<std::uint8_t> taps(with_taps ? pixels * channels : 0);
          kernels::cpu::max_pool2d_forward<float>({}, d, x, y.span(), {taps.span(), {}});
          CHECK(y.intact());
          CHECK(taps.intact());
          CHECK(same_bits(y.values(), expected));
          if (with_taps) CHECK(taps.values() == where);
        }
    }
}

TEST_CASE("max_pool2d, avg_pool2d: gradients have the bodies' bits for any windows and threads",
          "[kernels][pool2d]") {
  struct Case {
    std::int64_t height, width, channels;
    PerAxis window, stride;
    Padding padding;
  };
  // Overlapping, side by side, with pixels between that no window holds, uneven padding. The last one's
  // gradient leaves the cache.
  for (const auto& [height, width, channels, window, stride, padding] :
       {Case{9, 10, 16, 3, 2, 1},
        {8, 11, 23, {3, 2}, {1, 2}, {1, 0, 0, 1}},
        {10, 13, 32, 2, 2, {}},
        {11, 12, 16, {2, 3}, {3, 4}, {}},
        {7, 5, 20, 5, 1, {3, 2, 4, 1}},
        {241, 243, 64, 3, 2, 1}}) {
    INFO(height << 'x' << width << 'x' << channels << ", window " << window << ", stride " << stride);
    Pool2dDims d{};
    d.batch = 2, d.in_h = height, d.in_w = width, d.channels = channels;
    if (height > 100) d.batch = 1;
    d.window = window, d.stride = stride, d.padding = padding;
    d.out_h = window_positions(height, padding.top, padding.bottom, window.h, 1, stride.h);
    d.out_w = window_positions(width, padding.left, padding.right, window.w, 1, stride.w);
    const std::int64_t pixels = d.batch * height * width, outputs = d.batch * d.out_h * d.out_w * channels;
    const auto x = random_values<float>(pixels * channels, 1), dy = random_values<float>(outputs, 2);
    std::vector<float> y(dy.size()), largest(x.size());
    std::vector<std::uint8_t> taps(dy.size());
    kernels::cpu::max_pool2d_forward<float>({}, d, x, y, {taps, {}});
    const kernels::MaxPoolBackward<float, std::uint8_t> body{d, dy, taps, largest};
    for (std::int64_t i = 0; i < pixels; ++i)
      for (std::int64_t c = 0; c < channels; c += kernels::kPoolChannels)
        body(i, c, std::min(c + kernels::kPoolChannels, channels));
    std::vector<float> mean;
    for (const int count : {1, 2, 3}) {
      INFO(count << " threads");
      const ThreadsScope scope(count);
      Guarded<float> dx(pixels * channels);
      kernels::cpu::max_pool2d_backward<float>({}, d, dy, {taps, {}}, dx.span());
      CHECK(dx.intact());
      CHECK(same_bits(dx.values(), largest));
      Guarded<float> of_mean(pixels * channels);
      kernels::cpu::avg_pool2d_backward<float>({}, d, dy, of_mean.span());
      CHECK(of_mean.intact());
      if (mean.empty()) {
        mean = of_mean.values();
        std::vector<double> truth(mean.size());
        kernels::cpu::avg_pool2d_backward<double>({}, d, std::vector<double>(dy.begin(), dy.end()), truth);
        double worst = 0;
        for (std::size_t i = 0; i < mean.size(); ++i)
          worst = std::max(worst, std::abs(double(mean[i]) - truth[i]));
        CHECK(worst < 1e-6);
      }
      CHECK(same_bits(of_mean.values(), mean));
    }
  }
}

TEST_CASE("max_pool2d: tiles give the same bits on every instruction set", "[kernels][pool2d]") {
  for (const CpuIsa isa : {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512}) {
    if (isa > cpu_isa()) continue;
    for (int rows = 1; rows <= kernels::simd::kMaxTileRows; ++rows)
      for (const bool nan : {false, true}) {
        INFO(cpu_isa_name(isa) << ", " << rows << " rows" << (nan ? ", NaN" : ""));
        constexpr std::int64_t kWidth = 5, kChannels = 37, kCols = kernels::simd::kMaxTileCols;
        Pool2dDims d{};
        d.batch = 1, d.in_h = rows + 2, d.in_w = kWidth, d.channels = kChannels, d.window = 3, d.stride = 1;
        d.out_h = rows, d.out_w = kWidth - 2;
        const auto x = coarse_values(d.in_h * kWidth * kChannels, nan);
        std::vector<float> expected(std::size_t(d.out_h * d.out_w * kChannels)), y(expected.size(), -77.0f);
        std::vector<std::uint8_t> where(expected.size()), taps(expected.size(), 77);
        const kernels::MaxPoolForward<float, std::uint8_t> body{d, x, expected, where};
        for (std::int64_t i = 0; i < d.out_h * d.out_w; ++i) {
          if (i % d.out_w < kCols) {
            body(i, 0, kChannels);
          } else {  // not of the tile
            std::fill_n(expected.begin() + i * kChannels, kChannels, -77.0f);
            std::fill_n(where.begin() + i * kChannels, kChannels, std::uint8_t(77));
          }
        }
        kernels::simd::MaxTile t;
        t.x = x.data(), t.x_row = kWidth * kChannels, t.y = y.data(), t.y_row = d.out_w * kChannels;
        t.taps = taps.data(), t.rows = rows, t.channels = kChannels;
        kernels::simd::max_of_tile.on(isa)(t);
        CHECK(same_bits(y, expected));
        CHECK(taps == where);
        std::fill(y.begin(), y.end(), -77.0f);
        t.taps = nullptr;
        kernels::simd::max_of_tile.on(isa)(t);
        CHECK(same_bits(y, expected));
      }
  }
}

TEST_CASE("global_avg_pool2d: the mean in double on every instruction set, the same bits for any threads",
          "[kernels][pool2d]") {
  struct Case {
    std::int64_t batch, height, width, channels;
  };
  // 340 channels: blocks of 16, 4 and 1 vectors and a part of one. 3 images of 40: a thread's part ends
  // within one.
  for (const auto& [batch, height, width, channels] :
       {Case{1, 5, 7, 3}, {3, 6, 5, 40}, {2, 1, 1, 16}, {1, 3, 9, 340}, {2, 2, 6, 2100}}) {
    INFO(batch << " images of " << height << 'x' << width << 'x' << channels);
    const std::int64_t pixels = height * width;
    const auto x = random_values<float>(batch * pixels * channels, 1);
    std::vector<double> truth(std::size_t(batch * channels), 0.0);
    for (std::int64_t i = 0; i < batch * pixels; ++i)
      for (std::int64_t c = 0; c < channels; ++c)
        truth[std::size_t(i / pixels * channels + c)] += double(x[std::size_t(i * channels + c)]);
    const auto check = [&](const std::vector<float>& got) {
      for (std::size_t i = 0; i < got.size(); ++i)
        CHECK(std::abs(double(got[i]) - truth[i] / double(pixels)) < 3e-7);
    };
    for (const CpuIsa isa : {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512}) {
      if (isa > cpu_isa()) continue;
      INFO(cpu_isa_name(isa));
      Guarded<float> y(channels);
      kernels::simd::mean_of_image.on(isa)(x.data(), height, width, channels, channels, y.span().data());
      CHECK(y.intact());
      check(y.values());
    }
    std::vector<float> first;
    for (const int count : {1, 2, 3, 5}) {
      INFO(count << " threads");
      const ThreadsScope scope(count);
      Guarded<float> y(batch * channels);
      kernels::cpu::global_avg_pool2d_forward<float>({}, batch, height, width, channels, x, y.span());
      CHECK(y.intact());
      check(y.values());
      if (first.empty()) first = y.values();
      CHECK(y.values() == first);
    }
  }
}

TEST_CASE("global_avg_pool2d: every pixel gets its share of the gradient, whatever the sizes and threads",
          "[kernels][pool2d]") {
  struct Case {
    std::int64_t batch, pixels, channels;
  };
  // The last one leaves the cache.
  for (const auto& [batch, pixels, channels] :
       {Case{2, 7, 3}, {1, 1, 16}, {3, 35, 40}, {2, 12, 2100}, {0, 4, 16}, {2, 3721, 512}})
    for (const int count : {1, 2, 3}) {
      INFO(batch << " images of " << pixels << " pixels, " << channels << " channels, " << count
                 << " threads");
      const ThreadsScope scope(count);
      const auto dy = random_values<float>(batch * channels, 1);
      Guarded<float> dx(batch * pixels * channels);
      kernels::cpu::global_avg_pool2d_backward<float>({}, batch, pixels, channels, dy, dx.span());
      CHECK(dx.intact());
      const auto got = dx.values();
      bool right = true;
      for (std::int64_t i = 0; i < dx.size(); ++i)
        right = right &&
                got[std::size_t(i)] == dy[std::size_t(i / (pixels * channels) * channels + i % channels)] *
                                           (1.0f / float(pixels));
      CHECK(right);
    }
}

}  // namespace atrous::tests
