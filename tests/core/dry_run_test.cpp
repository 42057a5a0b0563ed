#include "atrous/core/dry_run.h"

#include <fstream>

#include "atrous/core/parallel.h"
#include "atrous/core/tensor.h"
#include "tests/support/catch.h"

namespace atrous {
namespace {

// Pages that this process has in memory.
std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * 4096;
}

}  // namespace

TEST_CASE("dry run: a terabyte costs nothing", "[core][dry_run]") {
  const std::int64_t before = resident_bytes();
  const DryRun rehearsal;
  Tensor x = Tensor::zeros({1 << 20, 1 << 18});
  x.fill(3);
  const Tensor y = x.clone().to(Dtype::f64);
  CHECK(y.shape() == x.shape());
  CHECK(resident_bytes() - before < 16 << 20);
  CHECK(rehearsal.stats().in_use == (std::int64_t(1) << 40) + (std::int64_t(1) << 41));
}

TEST_CASE("dry run: counts what a real run counts", "[core][dry_run]") {
  const auto work = [] {
    Tensor kept;
    for (const std::int64_t n : {1000, 5000, 5000, 70000, 3}) {
      const Tensor a = Tensor::empty({n}), b = Tensor::empty({2 * n}, Dtype::u8);
      kept = Tensor::empty({n, 3});
    }
  };
  trim_memory();
  reset_memory_peak();
  const MemoryStats before = memory_stats();
  work();
  const MemoryStats real = memory_stats();
  const DryRun rehearsal;
  work();
  const MemoryStats rehearsed = rehearsal.stats();
  CHECK(rehearsed.requests == real.requests - before.requests);
  CHECK(rehearsed.system_calls == real.system_calls - before.system_calls);
  CHECK(rehearsed.peak == real.peak - before.in_use);
  CHECK(rehearsed.cached == real.cached);
  CHECK(memory_stats().requests == real.requests);
}

TEST_CASE("dry run: what lived before keeps its values, what outlives it is not counted again",
          "[core][dry_run]") {
  Tensor before = Tensor::full({4}, 7), left_over;
  {
    const DryRun rehearsal;
    before.fill(1);
    before.copy_from(Tensor::zeros({4}));
    bool called = false;
    parallel_for(100, [&](std::int64_t, std::int64_t) { called = true; });
    CHECK_FALSE(called);
    CHECK(Tensor::zeros({}).item() == 1);
    left_over = Tensor::empty({1000});
    CHECK(in_dry_run());
  }
  CHECK_FALSE(in_dry_run());
  CHECK(before.span<float>()[2] == 7);
  const DryRun rehearsal;
  left_over = Tensor();
  CHECK(rehearsal.stats().in_use == 0);
}

}  // namespace atrous
