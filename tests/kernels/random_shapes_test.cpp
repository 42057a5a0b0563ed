#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/winograd.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"
#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"

// Convolutions of sizes drawn at random, so that ways of cutting the work meet that nobody thought of: every
// kernel in single precision against the plain loops in double, with workspaces of the size that was asked
// for, guarded; the same bits for every number of threads and from packed weights.
//
// ATROUS_RANDOM_SHAPES=N tests N shapes of each kind in place of a few, ATROUS_RANDOM_SEED=N other ones, and
// ATROUS_RANDOM_PRODUCTS=N convolutions of up to N products.

namespace atrous::tests {
namespace {

using kernels::Conv2dDims;
using kernels::DepthwiseConv2dDims;

std::int64_t setting(const char* name, std::int64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::stoll(text) : otherwise;
}

template <class T, std::size_t N>
T any_of(Random& random, const T (&list)[N]) {
  return list[std::size_t(random.below(std::int64_t(N)))];
}
// Small numbers, the neighbours of powers of two, and whatever lies between.
std::int64_t any_channels(Random& random) {
  static constexpr std::int64_t kEdges[] = {1,  2,  3,  4,  8,  15, 16, 17,  21,  24,
                                            31, 32, 33, 48, 64, 65, 96, 128, 256, 512};
  return random.below(3) ? any_of(random, kEdges) : 1 + random.below(300);
}
PerAxis any_axes(Random& random, std::int64_t most) {
  const std::int64_t h = 1 + random.below(most);
  return {h, random.below(4) ? h : 1 + random.below(most)};
}

// A shape without channels: sizes, window, rate, stride and padding, which both kinds of dims have.
template <class Dims>
Dims any_window(Random& random) {
  Dims d;
  static constexpr std::int64_t kWindows[] = {1, 1, 2, 3, 3, 3, 3, 3, 5, 7};
  d.batch = random.below(4) ? 1 : 1 + random.below(5);
  d.in_h = 1 + random.below(random.below(2) ? 12 : 48);
  d.in_w = 1 + random.below(random.below(2) ? 12 : 48);
  d.window_h = any_of(random, kWindows);
  d.window_w = random.below(4) ? d.window_h : any_of(random, kWindows);
  d.rate = random.below(2) ? PerAxis(1) : any_axes(random, random.below(2) ? 4 : 20);
  d.stride = random.below(3) ? PerAxis(1) : any_axes(random, 3);
  // Mostly what keeps the size, which has fast ways of its own.
  const std::int64_t h = (d.window_h - 1) * d.rate.h, w = (d.window_w - 1) * d.rate.w;
  d.padding.top = d.padding.bottom = h / 2;
  d.padding.left = d.padding.right = w / 2;
  if (random.below(4) == 0)
    for (std::int64_t* side : {&d.padding.top, &d.padding.bottom, &d.padding.left, &d.padding.right})
      *side = random.below(std::max(h, w) + 2);
  d.out_h = window_positions(d.in_h, d.padding.top, d.padding.bottom, d.window_h, d.rate.h, d.stride.h);
  d.out_w = window_positions(d.in_w, d.padding.left, d.padding.right, d.window_w, d.rate.w, d.stride.w);
  return d;
}

template <class Dims>
std::string words(const Dims& d) {
  std::ostringstream s;
  s << "x " << d.batch << 'x' << d.in_h << 'x' << d.in_w << ", window " << PerAxis(d.window_h, d.window_w)
    << ", stride " << d.stride << ", rate " << d.rate << ", padding " << d.padding;
  return s.str();
}

// Runs kernel(workspace, result) on guarded memory.
template <class T, class Kernel>
std::vector<T> guarded(std::int64_t workspace_size, std::int64_t size, const Kernel& kernel) {
  Guarded<T> workspace(workspace_size), result(size);
  kernel(workspace.span(), result.span());
  CHECK(workspace.intact());
  CHECK(result.intact());
  return result.values();
}

template <class T>
struct Convolution {
  Conv2dDims d;
  std::vector<T> x = random_values<T>(d.in_pixels() * d.in_channels, 1),
                 weight = random_values<T>(d.taps() * d.in_channels * d.out_channels, 2),
                 bias = random_values<T>(d.out_channels, 3),
                 dy = random_values<T>(d.out_pixels() * d.out_channels, 4);

  std::int64_t y_size() const { return std::int64_t(dy.size()); }
  std::vector<T> forward() const {
    return guarded<T>(kernels::conv2d_forward_workspace_size<T>(d), y_size(),
                      [&](Span<T> scratch, Span<T> y) {
                        kernels::conv2d_forward<T>({}, d, x, weight, {bias}, scratch, y);
                      });
  }
  std::vector<T> forward_packed() const {
    Guarded<T> packed(kernels::conv2d_packed_weight_size<T>(d));
    kernels::conv2d_pack_weight<T>({}, d, weight, packed.span());
    CHECK(packed.intact());
    return guarded<T>(kernels::conv2d_forward_packed_workspace_size<T>(d), y_size(),
                      [&](Span<T> scratch, Span<T> y) {
                        kernels::conv2d_forward_packed<T>({}, d, x, packed.span(), {bias}, scratch, y);
                      });
  }
  std::vector<T> backward_input() const {
    return guarded<T>(kernels::conv2d_backward_input_workspace_size<T>(d), std::int64_t(x.size()),
                      [&](Span<T> scratch, Span<T> dx) {
                        kernels::conv2d_backward_input<T>({}, d, dy, weight, scratch, dx);
                      });
  }
  std::vector<T> backward_weight() const {
    return guarded<T>(kernels::conv2d_backward_weight_workspace_size<T>(d), std::int64_t(weight.size()),
                      [&](Span<T> scratch, Span<T> dweight) {
                        kernels::conv2d_backward_weight<T>({}, d, x, dy, scratch, dweight);
                      });
  }
};

template <class T>
struct Depthwise {
  DepthwiseConv2dDims d;
  std::vector<T> x = random_values<T>(d.in_pixels() * d.channels, 1),
                 weight = random_values<T>(d.taps() * d.out_channels(), 2),
                 bias = random_values<T>(d.out_channels(), 3),
                 dy = random_values<T>(d.out_pixels() * d.out_channels(), 4);

  std::vector<T> forward() const {
    return guarded<T>(kernels::depthwise_conv2d_forward_workspace_size<T>(d), std::int64_t(dy.size()),
                      [&](Span<T> scratch, Span<T> y) {
                        kernels::depthwise_conv2d_forward<T>({}, d, x, weight, {bias}, scratch, y);
                      });
  }
  std::vector<T> backward_input() const {
    return guarded<T>(kernels::depthwise_conv2d_backward_input_workspace_size<T>(d), std::int64_t(x.size()),
                      [&](Span<T> scratch, Span<T> dx) {
                        kernels::depthwise_conv2d_backward_input<T>({}, d, dy, weight, scratch, dx);
                      });
  }
  std::vector<T> backward_weight() const {
    return guarded<T>(kernels::depthwise_conv2d_backward_weight_workspace_size<T>(d),
                      std::int64_t(weight.size()), [&](Span<T> scratch, Span<T> dweight) {
                        kernels::depthwise_conv2d_backward_weight<T>({}, d, x, dy, scratch, dweight);
                      });
  }
};

// Three kernels of a problem in float against double, with 1 to 3 threads.
template <template <class> class Problem, class Dims>
void check(const Dims& d, double bound) {
  const ThreadsScope two(2);
  const Problem<double> exact{d};
  const Problem<float> problem{d};
  const std::vector<float> y = problem.forward(), dx = problem.backward_input(),
                           dweight = problem.backward_weight();
  CHECK(gap(y, exact.forward()) < bound);
  CHECK(gap(dx, exact.backward_input()) < bound);
  CHECK(gap(dweight, exact.backward_weight()) < bound);
  if constexpr (requires { problem.forward_packed(); }) CHECK((problem.forward_packed() == y));
  for (const int team : {1, 3}) {
    const ThreadsScope scope(team);
    CHECK((problem.forward() == y));
    CHECK((problem.backward_input() == dx));
    CHECK((problem.backward_weight() == dweight));
  }
}

// Draws shapes until `count` of them are neither empty nor more work than `most` products, and checks them.
template <class Draw, class Check>
void for_random_shapes(std::int64_t count, const Draw& draw, const Check& run) {
  const std::int64_t seed = setting("ATROUS_RANDOM_SEED", 1);
  for (std::uint64_t stream = 0; count > 0; ++stream) {
    Random random(std::uint64_t(seed), stream);
    const auto d = draw(random);
    if (d.out_h <= 0 || d.out_w <= 0) continue;
    if (run(d)) --count;
  }
}

}  // namespace

TEST_CASE("random shapes: conv2d agrees with double, whatever the sizes", "[kernels][conv2d]") {
  const std::int64_t most = setting("ATROUS_RANDOM_PRODUCTS", 5'000'000);
  for_random_shapes(
      setting("ATROUS_RANDOM_SHAPES", 60),
      [](Random& random) {
        Conv2dDims d = any_window<Conv2dDims>(random);
        d.in_channels = any_channels(random);
        d.out_channels = any_channels(random);
        d.exact = random.below(8) == 0;
        return d;
      },
      [&](const Conv2dDims& d) {
        if (d.out_pixels() * d.taps() * d.in_channels * d.out_channels > most) return false;
        INFO(words(d) << ", channels " << d.in_channels << " to " << d.out_channels << ", exact " << d.exact);
        check<Convolution>(d, !d.exact && kernels::winograd_applies(d) ? 4e-5 : 4e-6);
        return true;
      });
}

TEST_CASE("random shapes: depthwise_conv2d agrees with double, whatever the sizes",
          "[kernels][depthwise_conv2d]") {
  for_random_shapes(
      setting("ATROUS_RANDOM_SHAPES", 60),
      [](Random& random) {
        DepthwiseConv2dDims d = any_window<DepthwiseConv2dDims>(random);
        d.channels = any_channels(random);
        d.multiplier = random.below(6) ? 1 : 1 + random.below(3);
        return d;
      },
      [&](const DepthwiseConv2dDims& d) {
        if (d.out_pixels() * d.taps() * d.out_channels() > 2'000'000) return false;
        INFO(words(d) << ", channels " << d.channels << " by " << d.multiplier);
        check<Depthwise>(d, 4e-6);
        return true;
      });
}

}  // namespace atrous::tests
