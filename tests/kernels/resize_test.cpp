#include "atrous/kernels/resize/resize.h"

#include <array>
#include <cmath>
#include <numeric>

#include "atrous/core/cpu_isa.h"
#include "atrous/core/parallel.h"
#include "atrous/kernels/resize/resize_rule.h"
#include "atrous/kernels/resize/resize_simd.h"
#include "atrous/kernels/softmax/softmax.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::ResizeAxis;
using kernels::ResizeDims;
using kernels::ResizeTap;

template <class T>
std::vector<T> forward(const ResizeDims& d, const std::vector<T>& x) {
  Guarded<T> y(d.batch * d.out_h * d.out_w * d.channels);
  kernels::resize_bilinear_forward<T>({}, d, x, y.span());
  CHECK(y.intact());
  return y.values();
}

template <class T>
std::vector<T> backward(const ResizeDims& d, const std::vector<T>& dy) {
  Guarded<T> dx(d.batch * d.in_h * d.in_w * d.channels);
  kernels::resize_bilinear_backward<T>({}, d, dy, dx.span());
  CHECK(dx.intact());
  return dx.values();
}

double gap(const std::vector<float>& a, const std::vector<double>& b) {
  double worst = 0, scale = 1e-3;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double d = std::abs(double(a[i]) - b[i]);
    worst = d <= worst ? worst : d;
    scale = std::max(scale, std::abs(b[i]));
  }
  return worst / scale;
}

}  // namespace

TEST_CASE("resize_bilinear: three rows out of two, by hand", "[kernels][resize]") {
  // corners aligned: 0 1/2 1           half-pixel centres: at -1/6 (so 0), 1/2, 7/6 (so 1)
  CHECK(forward<double>({1, 2, 1, 3, 1, 1, true}, {4, 8}) == std::vector<double>{4, 6, 8});
  CHECK(forward<double>({1, 2, 1, 3, 1, 1, false}, {4, 8}) == std::vector<double>{4, 6, 8});
  CHECK(forward<float>({1, 1, 2, 1, 4, 1, false}, {4, 8}) == std::vector<float>{4, 5, 7, 8});
  CHECK(forward<float>({1, 1, 2, 1, 5, 1, true}, {4, 8}) == std::vector<float>{4, 5, 6, 7, 8});
}

TEST_CASE("resize_bilinear: the rule's inverse finds exactly the outputs of every input",
          "[kernels][resize]") {
  for (const bool aligned : {true, false})
    for (const std::int64_t in : {1, 2, 3, 7, 16, 33, 65})
      for (const std::int64_t out : {1, 2, 3, 5, 16, 31, 65, 129, 257}) {
        const ResizeAxis axis{in, out, aligned};
        INFO(in << " to " << out << (aligned ? " aligned" : " half-pixel"));
        bool right = axis.first(0) == 0 && axis.first(in) == out;
        for (std::int64_t o = 0; o < out; ++o) {
          const ResizeTap tap = axis.tap(o);
          right = right && tap.low >= 0 && tap.high < in && tap.weight >= 0 && tap.weight < 1;
          right = right && (tap.high == tap.low) == (tap.weight == 0);
          right = right && axis.first(tap.low) <= o && o < axis.first(tap.low + 1);
        }
        CHECK(right);
      }
}

TEST_CASE("resize_bilinear: floats agree with doubles for every size and number of channels",
          "[kernels][resize]") {
  const std::int64_t channels = GENERATE(1, 3, 8, 11, 16, 17, 21, 37, 64);
  for (const bool aligned : {true, false})
    for (const auto& [in_h, in_w, out_h, out_w] : {std::array<std::int64_t, 4>{5, 6, 17, 21},
                                                   {1, 1, 3, 40},
                                                   {9, 7, 3, 2},
                                                   {4, 300, 5, 257},
                                                   {2, 3, 1, 1},
                                                   {3, 2, 3, 600}}) {
      const ResizeDims d{2, in_h, in_w, out_h, out_w, channels, aligned};
      INFO(in_h << 'x' << in_w << " to " << out_h << 'x' << out_w << ", " << channels << " channels");
      const std::int64_t in = 2 * in_h * in_w * channels, out = 2 * out_h * out_w * channels;
      CHECK(gap(forward(d, random_values<float>(in, 1)), forward(d, random_values<double>(in, 1))) < 1e-6);
      CHECK(gap(backward(d, random_values<float>(out, 2)), backward(d, random_values<double>(out, 2))) <
            2e-6);
    }
}

TEST_CASE("resize_bilinear: the gradient by rows is that of doubles, the same bits for any threads",
          "[kernels][resize]") {
  // Blocks of columns as the sum has room: several; all in one; a single column each; none, so without.
  for (const auto& [in_h, in_w, out_h, out_w, channels] : {std::array<std::int64_t, 5>{5, 40, 17, 157, 256},
                                                           {9, 21, 33, 81, 19},
                                                           {3, 4, 3, 70, 300},
                                                           {1, 1, 9, 65, 256},
                                                           {7, 90, 3, 50, 130}})
    for (const bool aligned : {true, false}) {
      const ResizeDims d{2, in_h, in_w, out_h, out_w, channels, aligned};
      INFO(in_h << 'x' << in_w << " to " << out_h << 'x' << out_w << ", " << channels << " channels");
      const std::int64_t n = 2 * out_h * out_w * channels;
      const auto dy = random_values<float>(n, 2);
      std::vector<float> first;
      for (const int count : {1, 2, 3}) {
        const ThreadsScope scope(count);
        const auto dx = backward(d, dy);
        if (first.empty()) {
          first = dx;
          CHECK(gap(dx, backward(d, std::vector<double>(dy.begin(), dy.end()))) < 2e-6);
        }
        CHECK(dx == first);
      }
    }
}

TEST_CASE("resize_sum_rows: the weighted sum of rows on every instruction set", "[kernels][resize]") {
  for (const CpuIsa isa : {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512}) {
    if (isa > cpu_isa()) continue;
    for (const std::int64_t n : {1, 15, 16, 64, 67, 200})
      for (const std::int64_t count : {0, 1, 7}) {
        INFO(cpu_isa_name(isa) << ", " << count << " rows of " << n);
        const std::int64_t stride = n + 3;
        const auto rows = random_values<float>(7 * stride, 1), weights = random_values<float>(7, 2);
        Guarded<float> sum(n);
        kernels::simd::resize_sum_rows.on(isa)(rows.data(), stride, weights.data(), count, n,
                                               sum.span().data());
        CHECK(sum.intact());
        std::vector<double> wanted(std::size_t(n), 0.0);
        for (std::int64_t r = 0; r < count; ++r)
          for (std::int64_t i = 0; i < n; ++i)
            wanted[std::size_t(i)] +=
                double(weights[std::size_t(r)]) * double(rows[std::size_t(r * stride + i)]);
        CHECK(gap(sum.values(), wanted) < 4e-6);
      }
  }
}

TEST_CASE("resize_bilinear: results larger than the cache are written past it, and right",
          "[kernels][resize]") {
  const ResizeDims d{1, 33, 65, 131, 400, 80, true};
  const std::int64_t in = d.in_h * d.in_w * d.channels;
  CHECK(gap(forward(d, random_values<float>(in, 1)), forward(d, random_values<double>(in, 1))) < 1e-6);
}

TEST_CASE("resize_bilinear: into some channels of y, the others stay", "[kernels][resize]") {
  const std::int64_t channels = GENERATE(1, 3, 16, 17, 80);
  const std::int64_t before = 16, behind = GENERATE(0, 5, 16), all = before + channels + behind;
  // The second one leaves the cache.
  for (ResizeDims d :
       {ResizeDims{2, 5, 6, 17, 21, channels, true}, ResizeDims{1, 33, 65, 131, 400, channels, true}}) {
    INFO(channels << " of " << all << " channels, " << d.out_h << 'x' << d.out_w);
    const auto x = random_values<float>(d.batch * d.in_h * d.in_w * channels, 1);
    const auto plain = forward(d, x);
    const auto plain64 = forward(d, std::vector<double>(x.begin(), x.end()));
    const std::int64_t pixels = d.batch * d.out_h * d.out_w;
    d.y_channels = all;
    const auto fits = [&]<class T>(const std::vector<T>& from, const std::vector<T>& wanted) {
      Guarded<T> y(pixels * all);
      kernels::resize_bilinear_forward<T>({}, d, from, y.span().part(before, pixels * all - before));
      bool right = y.intact();
      for (std::int64_t i = 0; i < pixels * all; ++i) {
        const std::int64_t c = i % all - before;
        right = right && (c >= 0 && c < channels ? y[i] == wanted[std::size_t(i / all * channels + c)]
                                                 : std::isnan(y[i]));
      }
      return right;
    };
    CHECK(fits(x, plain));
    CHECK(fits(std::vector<double>(x.begin(), x.end()), plain64));
  }
}

TEST_CASE("resize_bilinear: what is read with weight 0 does not matter", "[kernels][resize]") {
  // 3 to 5 aligned: outputs 0, 2 and 4 lie on inputs.
  const float inf = INFINITY;
  const auto y = forward<float>({1, 1, 3, 1, 5, 1, true}, {1, inf, 2});
  CHECK((y[0] == 1 && y[2] == inf && y[4] == 2));
  const auto dx = backward<float>({1, 1, 3, 1, 5, 1, true}, {1, 1, inf, 1, 1});
  CHECK((dx[0] == 1.5f && dx[1] == inf && dx[2] == 1.5f));
}

TEST_CASE("resize_argmax: the labels of the two separate kernels", "[kernels][resize]") {
  const std::int64_t classes = GENERATE(1, 2, 6, 11, 16, 21, 100, 255, 600);
  for (const bool aligned : {true, false}) {
    const ResizeDims d{2, 4, 5, 13, 270, classes, aligned};
    const auto x = random_values<float>(2 * 4 * 5 * classes, 3);
    const auto y = forward(d, x);
    const std::int64_t pixels = 2 * 13 * 270;
    Guarded<std::int32_t> separate(pixels), fused(pixels);
    kernels::argmax_channels<float>({}, {pixels, classes}, y, {}, separate.span());
    kernels::resize_argmax<float>({}, d, x, {}, fused.span());
    CHECK(separate.values() == fused.values());
    CHECK(fused.intact());
    if (classes > 255) continue;
    Guarded<std::uint8_t> narrow(pixels);
    kernels::resize_argmax<float>({}, d, x, narrow.span(), {});
    CHECK(narrow.intact());
    CHECK(std::equal(fused.span().begin(), fused.span().end(), narrow.span().begin()));
  }
}

TEST_CASE("resize_nearest: PyTorch's nearest-exact, and TensorFlow's rule for aligned corners",
          "[kernels][resize]") {
  const auto resized = [](std::int64_t out, bool aligned) {
    std::vector<std::uint8_t> x(7), y(std::size_t(out), 0);
    std::iota(x.begin(), x.end(), std::uint8_t(0));
    kernels::resize_nearest<std::uint8_t>({}, {1, 1, 7, 1, out, 1, aligned}, x, y);
    return std::vector<int>(y.begin(), y.end());
  };
  CHECK(resized(3, false) == std::vector<int>{1, 3, 5});
  CHECK(resized(5, false) == std::vector<int>{0, 2, 3, 4, 6});
  CHECK(resized(10, false) == std::vector<int>{0, 1, 1, 2, 3, 3, 4, 5, 5, 6});
  CHECK(resized(5, true) == std::vector<int>{0, 2, 3, 5, 6});  // 0, 1.5, 3, 4.5, 6: halves go up
  CHECK(resized(1, true) == std::vector<int>{0});
  // Ignore labels and i32 pass unharmed, all channels of a pixel together.
  std::vector<std::int32_t> pairs = {255, -1, 7, 8}, twice(8);
  kernels::resize_nearest<std::int32_t>({}, {1, 2, 1, 4, 1, 2, false}, pairs, twice);
  CHECK(twice == std::vector<std::int32_t>{255, -1, 255, -1, 7, 8, 7, 8});
}

TEST_CASE("resize_antialias: agrees with Pillow and PyTorch", "[kernels][resize]") {
  const std::vector<float> x = {0,  10, 20, 40, 80, 100, 50, 5,  25, 15, 35, 45, 65, 85, 90, 70, 60, 30,
                                20, 10, 0,  1,  2,  4,   8,  16, 32, 64, 64, 32, 16, 8,  4,  2,  1};
  const auto resized = [&](std::int64_t h, std::int64_t w) {
    const ResizeDims d{1, 5, 7, h, w, 1, false};
    Guarded<float> y(h * w), workspace(kernels::resize_antialias_workspace_size(d));
    kernels::resize_antialias_forward<float>({}, d, x, workspace.span(), y.span());
    CHECK((y.intact() && workspace.intact()));
    return y.values();
  };
  // torch.nn.functional.interpolate(mode="bilinear", antialias=True), 1.13; Pillow 9.4 gives the same to 6
  // digits.
  CHECK(gap(resized(2, 3), {26.295454545454543, 37.23262032085562, 56.298701298701296, 31.33441558441558,
                            16.96524064171123, 22.05519480519481}) < 1e-6);
  CHECK(gap(resized(1, 1), {31.35419630156472}) < 1e-6);
  // Growing, it is the plain half-pixel rule.
  CHECK(gap(resized(7, 10), [&] {
          return forward<double>({1, 5, 7, 7, 10, 1, false}, std::vector<double>(x.begin(), x.end()));
        }()) < 1e-6);
}

TEST_CASE("resize: an empty batch does nothing", "[kernels][resize]") {
  CHECK(forward<float>({0, 3, 4, 5, 6, 7, true}, {}).empty());
  CHECK(backward<float>({0, 3, 4, 5, 6, 7, true}, {}).empty());
  kernels::resize_argmax<float>({}, {0, 3, 4, 5, 6, 7, true}, {}, {}, {});
}

}  // namespace atrous::tests
