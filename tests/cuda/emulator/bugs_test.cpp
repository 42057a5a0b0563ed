#include <string>
#include <vector>

#include "tests/cuda/emulator/kernels.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/cuda_emulator/emulator.h"

// Every planted fault of bugs.cu is called by its name in the checked build. The fast build finds those that
// need no look at single accesses.

namespace atrous::tests {
namespace {

struct Expected {
  Bug bug;
  const char* name;
  const char* report;  // part of it
  bool fast_too;       // found without the access hooks
};

const Expected kExpected[] = {
    {Bug::missing_barrier, "missing barrier", "race on shared memory", false},
    {Bug::divergent_barrier, "barrier in two branches", "wait at different barriers", true},
    {Bug::partial_warp_barrier, "half a warp at the barrier", "deadlock", true},
    {Bug::read_past_the_end, "read past the end", "read of 4 bytes outside device memory", false},
    {Bug::write_past_the_end, "write past the end", "write of 4 bytes outside device memory", false},
    {Bug::read_before_the_start, "read before the start", "outside device memory", false},
    {Bug::absent_lane, "shuffle from an absent lane", "did not take part", true},
    {Bug::lane_outside_its_mask, "lane outside its own mask", "is not in its mask", true},
    {Bug::missing_syncwarp, "missing __syncwarp", "race on shared memory", false},
    {Bug::scatter_without_atomics, "scatter without atomics", "race on device memory", false},
    {Bug::unwritten_shared, "read of unwritten shared memory", "shared memory nothing wrote", false},
    {Bug::unwritten_device, "read of unwritten device memory", "device memory nothing wrote", false},
    {Bug::missing_copy_wait, "missing wait for cp.async", "a cp.async is still writing", false},
    {Bug::copies_left_behind, "cp.async never waited for", "copies that nobody waited for", true},
    {Bug::misaligned_vector, "misaligned 16-byte read", "misaligned 16-byte read", true},
    {Bug::host_pointer, "host pointer in a kernel", "read of host memory", false},
    {Bug::shared_overrun, "read past a shared array", "outside the block's shared arrays", false},
    {Bug::published_after_cas, "number published after the CAS", "race on device memory", false},
    {Bug::freed_memory, "read of freed memory", "", true},
    {Bug::failed_assertion, "failed assertion", "assertion `t < 40` failed", true},
    {Bug::partial_warp_mma, "mma by half a warp", "all 32 lanes", true},
    {Bug::stack_overflow, "endless stack", "bytes of stack", true},
    {Bug::shared_left_from_last_block, "shared memory of the block before", "shared memory nothing wrote",
     false},
    {Bug::missing_grid_barrier, "missing grid barrier", "race on device memory", false},
    {Bug::block_leaves_before_the_grid_barrier, "block that never comes to the grid barrier",
     "deadlock: block (2,0,0) left the kernel and 128 threads wait for it at a grid barrier", true},
    {Bug::thread_leaves_before_the_grid_barrier, "thread that never comes to the grid barrier",
     "deadlock: block (1,0,0) left the kernel and 191 threads wait for it at a grid barrier", true},
    {Bug::grid_barrier_among_some, "grid barrier in an ordinary launch", "not cooperative", true},
    {Bug::too_few_at_mbarrier, "one arrival too few at an mbarrier", "deadlock", true},
    {Bug::too_many_at_mbarrier, "one arrival too many at an mbarrier", "more than 63 threads arrive", true},
    {Bug::product_without_wait, "wgmma never waited for", "products that nobody waited for", true},
    {Bug::descriptor_without_swizzle, "descriptor without a swizzle", "only the 128-byte swizzle", true},
};
static_assert(sizeof kExpected / sizeof kExpected[0] == std::size_t(Bug::count), "a row a bug");

}  // namespace

TEST_CASE("emulator: every planted fault is called by its name", "[cuda][emulator]") {
  const emu::Config before = emu::config();
  emu::config().quiet = true;
  for (const Expected& expected : kExpected) {
    if (!emu::checked_build() && !expected.fast_too) continue;
    INFO(expected.name);
    emu::take_report();
    std::string thrown;
    {
      const OnDevice<float> data(std::vector<float>(64, 0.0f));
      try {
        run_bug(kCudaStream, expected.bug, const_cast<float*>(data.span().data()), 64);
      } catch (const CudaError& error) {
        thrown = error.what();
      }
    }
    const emu::Report report = emu::take_report();
    CHECK(report.errors > 0);
    // The launch failed with an exception that tells the fault, the kernel and the line that launched it.
    INFO("report: " << report.first << "\nthrown: " << thrown);
    CHECK(std::string(report.first).find(expected.report) != std::string::npos);
    CHECK(thrown.find(expected.report) != std::string::npos);
    CHECK(thrown.find("bug_kernel") != std::string::npos);
    CHECK(thrown.find("bugs.cu:") != std::string::npos);
    cudaGetLastError();
  }
  emu::config() = before;
}

}  // namespace atrous::tests
