#include "atrous/kernels/pool2d/pool2d.h"

#include <limits>
#include <sstream>

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::MaxTaps;
using kernels::Pool2dDims;

// batch, in_h, in_w, channels, out_h, out_w, window, stride, padding, count_include_pad
const Pool2dDims kSizes[] = {
    {2, 7, 6, 3, 4, 3, {3, 3}, {2, 2}, {1, 1, 1, 0}, true},
    {2, 7, 6, 8, 4, 3, {3, 3}, {2, 2}, {1, 1, 1, 0}, false},
    {1, 5, 9, 16, 5, 9, {3, 5}, {1, 1}, {1, 1, 2, 2}, true},
    {1, 4, 4, 12, 2, 2, {2, 2}, {2, 2}, {}, false},
    {1, 6, 6, 8, 3, 3, {3, 3}, {2, 2}, {}, true},  // ceil mode: the last window reaches beyond the image
    {1, 3, 3, 8, 4, 4, {2, 2}, {2, 2}, {3, 3, 3, 3}, true},  // windows in the padding alone
    {1, 20, 21, 8, 2, 1, {17, 17}, {3, 5}, {}, false},       // more taps than a byte counts
    {1, 20, 21, 5, 2, 1, {17, 17}, {3, 5}, {}, false},
    {0, 4, 4, 8, 2, 2, {2, 2}, {2, 2}, {}, false},
};

std::string name_of(const Pool2dDims& d) {
  std::ostringstream text;
  text << d.batch << 'x' << d.in_h << 'x' << d.in_w << 'x' << d.channels << ", window " << d.window
       << ", stride " << d.stride << ", padding " << d.padding;
  return text.str();
}

std::int64_t in_size(const Pool2dDims& d) { return d.batch * d.in_h * d.in_w * d.channels; }
std::int64_t out_size(const Pool2dDims& d) { return d.batch * d.out_h * d.out_w * d.channels; }
std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// Taps of one byte or of four.
template <class Index>
MaxTaps taps_of(Span<Index> taps) {
  if constexpr (sizeof(Index) == 1)
    return {taps, {}};
  else
    return {{}, taps};
}

template <class T, class Index>
void compare_max(const Pool2dDims& d, const std::vector<T>& x) {
  const auto dy = random_values<T>(out_size(d), 2);
  std::vector<double> y(dy.size()), dx(x.size());
  std::vector<Index> taps(dy.size());
  kernels::cpu::max_pool2d_forward<double>({}, d, in_double(x), y, taps_of<Index>(taps));
  kernels::cpu::max_pool2d_backward<double>({}, d, in_double(dy), taps_of<Index>(taps), dx);
  on_every_schedule([&] {
    const OnDevice<T> cx(x), cdy(dy);
    OnDevice<T> gy(cdy.size()), alone(cdy.size()), gdx(cx.size());
    OnDevice<Index> gtaps(cdy.size());
    kernels::cuda::max_pool2d_forward<T>(kCudaStream, d, cx.span(), gy.span(), taps_of<Index>(gtaps.span()));
    kernels::cuda::max_pool2d_forward<T>(kCudaStream, d, cx.span(), alone.span(), {});
    kernels::cuda::max_pool2d_backward<T>(kCudaStream, d, cdy.span(), taps_of<Index>(gtaps.span()),
                                          gdx.span());
    CHECK(gap(gy.values(), y) == 0);
    CHECK(gap(alone.values(), y) == 0);
    CHECK(gtaps.values() == taps);
    CHECK(gap(gdx.values(), dx) <= tolerance<T>());
    CHECK((gy.intact() && alone.intact() && gtaps.intact() && gdx.intact()));
  });
}

}  // namespace

TEMPLATE_TEST_CASE("max_pool2d: CUDA finds the CPU's maxima, ties and NaN included", "[cuda][pool2d]", float,
                   bf16, double) {
  using T = TestType;
  for (const Pool2dDims& d : kSizes) {
    INFO(name_of(d));
    // Few different values: ties; and special ones.
    Random random(5);
    std::vector<T> x(size(in_size(d)), T(0));
    const float special[] = {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::infinity(), -0.0f};
    for (T& v : x) v = T(random.below(20) == 0 ? special[random.below(4)] : float(random.below(7)) - 3);
    compare_max<T, std::int32_t>(d, x);
    if (d.taps() <= 256) compare_max<T, std::uint8_t>(d, x);
  }
}

TEMPLATE_TEST_CASE("avg_pool2d: CUDA agrees with double on the CPU", "[cuda][pool2d]", float, bf16, double) {
  using T = TestType;
  for (const Pool2dDims& d : kSizes) {
    INFO(name_of(d));
    const auto x = random_values<T>(in_size(d), 1), dy = random_values<T>(out_size(d), 2);
    std::vector<double> y(dy.size()), dx(x.size());
    kernels::cpu::avg_pool2d_forward<double>({}, d, in_double(x), y);
    kernels::cpu::avg_pool2d_backward<double>({}, d, in_double(dy), dx);
    on_every_schedule([&] {
      const OnDevice<T> cx(x), cdy(dy);
      OnDevice<T> gy(cdy.size()), gdx(cx.size());
      kernels::cuda::avg_pool2d_forward<T>(kCudaStream, d, cx.span(), gy.span());
      kernels::cuda::avg_pool2d_backward<T>(kCudaStream, d, cdy.span(), gdx.span());
      CHECK(gap(gy.values(), y) <= tolerance<T>());
      CHECK(gap(gdx.values(), dx) <= tolerance<T>());
      CHECK((gy.intact() && gdx.intact()));
    });
  }
}

TEMPLATE_TEST_CASE("global_avg_pool2d: CUDA agrees with double on the CPU, always with the same bits",
                   "[cuda][pool2d]", float, bf16, double) {
  using T = TestType;
  for (const std::int64_t channels : {1, 3, 8, 21, 136, 264}) {
    const std::int64_t batch = 2, height = 5, width = 13, pixels = height * width;
    INFO(channels << " channels");
    const auto x = random_values<T>(batch * pixels * channels, 1), dy = random_values<T>(batch * channels, 2);
    std::vector<double> y(dy.size()), dx(x.size());
    kernels::cpu::global_avg_pool2d_forward<double>({}, batch, height, width, channels, in_double(x), y);
    kernels::cpu::global_avg_pool2d_backward<double>({}, batch, pixels, channels, in_double(dy), dx);
    std::vector<T> before;
    on_every_schedule([&] {
      const OnDevice<T> cx(x), cdy(dy);
      OnDevice<T> gy(cdy.size()), gdx(cx.size());
      kernels::cuda::global_avg_pool2d_forward<T>(kCudaStream, batch, height, width, channels, cx.span(),
                                                  gy.span());
      kernels::cuda::global_avg_pool2d_backward<T>(kCudaStream, batch, pixels, channels, cdy.span(),
                                                   gdx.span());
      CHECK(gap(gy.values(), y) <= tolerance<T>());
      CHECK(gap(gdx.values(), dx) <= tolerance<T>());
      CHECK((gy.intact() && gdx.intact()));
      if (before.empty()) before = gy.values();
      CHECK(same_bits(gy.values(), before));
    });
  }
}

}  // namespace atrous::tests
