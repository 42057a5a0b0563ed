#include "atrous/kernels/conv2d/wgmma_trial.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "atrous/core/verbose.h"
#include "atrous/kernels/first_use.h"
#include "tests/cuda/conv_support.h"

// Kernels are tried before they are used: wrong ones are found, once, and never used.

namespace atrous::tests {
namespace {

using kernels::FirstUse;
using kernels::Gather;
using kernels::GatherProblem;
using kernels::cuda::GatherKernel;
using kernels::cuda::try_gather_kernel;
using kernels::cuda::wgmma_gemm;
using Problems = std::vector<GatherProblem<bf16>>;

// Few multiprocessors, so that few tiles are more than there are.
constexpr int kMultiprocessors = 6;
struct SmallDevice {
#ifdef ATROUS_CUDA_EMULATED
  emu::Config before = emu::config();
  SmallDevice() { emu::config().multiprocessors = kMultiprocessors; }
  ~SmallDevice() { emu::config() = before; }
  static int multiprocessors() { return kMultiprocessors; }
#else
  static int multiprocessors() { return 132; }
#endif
};

void mma_gemm(Stream stream, const Problems& problems, Span<float> partial) {
  kernels::cuda::mma_gemm(stream, problems, partial);
}

std::vector<std::string> warnings;
void remember(const std::string& line) { warnings.push_back(line); }

// The smallest of the trials: its kernels are planted.
std::string verdict(const GatherKernel& kernel) {
  auto trials = kernels::wgmma_trials(Gather::forward, 128, 1);
  trials.resize(1);
  return try_gather_kernel(kCudaStream, Gather::forward, trials, kernel, mma_gemm);
}

void set_element(Span<bf16> of, std::int64_t at, float value) {
  const bf16 element(value);
  ATROUS_CUDA_CHECK("test", cudaMemcpy(of.data() + at, &element, sizeof element, cudaMemcpyHostToDevice));
}

}  // namespace

TEST_CASE("wgmma trial: the kernel passes in every variant", "[cuda][wgmma]") {
  [[maybe_unused]] const SmallDevice device;
  for (const Gather direction : {Gather::forward, Gather::backward_input})
    for (const int outputs : {128, 256}) {
      INFO("direction " << int(direction) << ", " << outputs << " outputs");
      CHECK(try_gather_kernel(kCudaStream, direction,
                              kernels::wgmma_trials(direction, outputs, SmallDevice::multiprocessors()),
                              wgmma_gemm, mma_gemm) == "");
    }
}

TEST_CASE("wgmma trial: together the trials hold what can go wrong", "[wgmma]") {
  for (const Gather direction : {Gather::forward, Gather::backward_input})
    for (const int outputs : {128, 256}) {
      bool channel_tail = false, output_tail = false, pixel_tail = false, sliced = false, several = false,
           many = false, no_taps = false;
      for (const auto& dims : kernels::wgmma_trials(direction, outputs, SmallDevice::multiprocessors())) {
        const std::vector<Gather> directions(dims.size(), direction);
        several |= dims.size() > 1;
        for (const auto& d : dims) {
          REQUIRE(kernels::can_take_wgmma(direction, d));
          REQUIRE(kernels::wgmma_outputs(kernels::gather_outputs(direction, d)) == outputs);
          channel_tail |= (direction == Gather::forward ? d.in_channels : d.out_channels) % 64 != 0;
          output_tail |= kernels::gather_outputs(direction, d) % outputs != 0;
        }
        for (const auto& s : kernels::make_tile_schedules(
                 directions, dims, kernels::wgmma_tile(kernels::gather_outputs(direction, dims[0])))) {
          sliced |= s.slices > 1;
          many |= s.blocks() > SmallDevice::multiprocessors();
          for (int i = 0; i < s.rectangle_count; ++i) {
            const auto &row = s.pieces[s.rectangles[i].row], &column = s.pieces[s.rectangles[i].column];
            no_taps |= row.taps * column.taps == 0;
            pixel_tail |= s.shapes[s.rectangles[i].problem].batch * row.count * column.count % 128 != 0;
          }
        }
      }
      CHECK(channel_tail);
      CHECK(output_tail);
      CHECK(pixel_tail);
      CHECK(sliced);
      CHECK(several);
      CHECK(many);
      CHECK(no_taps);
    }
}

TEST_CASE("wgmma trial: planted wrong kernels are found", "[cuda][wgmma]") {
  CHECK(verdict(mma_gemm) == "");
  SECTION("one element of the last problem is two units in the last place off") {
    const std::string why = verdict([](Stream stream, const Problems& problems, Span<float> partial) {
      mma_gemm(stream, problems, partial);
      const auto& last = problems.back();
      std::vector<bf16> values(std::size_t(last.destination.size()));
      ATROUS_CUDA_CHECK("test", cudaMemcpy(values.data(), last.destination.data(),
                                           values.size() * sizeof(bf16), cudaMemcpyDeviceToHost));
      std::size_t at = values.size() - 1;
      while (!(float(values[at]) > 0.5f && float(values[at]) < 5)) --at;
      set_element(last.destination, std::int64_t(at), float(values[at]) * (1 + 3.0f / 128));
    });
    CHECK(why.find("element") == 0);
  }
  SECTION("an element is never written") {
    const std::string why = verdict([](Stream stream, const Problems& problems, Span<float> partial) {
      mma_gemm(stream, problems, partial);
      set_element(problems[0].destination, 5, NAN);
    });
    CHECK(why.find("element 5 of") == 0);
  }
  SECTION("a kernel that multiplies the padding") {
    const std::string why = verdict([](Stream stream, const Problems& problems, Span<float> partial) {
      Problems wrong = problems;
      wrong[0].dims.padding = {1, 3, 2, 2};
      mma_gemm(stream, wrong, partial);
    });
    CHECK(why.find("element") == 0);
  }
  SECTION("a kernel that cannot be started") {
    const std::string why = verdict([](Stream, const Problems&, Span<float>) {
      atrous::detail::cuda_failed("planted", cudaErrorInvalidConfiguration, __FILE__, __LINE__);
    });
    CHECK(why.find("cudaErrorInvalidConfiguration") != std::string::npos);
  }
}

TEST_CASE("first use: a kernel is tried once on a device, and its failure is told once", "[wgmma]") {
  warnings.clear();
  FirstUse tried("the planted kernel", "the plain one", remember);
  int attempts = 0;
  const auto attempt = [&](const char* why) {
    return [&attempts, why] {
      ++attempts;
      return std::string(why);
    };
  };
  CHECK(tried.passed(0, 1, attempt("")));
  CHECK(tried.passed(0, 1, attempt("never run")));
  CHECK_FALSE(tried.passed(0, 2, attempt("element 3 of 9 is 1, not 2")));
  CHECK_FALSE(tried.passed(0, 2, attempt("")));
  CHECK(tried.passed(1, 2, attempt("")));  // another device
  CHECK(attempts == 3);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0] ==
        "the planted kernel is not used on cuda:0, where it failed its check: element 3 of 9 is 1, not 2; "
        "the plain "
        "one serves instead");
  // An error of the device is not a verdict.
  CHECK_THROWS_AS(tried.passed(0, 3, []() -> std::string { throw CudaError("lost"); }), CudaError);
  CHECK(tried.passed(0, 3, attempt("")));
}

TEST_CASE("first use: of many threads one tries, the others wait for what it finds", "[wgmma]") {
  warnings.clear();
  FirstUse tried("the planted kernel", "the plain one", remember);
  std::atomic<int> attempts = 0, used = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      used += tried.passed(0, 7, [&] {
        ++attempts;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return std::string("wrong");
      });
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(attempts == 1);
  CHECK(used == 0);
  CHECK(warnings.size() == 1);
}

#ifdef ATROUS_CUDA_EMULATED
TEST_CASE("conv2d on CUDA: wgmma serves on devices of compute capability 9.0 alone, unless forbidden",
          "[cuda][wgmma]") {
  const ConvProblem<bf16> p({.batch = 1,
                             .in_h = 6,
                             .in_w = 5,
                             .in_channels = 64,
                             .out_channels = 104,
                             .window_h = 3,
                             .window_w = 3,
                             .padding = 1});
  const OnDevice<bf16> x(p.x), weight(p.weight);
  const SmallDevice device;
  struct Restore {
    ~Restore() { unsetenv("ATROUS_CUDA_CONV"); }
  } restore;
  // Threads of the largest block tell the kernels apart: 384 of wgmma, 128 of mma.sync.
  const auto threads_of = [&] {
    OnDevice<bf16> y(p.dy.size());
    const std::vector<Gather> forward{Gather::forward};
    OnDevice<float> partial(
        std::max(kernels::implicit_gemm_partial_sums(kernels::make_tile_schedules(forward, {p.d}, 2)),
                 kernels::wgmma_partial_sums(forward, {p.d})));
    const Problems problems{GatherProblem<bf16>{Gather::forward, p.d, x.span(), weight.span(),
                                                kernels::Conv2dEpilogue<bf16>{}, y.span()}};
    const auto run = [&] { kernels::cuda::implicit_gemm(kCudaStream, problems, partial.span()); };
    run();  // the first use is a check
    const auto threads = emu::counters().threads, blocks = emu::counters().blocks;
    run();
    CHECK(differing(y.values(), p.y) == 0);
    return (emu::counters().threads - threads) / (emu::counters().blocks - blocks);
  };
  CHECK(threads_of() == 128);
  emu::config().capability = 90;
  CHECK(threads_of() == 384);
  emu::config().capability = 100;
  CHECK(threads_of() == 128);
  setenv("ATROUS_CUDA_CONV", "wgmma", 1);
  CHECK_THROWS_AS(threads_of(), DeviceError);
  emu::config().capability = 90;
  CHECK(threads_of() == 384);
  setenv("ATROUS_CUDA_CONV", "mma", 1);
  CHECK(threads_of() == 128);
  setenv("ATROUS_CUDA_CONV", "fast", 1);
  CHECK_THROWS_AS(threads_of(), ValueError);
}

TEST_CASE("conv2d on CUDA: statistics of an output that wgmma computed", "[cuda][wgmma]") {
  const ConvProblem<bf16> p({.batch = 2,
                             .in_h = 9,
                             .in_w = 10,
                             .in_channels = 64,
                             .out_channels = 104,
                             .window_h = 3,
                             .window_w = 3,
                             .padding = 1});
  const OnDevice<bf16> x(p.x), weight(p.weight);
  const SmallDevice device;
  std::vector<double> mean[2], var[2];
  for (const int capability : {80, 90}) {
    emu::config().capability = capability;
    const Device cuda = kCudaStream.device;
    OnDevice<bf16> y(p.dy.size()),
        workspace(kernels::conv2d_forward_statistics_workspace_size<bf16>(p.d, cuda));
    OnDevice<double> sums(kernels::conv2d_forward_statistics_sums_size<bf16>(p.d, cuda)), m(p.d.out_channels),
        v(p.d.out_channels);
    kernels::cuda::conv2d_forward_statistics<bf16>(kCudaStream, p.d, x.span(), weight.span(), {},
                                                   workspace.span(), sums.span(), y.span(), m.span(),
                                                   v.span());
    CHECK(differing(y.values(), p.y) == 0);
    CHECK(sums.intact());
    mean[capability / 90] = m.values();
    var[capability / 90] = v.values();
  }
  for (std::size_t k = 0; k < mean[0].size(); ++k) {
    CHECK(std::abs(mean[0][k] - mean[1][k]) < 1e-6);
    CHECK(std::abs(var[0][k] - var[1][k]) < 1e-6 * (1 + var[0][k]));
  }
}

TEST_CASE("verbose: topics stand in a list", "[wgmma]") {
  struct Restore {
    ~Restore() { unsetenv("ATROUS_VERBOSE"); }
  } restore;
  CHECK_FALSE(verbose("dispatch"));
  setenv("ATROUS_VERBOSE", "memory,dispatch", 1);
  CHECK(verbose("dispatch"));
  CHECK(verbose("memory"));
  CHECK_FALSE(verbose("mem"));
}
#endif

}  // namespace atrous::tests
