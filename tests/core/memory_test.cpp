#include "atrous/core/memory.h"

#include <cmath>
#include <thread>
#include <vector>

#include "atrous/core/error.h"
#include "atrous/core/tensor.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

// Each case starts without cached blocks and leaves the allocator as it is used elsewhere.
struct Fresh {
  Fresh() { trim_memory(); }
  ~Fresh() {
    set_memory_cap(0);
    set_memory_checks(false);
    trim_memory();
  }
};

Tensor bytes(std::int64_t n) { return Tensor::empty({n}, Dtype::u8); }

}  // namespace

TEST_CASE("memory: a freed block is given out again", "[core][memory]") {
  const Fresh fresh;
  const MemoryStats before = memory_stats();
  const void* first;
  {
    const Tensor a = bytes(1 << 19);
    first = a.data();
  }
  CHECK(memory_stats().cached == before.cached + (1 << 19));
  const Tensor b = bytes((1 << 19) - 100);  // the same size class
  CHECK(b.data() == first);
  const MemoryStats after = memory_stats();
  CHECK(after.requests == before.requests + 2);
  CHECK(after.system_calls == before.system_calls + 1);
  CHECK(after.cached == before.cached);
  CHECK(after.in_use == before.in_use + (1 << 19));
}

TEST_CASE("memory: little is wasted: an eighth, of large blocks two pages", "[core][memory]") {
  const Fresh fresh;
  for (std::int64_t n = 64; n < (std::int64_t(1) << 24); n = n * 9 / 8 + 7) {
    const std::int64_t before = memory_stats().in_use;
    const Tensor t = bytes(n);
    const std::int64_t size = memory_stats().in_use - before;
    INFO(n << " bytes take " << size);
    CHECK(size >= n);
    CHECK(size - n <= (n < 1 << 20 ? std::max<std::int64_t>(63, n / 8) : 8192));
  }
}

TEST_CASE("memory: large blocks are cut from gaps, and gaps that touch become one", "[core][memory]") {
  const Fresh fresh;
  const std::int64_t mib = 1 << 20;
  Tensor a = bytes(2 * mib), b = bytes(3 * mib), behind = bytes(2 * mib);
  auto* const at_a = static_cast<unsigned char*>(a.data());
  auto* const at_b = static_cast<unsigned char*>(b.data());
  const MemoryStats before = memory_stats();
  a = {};
  b = {};
  Tensor both = bytes(5 * mib - 100);  // fits into neither alone
  CHECK(both.data() == at_a);
  both = {};
  Tensor first = bytes(2 * mib), second = bytes(3 * mib);
  CHECK(first.data() == at_a);
  CHECK(second.data() == at_b);
  CHECK(memory_stats().system_calls == before.system_calls);
  CHECK(memory_stats().in_use == before.in_use);
  // The smallest gap that is large enough.
  Tensor wide = bytes(6 * mib), end = bytes(mib);
  auto* const at_wide = static_cast<unsigned char*>(wide.data());
  wide = {};
  first = {};
  CHECK(bytes(2 * mib - 5000).data() == at_a);
  CHECK(bytes(3 * mib).data() == at_wide);
}

TEST_CASE("memory: what is held stays near the most in use, whatever the sizes", "[core][memory]") {
  const Fresh fresh;
  reset_memory_peak();
  const MemoryStats before = memory_stats();
  // A network's steps, each with its input, output and scratch memory; sizes rise and fall.
  for (const int seed : {1, 2, 3}) {
    Tensor x = bytes(1 << 20);
    for (std::int64_t i = 1; i <= 60; ++i) {
      const Tensor scratch = bytes((i * 7919 * seed) % (5 << 20) + (1 << 20));
      x = bytes((1 << 20) + ((i * i * 104729 * seed) % 30) * (1 << 19));
    }
  }
  const MemoryStats after = memory_stats();
  const std::int64_t peak = after.peak - before.in_use;
  INFO("held " << after.cached << " bytes, at most " << peak << " in use");
  CHECK(after.in_use + after.cached - before.in_use <= peak * 3 / 2);
}

TEST_CASE("memory: the peak is kept until it is reset", "[core][memory]") {
  const Fresh fresh;
  reset_memory_peak();
  const MemoryStats before = memory_stats();
  CHECK(before.peak == before.in_use);
  std::int64_t both = 0;
  {
    const Tensor a = bytes(1 << 22), b = bytes(1 << 22);
    both = memory_stats().in_use - before.in_use;
  }
  CHECK(both >= 1 << 23);
  CHECK(memory_stats().peak == before.in_use + both);
  reset_memory_peak();
  CHECK(memory_stats().peak == memory_stats().in_use);
}

TEST_CASE("memory: trim gives every cached block back", "[core][memory]") {
  const Fresh fresh;
  const Tensor kept = bytes(1000);
  { const Tensor a = bytes(5000), b = bytes(70000), c = bytes(5 << 20); }
  CHECK(memory_stats().cached > 0);
  const std::int64_t in_use = memory_stats().in_use;
  trim_memory();
  CHECK(memory_stats().cached == 0);
  CHECK(memory_stats().in_use == in_use);
}

TEST_CASE("memory: a request above the cap throws, and everything stays usable", "[core][memory]") {
  const Fresh fresh;
  const std::int64_t mib = 1 << 20;
  set_memory_cap(memory_stats().in_use + 8 * mib + (1 << 16));
  Tensor a = bytes(4 * mib);
  a.fill(7);
  const MemoryStats before = memory_stats();
  CHECK_THROWS_AS(bytes(5 * mib), MemoryError);
  CHECK(memory_stats().in_use == before.in_use);
  CHECK(memory_stats().requests == before.requests);
  CHECK(a.span<std::uint8_t>()[4 * mib - 1] == 7);
  CHECK_NOTHROW(bytes(4 * mib));
  // Its block is free now and stands in the way of small ones, and they of a large one: the cache is emptied
  // before anything is refused.
  CHECK(memory_stats().cached >= 4 * mib);
  CHECK_NOTHROW([&] {
    std::vector<Tensor> small(6, bytes(mib / 2)), more{bytes(mib / 2), bytes(mib / 4)};
  }());
  CHECK_NOTHROW(bytes(4 * mib));
  CHECK(memory_stats().in_use + memory_stats().cached <= before.in_use + 4 * mib + (1 << 16));
  set_memory_cap(0);
  CHECK_NOTHROW(bytes(50 * mib));
}

TEST_CASE("memory: absurd requests are refused", "[core][memory]") {
  CHECK_THROWS_AS(detail::allocate(~std::size_t(0), kCpu), MemoryError);
  CHECK_THROWS_AS(detail::allocate(std::size_t(1) << 47, kCpu), MemoryError);
  CHECK_THROWS_AS(memory_stats(Device{DeviceType::cuda, 0}), DeviceError);
}

TEST_CASE("memory: blocks are aligned to 64 bytes, checked or not", "[core][memory]") {
  const Fresh fresh;
  for (const bool checks : {false, true}) {
    set_memory_checks(checks);
    for (const std::int64_t n : {1, 63, 65, 4097, 3 << 20})
      CHECK(reinterpret_cast<std::uintptr_t>(bytes(n).data()) % 64 == 0);
  }
}

TEST_CASE("memory: checks fill blocks with NaN and find a write outside of them", "[core][memory]") {
  const Fresh fresh;
  set_memory_checks(true);
  const std::int64_t damaged = damaged_blocks();
  {
    const Tensor t = Tensor::empty({5});
    for (const float v : t.span<float>()) CHECK(std::isnan(v));
  }
  CHECK(damaged_blocks() == damaged);
  {
    Tensor behind = bytes(100);
    static_cast<unsigned char*>(behind.data())[100] = 0;
  }
  CHECK(damaged_blocks() == damaged + 1);
  {
    Tensor before = bytes(100);
    static_cast<unsigned char*>(before.data())[-1] = 0;
  }
  CHECK(damaged_blocks() == damaged + 2);
  {
    // Freed after the checks were switched off: it was made with them.
    Tensor late = bytes(64);
    static_cast<unsigned char*>(late.data())[70] = 1;
    set_memory_checks(false);
  }
  CHECK(damaged_blocks() == damaged + 3);
}

TEST_CASE("memory: threads allocate and free at the same time", "[core][memory]") {
  const Fresh fresh;
  const std::int64_t before = memory_stats().in_use;
  std::vector<std::thread> workers;
  for (int t = 0; t < 4; ++t)
    workers.emplace_back([t] {
      std::vector<Tensor> held(8);
      for (int i = 0; i < 2000; ++i) {
        Tensor& slot = held[std::size_t(i * 7 + t) % held.size()];
        slot = bytes(100 + 977 * (i % 13));
        slot.fill(t);
      }
    });
  for (auto& worker : workers) worker.join();
  CHECK(memory_stats().in_use == before);
}

}  // namespace atrous::tests
