#include "atrous/kernels/batch_norm/batch_norm_on_chip.h"

#include <algorithm>
#include <string>

#include "atrous/kernels/batch_norm/batch_norm_activation.h"
#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

// Batch norm in one launch that keeps its maps on the chip gives the bits of the kernels in several launches,
// which batch_norm_test.cpp and batch_norm_activation_test.cpp compare with double.

namespace atrous::tests {
namespace {

using kernels::Activation;
using kernels::BatchNormDims;
using kernels::OnChipPlan;
using kernels::plan_on_chip;

#ifdef ATROUS_CUDA_EMULATED

// A device that holds no cooperative grid, while it lives.
class NoRoom {
 public:
  NoRoom() { emu::config().multiprocessors = 0; }
  ~NoRoom() { emu::config().multiprocessors = before_; }
  NoRoom(const NoRoom&) = delete;
  NoRoom& operator=(const NoRoom&) = delete;

 private:
  int before_ = emu::config().multiprocessors;
};

struct Call {
  BatchNormDims dims;
  Activation activation;
  bool residual, reads_y;
};

// What a training step makes: y, mean, var, dx, dresidual, dgamma, dbeta, in bytes.
template <class T>
std::vector<std::vector<T>> train(const Call& call, std::vector<double>& statistics, int& launches) {
  using A = Accumulator<T>;
  const BatchNormDims& d = call.dims;
  const std::int64_t n = d.pixels * d.channels;
  const OnDevice<T> x(random_values<T>(n, 1)), dy(random_values<T>(n, 2)),
      gamma(random_values<T>(d.channels, 3)), beta(random_values<T>(d.channels, 4)),
      residual(random_values<T>(call.residual ? n : 0, 5));
  OnDevice<double> sums(kernels::batch_norm_sums_size(d, kCudaStream.device)), mean(d.channels),
      var(d.channels);
  OnDevice<A> k(kernels::batch_norm_activation_coefficients_size(d));
  OnDevice<T> y(n), dx(n), dresidual(residual.size()), dgamma(d.channels), dbeta(d.channels);
  const auto before = emu::counters().launches;
  kernels::cuda::batch_norm_training_forward<T>(kCudaStream, d, call.activation, x.span(), residual.span(),
                                                1e-5, gamma.span(), beta.span(), sums.span(), mean.span(),
                                                var.span(), k.span(), y.span());
  launches = int(emu::counters().launches - before);
  kernels::cuda::batch_norm_activation_backward<T>(
      kCudaStream, d, call.activation, true, {mean.span(), var.span(), 1e-5, gamma.span(), beta.span()},
      x.span(), call.reads_y ? Span<const T>(y.span()) : Span<const T>(), dy.span(), sums.span(), k.span(),
      {dx.span(), dresidual.span(), dgamma.span(), dbeta.span()});
  CHECK((sums.intact() && k.intact() && y.intact() && dx.intact() && dresidual.intact()));
  statistics = mean.values();
  for (const double v : var.values()) statistics.push_back(v);
  return {y.values(), dx.values(), dresidual.values(), dgamma.values(), dbeta.values()};
}

template <class T>
void compare(const Call& call, bool every_schedule) {
  std::vector<double> expected_statistics, statistics;
  std::vector<std::vector<T>> expected;
  int launches = 0;
  {
    const NoRoom no_room;
    expected = train<T>(call, expected_statistics, launches);
    CHECK(launches == 4);  // statistics, their finish, coefficients, map
  }
  const auto once = [&] {
    const auto got = train<T>(call, statistics, launches);
    CHECK(launches == 1);
    CHECK(statistics == expected_statistics);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      INFO("result " << i);
      CHECK(same_bits(got[i], expected[i]));
    }
  };
  if (every_schedule)
    on_every_schedule(once);
  else
    once();
}

#endif

}  // namespace

#ifdef ATROUS_CUDA_EMULATED
TEMPLATE_TEST_CASE("batch_norm on chip: the bits of the kernels in several launches", "[cuda][batch_norm]",
                   float, bf16) {
  // One strip; three strips, the last one short; a strip that is not all in registers; more than one tile.
  const BatchNormDims one{40, 24}, three{1300, 32}, in_shared{20, 1056}, tiles{11, 4096};
  compare<TestType>({one, Activation::none, false, false}, true);
  compare<TestType>({three, Activation::relu, false, false}, true);
  compare<TestType>({in_shared, Activation::relu, false, true}, false);
  compare<TestType>({in_shared, Activation::relu6, true, true}, false);
  compare<TestType>({tiles, Activation::relu, true, true}, false);
  compare<TestType>({tiles, Activation::none, false, false}, false);
}

TEST_CASE("batch_norm on chip: other maps go the other way", "[cuda][batch_norm]") {
  std::vector<double> statistics;
  int launches = 0;
  train<float>({{300, 6}, Activation::relu, false, false}, statistics, launches);  // not in vectors
  CHECK(launches == 4);
  train<double>({{300, 8}, Activation::relu, false, false}, statistics, launches);
  CHECK(launches == 4);
  const int before = emu::config().multiprocessors;
  emu::config().multiprocessors = 1;  // eight blocks; 300 * 1024 elements are 19 strips
  train<float>({{300, 1024}, Activation::relu, false, false}, statistics, launches);
  emu::config().multiprocessors = before;
  CHECK(launches == 4);
}

TEMPLATE_TEST_CASE("batch_norm on chip: maps are read once", "[cuda][batch_norm]", float, bf16) {
  if (!emu::checked_build()) return;
  using T = TestType;
  using A = Accumulator<T>;
  const BatchNormDims d{600, 128};
  const std::int64_t n = d.pixels * d.channels;
  const OnDevice<T> x(random_values<T>(n, 1)), dy(random_values<T>(n, 2)),
      gamma(random_values<T>(d.channels, 3)), beta(random_values<T>(d.channels, 4));
  OnDevice<double> sums(kernels::batch_norm_sums_size(d, kCudaStream.device)), mean(d.channels),
      var(d.channels);
  OnDevice<A> k(kernels::batch_norm_activation_coefficients_size(d));
  OnDevice<T> y(n), dx(n), dgamma(d.channels), dbeta(d.channels);
  const double map = double(n) * sizeof(T) / 32;  // sectors
  const auto check = [&](const char* what, int saved, const auto& run) {
    const emu::AccessStats s = emu::stats_of(run);
    const std::string sites = emu::take_access_sites();
    double in_passes = 0;
    {
      const NoRoom no_room;
      in_passes = double(emu::stats_of(run).sectors);
    }
    INFO(what << ": " << double(s.sectors) / map << " maps, in several launches " << in_passes / map << '\n'
              << sites);
    CHECK(in_passes - double(s.sectors) >= 0.95 * saved * map);
    // In bf16 a thread reads the 32 bytes of its 8 channels' coefficients in two halves, from the caches.
    CHECK(s.sector_ratio() <= (sizeof(T) == 2 ? 1.3 : 1.05));
    CHECK(s.wavefront_ratio() <= 1.05);
  };
  check("forward", 1, [&] {
    kernels::cuda::batch_norm_training_forward<T>(kCudaStream, d, Activation::relu, x.span(), {}, 1e-5,
                                                  gamma.span(), beta.span(), sums.span(), mean.span(),
                                                  var.span(), k.span(), y.span());
  });
  check("backward", 2, [&] {
    kernels::cuda::batch_norm_activation_backward<T>(
        kCudaStream, d, Activation::relu, true, {mean.span(), var.span(), 1e-5, gamma.span(), beta.span()},
        x.span(), {}, dy.span(), sums.span(), k.span(), {dx.span(), {}, dgamma.span(), dbeta.span()});
  });
}
#endif

TEST_CASE("batch_norm on chip: plans of the networks' maps", "[kernels][batch_norm]") {
  // Two blocks a multiprocessor of 228 KiB, 1 KiB of it the device's for each.
  constexpr std::size_t kOfTwo = (228 / 2 - 1) * 1024;
  const auto forward = [](std::int64_t pixels, std::int64_t channels, int bytes) {
    return plan_on_chip(pixels, channels, bytes, 1, kernels::kForwardRegisterVectors);
  };
  const OnChipPlan aspp = forward(8 * 33 * 33, 2048, 2);  // 35.7 MB
  CHECK(aspp.blocks() == 264);
  CHECK(aspp.shared_bytes <= kOfTwo);
  CHECK(aspp.strips.each == 33);
  const OnChipPlan wide = forward(8 * 65 * 65, 256, 2);  // 17.3 MB
  CHECK((wide.blocks() <= 264 && wide.shared_bytes <= kOfTwo));
  const OnChipPlan xception = forward(8 * 33 * 33, 728, 4);  // 25.4 MB
  CHECK((xception.blocks() <= 264 && xception.shared_bytes <= kOfTwo));
  CHECK(forward(8 * 129 * 129, 256, 2).blocks() > 264);  // 68 MB
  // Backward, x and the gradient: 2 x 11.5 MB.
  const OnChipPlan backward = plan_on_chip(8 * 65 * 65, 160, 2, 2, kernels::kBackwardRegisterVectors);
  CHECK((backward.blocks() <= 264 && backward.shared_bytes <= kOfTwo));
  CHECK_FALSE(forward(100, 21, 2).possible());
  CHECK_FALSE(forward(0, 64, 2).possible());
  CHECK_FALSE(forward(100, 0, 2).possible());
  // A thread's vectors cover the strip, whatever the shape.
  for (const std::int64_t channels : {8, 24, 96, 728, 2048, 4096})
    for (const std::int64_t pixels : {1, 7, 300, 5000}) {
      const OnChipPlan p = forward(pixels, channels, 2);
      CHECK(std::int64_t(p.whole) * p.strips.layers >= std::min(p.strips.each, pixels));
      CHECK(p.strips.columns * p.strips.layers <= OnChipPlan::kThreads);
      CHECK(p.strips.strips * p.strips.each >= pixels);
    }
}

}  // namespace atrous::tests
