#include "atrous/kernels/conv2d/winograd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/kernels/conv2d/winograd_weight_gradient.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

using kernels::Conv2dDims;
using kernels::Gather;

// A convolution that keeps the size of the map.
Conv2dDims same(std::int64_t batch, std::int64_t h, std::int64_t w, std::int64_t in_channels,
                std::int64_t out_channels, PerAxis rate) {
  return kernels::with_output_size({.batch = batch,
                                    .in_h = h,
                                    .in_w = w,
                                    .in_channels = in_channels,
                                    .out_channels = out_channels,
                                    .window_h = 3,
                                    .window_w = 3,
                                    .padding = same_padding(3, rate),
                                    .rate = rate});
}

template <class T>
std::vector<T> random_values(std::int64_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<T> v(std::size_t(n), T(0));
  for (T& x : v) x = T(float(random.uniform(-1, 1)));
  return v;
}
std::vector<double> doubles(const std::vector<float>& v) { return {v.begin(), v.end()}; }

// Winograd's result, whether or not these sizes would choose it. Scratch memory is full of NaN, with guards.
std::vector<float> winograd(const kernels::WinogradBlocking& b, const Conv2dDims& d,
                            const std::vector<float>& source, const std::vector<float>& weight) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), guard = 12345;
  const auto memory = [&](std::int64_t size) {
    std::vector<float> v(std::size_t(size + 64), guard);
    std::fill_n(v.begin(), size, nan);
    return v;
  };
  const std::int64_t sizes[] = {b.packed_size(), kernels::winograd_workspace_size(b),
                                d.in_pixels() * b.columns};
  std::vector<float> packed = memory(sizes[0]), scratch = memory(sizes[1]), out = memory(sizes[2]);
  kernels::winograd_pack(b, weight, Span<float>(packed.data(), sizes[0]));
  kernels::winograd_run(b, d, source, Span<const float>(packed.data(), sizes[0]), {},
                        Span<float>(scratch.data(), sizes[1]), Span<float>(out.data(), sizes[2]));
  const std::vector<float>* all[] = {&packed, &scratch, &out};
  for (int i = 0; i < 3; ++i)
    CHECK(std::all_of(all[i]->begin() + sizes[i], all[i]->end(), [&](float v) { return v == guard; }));
  // From weights as they are: the same bits.
  const std::int64_t size = kernels::winograd_unpacked_workspace_size(b);
  std::vector<float> workspace = memory(size), again = memory(sizes[2]);
  kernels::winograd_run_unpacked(b, d, source, weight, {}, Span<float>(workspace.data(), size),
                                 Span<float>(again.data(), sizes[2]));
  CHECK(std::all_of(workspace.begin() + size, workspace.end(), [&](float v) { return v == guard; }));
  CHECK(again == out);
  out.resize(std::size_t(sizes[2]));
  return out;
}

// Largest error relative to the largest output, against the plain kernels in double.
double error(const kernels::WinogradBlocking& b, const Conv2dDims& d) {
  const bool forward = b.direction == Gather::forward;
  const auto source = random_values<float>(d.in_pixels() * (forward ? d.in_channels : d.out_channels), 1);
  const auto weight = random_values<float>(9 * d.in_channels * d.out_channels, 2);
  const std::vector<double> source64 = doubles(source), weight64 = doubles(weight);
  std::vector<double> truth(std::size_t(d.in_pixels() * (forward ? d.out_channels : d.in_channels)));
  if (forward)
    kernels::conv2d_forward<double>({}, d, source64, weight64, {}, {}, truth);
  else
    kernels::conv2d_backward_input<double>({}, d, source64, weight64, {}, truth);
  const std::vector<float> got = winograd(b, d, source, weight);
  double worst = 0, largest = 1e-30;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double difference = std::abs(double(got[i]) - truth[i]);
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
    largest = std::max(largest, std::abs(truth[i]));
  }
  return worst / largest;
}

// The same of the gradient by the weight.
double weight_error(const kernels::WinogradWeightGradientBlocking& b, const Conv2dDims& d) {
  const auto x = random_values<float>(d.in_pixels() * d.in_channels, 1);
  const auto dy = random_values<float>(d.in_pixels() * d.out_channels, 2);
  const std::int64_t size = 9 * d.in_channels * d.out_channels;
  const std::vector<double> x64 = doubles(x), dy64 = doubles(dy);
  std::vector<double> truth(std::size_t(size), 0.0);
  kernels::conv2d_backward_weight<double>({}, d, x64, dy64, {}, truth);
  const std::int64_t scratch_size = kernels::winograd_weight_gradient_workspace_size(b);
  const float nan = std::numeric_limits<float>::quiet_NaN(), guard = 12345;
  std::vector<float> scratch(std::size_t(scratch_size + 64), guard), got(std::size_t(size + 64), guard);
  std::fill_n(scratch.begin(), scratch_size, nan);
  std::fill_n(got.begin(), size, nan);
  kernels::winograd_weight_gradient(b, d, x, dy, Span<float>(scratch.data(), scratch_size),
                                    Span<float>(got.data(), size));
  CHECK(std::all_of(scratch.begin() + scratch_size, scratch.end(), [&](float v) { return v == guard; }));
  CHECK(std::all_of(got.begin() + size, got.end(), [&](float v) { return v == guard; }));
  double worst = 0, largest = 1e-30;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double difference = std::abs(double(got[i]) - truth[i]);
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
    largest = std::max(largest, std::abs(truth[i]));
  }
  return worst / largest;
}

// Of an error, relative to the largest output: four times as large with large patches.
double bound(int most_outs) { return most_outs == kernels::kLargeWinograd ? 4e-5 : 1e-5; }

// With small patches and with large ones, whichever these sizes would choose.
void check(const Conv2dDims& d) {
  for (const int most_outs : {kernels::kSmallWinograd, kernels::kLargeWinograd}) {
    INFO(d.batch << 'x' << d.in_h << 'x' << d.in_w << 'x' << d.in_channels << " to " << d.out_channels
                 << ", rate " << d.rate << ", patches of " << most_outs);
    CHECK(error({Gather::forward, d, most_outs}, d) < bound(most_outs));
    CHECK(error({Gather::backward_input, d, most_outs}, d) < bound(most_outs));
    CHECK(weight_error({d, most_outs}, d) < bound(most_outs));
  }
}

}  // namespace

TEST_CASE("winograd: every length of a phase", "[kernels][conv2d][winograd]") {
  const std::int64_t h = GENERATE(range(1, 14));
  for (const std::int64_t w : {1, 2, 5, 11}) check(same(1, h, w, 3, 5, 1));
}

TEST_CASE("winograd: rates, by axis, and larger than the map", "[kernels][conv2d][winograd]") {
  const PerAxis rate =
      GENERATE(PerAxis(2), PerAxis(3), PerAxis(6), PerAxis(1, 4), PerAxis(13, 2), PerAxis(20));
  check(same(2, 13, 10, 4, 7, rate));
}

TEST_CASE("winograd: channels around vectors, panels and blocks", "[kernels][conv2d][winograd]") {
  const std::int64_t channels = GENERATE(1, 15, 16, 17, 33, 400);
  for (const std::int64_t out_channels : {1, 31, 32, 49}) check(same(1, 6, 7, channels, out_channels, 1));
}

TEST_CASE("winograd: more patches than a block holds", "[kernels][conv2d][winograd]") {
  // Of the L3 cache, and of few channels of the L2 cache.
  for (const std::int64_t out_channels : {300, 30}) {
    const Conv2dDims d = same(2, 41, 43, 24, out_channels, 1);
    CHECK(kernels::WinogradWeightGradientBlocking(d).blocks > (out_channels == 30 ? 3 : 1));
    check(d);
  }
}

TEST_CASE("winograd: threads work together on few patches, each on its own on many",
          "[kernels][conv2d][winograd]") {
  const std::int64_t batch = GENERATE(1, 4);
  const Conv2dDims d = same(batch, 31, 37, 72, 200, 2);
  CHECK(kernels::WinogradBlocking(Gather::forward, d).together == (batch == 1));
  check(d);
  // Patches of all kinds: more pairs of points than are transformed at a time.
  const Conv2dDims mixed = same(batch, 9, 13, 90, 70, {2, 5});
  CHECK(kernels::WinogradBlocking(Gather::forward, mixed).together);
  CHECK(kernels::WinogradBlocking(Gather::forward, mixed).cut.slot_count > 16);
  // Of few kinds: all of them are transformed at once.
  const Conv2dDims few = same(batch, 9, 13, 160, 230, 7);
  CHECK(kernels::WinogradBlocking(Gather::forward, few).together);
  CHECK(kernels::WinogradBlocking(Gather::forward, few).cut.slot_count <= 16);
  for (const int team : {1, 2, 3, 8}) {
    const ThreadsScope scope(team);
    check(mixed);
    check(few);
  }
}

TEST_CASE("winograd: is taken where it pays, and `exact` forbids it", "[kernels][conv2d][winograd]") {
  Conv2dDims decoder = same(1, 129, 129, 304, 256, 1);
  CHECK(kernels::takes_winograd(Gather::forward, decoder));
  CHECK(kernels::takes_winograd(Gather::backward_input, decoder));
  CHECK(kernels::takes_winograd(Gather::forward, same(1, 129, 129, 16, 16, 1)));
  // Large patches where they save a tenth.
  const auto most_outs = [](const Conv2dDims& d) {
    return kernels::WinogradBlocking(Gather::forward, d).cut.most_outs;
  };
  CHECK(most_outs(decoder) == kernels::kLargeWinograd);
  CHECK(most_outs(same(1, 33, 33, 2048, 256, 6)) == kernels::kLargeWinograd);
  CHECK(most_outs(same(1, 129, 129, 64, 64, 1)) == kernels::kSmallWinograd);
  CHECK(most_outs(same(1, 33, 33, 2048, 256, 12)) == kernels::kSmallWinograd);
  CHECK(kernels::WinogradWeightGradientBlocking(decoder).cut.most_outs == kernels::kLargeWinograd);
  CHECK(kernels::WinogradWeightGradientBlocking(same(1, 33, 33, 2048, 256, 6)).cut.most_outs ==
        kernels::kSmallWinograd);
  decoder.exact = true;
  CHECK_FALSE(kernels::takes_winograd(Gather::forward, decoder));
  CHECK_FALSE(kernels::takes_winograd(Gather::forward, same(1, 7, 7, 512, 512, 1)));     // weights dominate
  CHECK_FALSE(kernels::takes_winograd(Gather::forward, same(1, 257, 257, 3, 32, 1)));    // transforms do
  CHECK_FALSE(kernels::takes_winograd(Gather::forward, same(1, 33, 33, 256, 256, 40)));  // one live tap
  Conv2dDims strided = same(1, 129, 129, 256, 256, 1);
  strided.stride = 2;
  CHECK_FALSE(kernels::takes_winograd(Gather::forward, with_output_size(strided)));
}

TEST_CASE("winograd: the public kernels take it, with bias and activation", "[kernels][conv2d][winograd]") {
  const std::int64_t batch = GENERATE(1, 5);
  const Conv2dDims d = same(batch, 33, 31, 96, 104, 2);
  REQUIRE(kernels::takes_winograd(Gather::forward, d));
  REQUIRE(kernels::WinogradBlocking(Gather::forward, d).together == (batch == 1));
  const auto x = random_values<float>(d.in_pixels() * 96, 1), weight = random_values<float>(9 * 96 * 104, 2),
             bias = random_values<float>(104, 3);
  const auto run = [&](kernels::Activation activation) {
    std::vector<float> y(std::size_t(d.out_pixels() * 104), 0.0f);
    std::vector<float> scratch(std::size_t(kernels::conv2d_forward_workspace_size<float>(d)));
    kernels::conv2d_forward<float>({}, d, x, weight, {bias, activation}, scratch, y);
    return y;
  };
  const int before = threads();
  set_threads(1);
  const auto y = run(kernels::Activation::none), relu = run(kernels::Activation::relu),
             relu6 = run(kernels::Activation::relu6);
  for (std::size_t i = 0; i < y.size(); ++i) {
    REQUIRE(relu[i] == std::max(y[i], 0.0f));
    REQUIRE(relu6[i] == std::clamp(y[i], 0.0f, 6.0f));
  }
  for (const int n : {2, 3}) {
    set_threads(n);
    CHECK(run(kernels::Activation::none) == y);
  }
  const auto gradient = [&] {
    std::vector<float> dweight(weight.size());
    std::vector<float> scratch(std::size_t(kernels::conv2d_backward_weight_workspace_size<float>(d)));
    kernels::conv2d_backward_weight<float>({}, d, x, y, scratch, dweight);
    return dweight;
  };
  REQUIRE(kernels::takes_winograd_weight_gradient(d));
  set_threads(1);
  const auto dweight = gradient();
  for (const int n : {2, 3}) {
    set_threads(n);
    CHECK(gradient() == dweight);
  }
  set_threads(before);
  // Bias and all, against the direct kernel.
  Conv2dDims exact = d;
  exact.exact = true;
  std::vector<float> direct(y.size()),
      scratch(std::size_t(kernels::conv2d_forward_workspace_size<float>(exact)));
  kernels::conv2d_forward<float>({}, exact, x, weight, {bias, kernels::Activation::none}, scratch, direct);
  float worst = 0, largest = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    worst = std::max(worst, std::abs(y[i] - direct[i]));
    largest = std::max(largest, std::abs(direct[i]));
  }
  CHECK(worst < bound(kernels::WinogradBlocking(Gather::forward, d).cut.most_outs) * largest);
}

}  // namespace atrous::tests
