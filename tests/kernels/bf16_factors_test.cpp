#include <algorithm>
#include <cmath>
#include <vector>

#include "atrous/core/cpu_isa.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/direct.h"
#include "atrous/kernels/conv2d/winograd.h"
#include "tests/support/catch.h"

// Convolutions of floats whose factors are rounded to bf16 (Conv2dDims::allow_bf16).

namespace atrous::tests {
namespace {

using kernels::Activation;
using kernels::Conv2dDims;
using kernels::Gather;

std::vector<float> random_values(std::int64_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> v(std::size_t(n), 0.0f);
  for (float& x : v) x = float(random.uniform(-1, 1));
  return v;
}

std::vector<double> rounded_to_bf16(const std::vector<float>& v) {
  std::vector<double> r;
  for (const float x : v) r.push_back(double(float(bf16(x))));
  return r;
}

struct Problem {
  Conv2dDims d;
  std::vector<float> x, weight, bias, residual;
  Activation activation = Activation::relu6;

  explicit Problem(const Conv2dDims& sizes) : d(kernels::with_output_size(sizes)) {
    d.allow_bf16 = true;
    x = random_values(d.in_pixels() * d.in_channels, 1);
    weight = random_values(d.taps() * d.in_channels * d.out_channels, 2);
    bias = random_values(d.out_channels, 3);
    residual = random_values(d.out_pixels() * d.out_channels, 4);
  }

  std::vector<float> forward() const {
    std::vector<float> packed(std::size_t(kernels::conv2d_packed_weight_size<float>(d)), NAN),
        scratch(std::size_t(kernels::conv2d_forward_packed_workspace_size<float>(d)), NAN),
        y(residual.size(), NAN);
    kernels::conv2d_pack_weight<float>({}, d, weight, packed);
    kernels::conv2d_forward_packed<float>({}, d, x, packed, {bias, activation, residual}, scratch, y);
    return y;
  }
  // In double, of the factors as they are rounded.
  std::vector<double> truth() const {
    const std::vector<double> bias64(bias.begin(), bias.end()), residual64(residual.begin(), residual.end());
    std::vector<double> y(residual.size());
    kernels::conv2d_forward<double>({}, d, rounded_to_bf16(x), rounded_to_bf16(weight),
                                    {bias64, activation, residual64}, {}, y);
    return y;
  }
};

// Short and long sums, odd channels, pixels and columns that fill no tile, strides, padding, empty windows.
const std::vector<Conv2dDims> kSizes = {
    {.batch = 1, .in_h = 9, .in_w = 13, .in_channels = 64, .out_channels = 48},
    {.batch = 2, .in_h = 8, .in_w = 7, .in_channels = 33, .out_channels = 101, .stride = 2},
    {.batch = 1, .in_h = 5, .in_w = 5, .in_channels = 2047, .out_channels = 19},
    {.batch = 1,
     .in_h = 13,
     .in_w = 11,
     .in_channels = 95,
     .out_channels = 40,
     .window_h = 3,
     .window_w = 3,
     .stride = 2,
     .padding = 1},
    {.batch = 1,
     .in_h = 9,
     .in_w = 9,
     .in_channels = 64,
     .out_channels = 32,
     .window_h = 3,
     .window_w = 3,
     .padding = 12,
     .rate = 12},
    {.batch = 1,
     .in_h = 6,
     .in_w = 6,
     .in_channels = 50,
     .out_channels = 64,
     .window_h = 2,
     .window_w = 4,
     .padding = 8,
     .rate = 3},
};

bool skipped() {
  if (!cpu_multiplies_bf16()) WARN("no AVX512_BF16 on this processor: skipped");
  return !cpu_multiplies_bf16();
}

}  // namespace

TEST_CASE("bf16 factors: sums in single precision of factors rounded to nearest", "[kernels][conv2d][bf16]") {
  if (skipped()) return;
  for (const Conv2dDims& sizes : kSizes)
    for (const Activation activation : {Activation::none, Activation::relu6, Activation::hard_swish}) {
      Problem p(sizes);
      p.activation = activation;
      INFO(p.d.in_h << 'x' << p.d.in_w << ", channels " << p.d.in_channels << " to " << p.d.out_channels);
      REQUIRE(kernels::takes_bf16_pairs(Gather::forward, p.d));
      REQUIRE_FALSE(kernels::takes_winograd(Gather::forward, p.d));
      const std::vector<float> y = p.forward();
      const std::vector<double> truth = p.truth();
      double worst = 0;
      for (std::size_t i = 0; i < y.size(); ++i) {
        const double error = std::abs(double(y[i]) - truth[i]);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
      }
      const double terms = double(p.d.taps() * p.d.in_channels);
      CHECK(worst < 2e-7 * (3 + terms));  // each of the sum's roundings within 2^-23 of a sum of its size
    }
}

TEST_CASE("bf16 factors: the same bits for any number of threads", "[kernels][conv2d][bf16]") {
  if (skipped()) return;
  const int before = threads();
  const Problem p({.batch = 2, .in_h = 31, .in_w = 33, .in_channels = 130, .out_channels = 70});
  set_threads(1);
  const std::vector<float> one = p.forward();
  for (const int team : {2, 3}) {
    set_threads(team);
    CHECK(p.forward() == one);
  }
  set_threads(before);
}

TEST_CASE("bf16 factors: of no effect on exact sums, short sums, gradients and the types that are not f32",
          "[kernels][conv2d][bf16]") {
  Conv2dDims d = kSizes[0];
  d.allow_bf16 = true;
  CHECK_FALSE(kernels::takes_bf16_pairs(Gather::backward_input, d));
  d.exact = true;
  CHECK_FALSE(kernels::takes_bf16_pairs(Gather::forward, d));
  d.exact = false;
  d.in_channels = 3;
  CHECK_FALSE(kernels::takes_bf16_pairs(Gather::forward, d));
  d = kSizes[0];
  CHECK_FALSE(kernels::takes_bf16_pairs(Gather::forward, d));  // not allowed
  Conv2dDims allowed = d;
  allowed.allow_bf16 = true;
  CHECK(kernels::conv2d_same_packing<double>(d, allowed));
  CHECK(kernels::conv2d_same_packing<float>(d, allowed) == !cpu_multiplies_bf16());
}

}  // namespace atrous::tests
