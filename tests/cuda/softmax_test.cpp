#include "atrous/kernels/softmax/softmax.h"

#include <limits>

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::SoftmaxDims;

// One lane a pixel, several, a whole warp, and rows that stay in device memory.
const SoftmaxDims kSizes[] = {{1, 1},   {130, 2},  {300, 19}, {257, 21}, {128, 44}, {65, 45},
                              {70, 64}, {33, 150}, {9, 256},  {3, 1000}, {2, 1500}, {0, 21}};

std::size_t size(const SoftmaxDims& d) { return static_cast<std::size_t>(d.pixels * d.classes); }

template <class T>
std::vector<T> logits(const SoftmaxDims& d, std::uint64_t seed) {
  std::vector<T> v = random_values<T>(d.pixels * d.classes, seed);
  for (T& x : v) x = T(Accumulator<T>(x) * Accumulator<T>(8));
  return v;
}

using Row = std::vector<double>;

}  // namespace

TEMPLATE_TEST_CASE("softmax: CUDA agrees with double on the CPU", "[cuda][softmax]", float, bf16, double) {
  using T = TestType;
  for (const SoftmaxDims& d : kSizes) {
    INFO(d.pixels << " pixels, " << d.classes << " classes");
    const auto x = logits<T>(d, 1), dy = random_values<T>(d.pixels * d.classes, 2);
    Row y(size(d)), log_y(size(d)), dx(size(d)), log_dx(size(d));
    kernels::cpu::softmax_forward<double>({}, d, in_double(x), y);
    kernels::cpu::log_softmax_forward<double>({}, d, in_double(x), log_y);
    std::vector<T> rounded(size(d), T(0)), log_rounded(size(d), T(0));  // what the backward kernels read
    for (std::size_t i = 0; i < size(d); ++i)
      rounded[i] = T(Accumulator<T>(y[i])), log_rounded[i] = T(Accumulator<T>(log_y[i]));
    kernels::cpu::softmax_backward<double>({}, d, in_double(rounded), in_double(dy), dx);
    kernels::cpu::log_softmax_backward<double>({}, d, in_double(log_rounded), in_double(dy), log_dx);
    std::vector<T> before;
    on_every_schedule([&] {
      const OnDevice<T> cx(x), cdy(dy), cy(rounded), clog(log_rounded);
      OnDevice<T> gy(cx.size()), glog(cx.size()), gdx(cx.size()), glogdx(cx.size());
      kernels::cuda::softmax_forward<T>(kCudaStream, d, cx.span(), gy.span());
      kernels::cuda::log_softmax_forward<T>(kCudaStream, d, cx.span(), glog.span());
      kernels::cuda::softmax_backward<T>(kCudaStream, d, cy.span(), cdy.span(), gdx.span());
      kernels::cuda::log_softmax_backward<T>(kCudaStream, d, clog.span(), cdy.span(), glogdx.span());
      CHECK(gap(gy.values(), y) <= tolerance<T>());
      CHECK(gap(glog.values(), log_y) <= tolerance<T>());
      CHECK(gap(gdx.values(), dx) <= tolerance<T>());
      CHECK(gap(glogdx.values(), log_dx) <= tolerance<T>());
      CHECK((gy.intact() && glog.intact() && gdx.intact() && glogdx.intact()));
      if (before.empty()) before = gy.values();
      CHECK(same_bits(gy.values(), before));
    });
  }
}

TEMPLATE_TEST_CASE("softmax: on CUDA memory may begin anywhere", "[cuda][softmax]", float, bf16, double) {
  using T = TestType;
  const SoftmaxDims d{131, 21};
  const auto x = logits<T>({131 * 21 + 1, 1}, 1);
  const std::vector<double> all = in_double(x);
  Row y(size(d));
  kernels::cpu::softmax_forward<double>({}, d, Row(all.begin() + 1, all.end()), y);
  const OnDevice<T> cx(x);
  OnDevice<T> gy(131 * 21);
  kernels::cuda::softmax_forward<T>(kCudaStream, d, cx.span().part(1, 131 * 21), gy.span());
  CHECK(gap(gy.values(), y) <= tolerance<T>());
}

TEMPLATE_TEST_CASE("softmax: on CUDA a broken pixel stays by itself", "[cuda][softmax]", float, bf16,
                   double) {
  using T = TestType;
  for (const SoftmaxDims d : {SoftmaxDims{40, 21}, {40, 70}, {3, 1500}})
    for (const float special :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38f, -3e38f}) {
      auto x = logits<T>(d, 1);
      x[std::size_t(d.classes + 3)] = T(special);
      INFO(special << " of " << d.classes << " classes");
      Row y(size(d)), log_y(size(d));
      kernels::cpu::softmax_forward<double>({}, d, in_double(x), y);
      kernels::cpu::log_softmax_forward<double>({}, d, in_double(x), log_y);
      const OnDevice<T> cx(x);
      OnDevice<T> gy(cx.size()), glog(cx.size());
      kernels::cuda::softmax_forward<T>(kCudaStream, d, cx.span(), gy.span());
      kernels::cuda::log_softmax_forward<T>(kCudaStream, d, cx.span(), glog.span());
      CHECK(gap(gy.values(), y) <= tolerance<T>());
      CHECK(gap(glog.values(), log_y) <= tolerance<T>());
    }
}

TEMPLATE_TEST_CASE("argmax_channels: CUDA gives the CPU's labels, ties and NaN included", "[cuda][softmax]",
                   float, bf16, double) {
  using T = TestType;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInf = std::numeric_limits<float>::infinity();
  for (const SoftmaxDims& d : kSizes) {
    INFO(d.pixels << " pixels, " << d.classes << " classes");
    // Few different values, so that the greatest comes more than once, and special ones.
    Random random(5);
    std::vector<T> x(size(d), T(0));
    for (T& v : x) v = T(float(random.below(9)));
    for (std::int64_t p = 0; p < d.pixels; ++p) {
      const float special[] = {kNan, -kInf, kInf};
      if (p % 3 == 0) x[std::size_t(p * d.classes + random.below(d.classes))] = T(special[p / 3 % 3]);
      if (p % 7 == 1)
        for (std::int64_t c = 0; c < d.classes; ++c)
          x[std::size_t(p * d.classes + c)] = T(p % 2 ? -kInf : kNan);
    }
    std::vector<std::int32_t> wide(std::size_t(d.pixels), 0);
    kernels::cpu::argmax_channels<double>({}, d, in_double(x), {}, wide);
    const std::vector<std::uint8_t> narrow(wide.begin(), wide.end());
    on_every_schedule([&] {
      const OnDevice<T> cx(x);
      OnDevice<std::uint8_t> small(d.pixels);
      OnDevice<std::int32_t> large(d.pixels);
      kernels::cuda::argmax_channels<T>(kCudaStream, d, cx.span(), small.span(), {});
      kernels::cuda::argmax_channels<T>(kCudaStream, d, cx.span(), {}, large.span());
      CHECK(large.values() == wide);
      if (d.classes <= 256) CHECK(small.values() == narrow);
      CHECK((small.intact() && large.intact()));
    });
  }
}

}  // namespace atrous::tests
