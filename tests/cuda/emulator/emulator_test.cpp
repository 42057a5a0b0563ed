#include "tests/support/cuda_emulator/emulator.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "atrous/core/random.h"
#include "tests/cuda/emulator/kernels.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

// The emulator itself: what its threads, warps, tensor cores, streams and statistics do, against formulas
// written here.

namespace atrous::tests {
namespace {

// The configuration as it was before a test.
class Restored {
 public:
  Restored() : before_(emu::config()) {}
  ~Restored() { emu::config() = before_; }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;

 private:
  emu::Config before_;
};

std::vector<int> counted(int n) {
  std::vector<int> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

}  // namespace

TEST_CASE("emulator: barriers hold every thread of a block under every schedule", "[cuda][emulator]") {
  on_every_schedule([] {
    OnDevice<int> values(counted(5 * 96));
    rotate_blocks(kCudaStream, 5, 7, values.span().data());
    const std::vector<int> got = values.values();
    for (int i = 0; i < 5 * 96; ++i) CHECK(got[std::size_t(i)] == i / 96 * 96 + (i % 96 + 7) % 96);
  });
}

TEST_CASE("emulator: a grid barrier holds every block, and orders what they wrote", "[cuda][emulator]") {
  const emu::Counters before = emu::counters();
  std::int64_t schedules = 0;
  on_every_schedule([&] {
    ++schedules;
    OnDevice<int> values(counted(9 * 64));
    rotate_grid(kCudaStream, 9, 4, values.span().data());
    const std::vector<int> got = values.values();
    for (int i = 0; i < 9 * 64; ++i) CHECK(got[std::size_t(i)] == (i + 4 * 64) % (9 * 64));
    CHECK(emu::take_report().errors == 0);
    // The places of a large grid do not stay in the way of small ones.
    OnDevice<int> few(counted(2 * 96));
    rotate_blocks(kCudaStream, 2, 1, few.span().data());
    CHECK(few.values()[95] == 0);
  });
  CHECK(std::int64_t(emu::counters().blocks - before.blocks) == schedules * (9 + 2));
}

TEST_CASE("emulator: a cooperative grid larger than the device is refused by name", "[cuda][emulator]") {
  const Restored restored;
  emu::config().quiet = true;
  emu::config().multiprocessors = 2;
  OnDevice<int> values(counted(65 * 64));
  rotate_grid(kCudaStream, 64, 1, values.span().data());  // 32 blocks of 64 threads each
  CHECK_THROWS_WITH(rotate_grid(kCudaStream, 65, 1, values.span().data()),
                    Catch::Matchers::Contains("rotate_grid_kernel") &&
                        Catch::Matchers::Contains("cudaErrorCooperativeLaunchTooLarge"));
}

TEST_CASE("emulator: warp functions give what CUDA's manual says", "[cuda][emulator]") {
  std::vector<unsigned> v(32);
  Random random(3);
  for (unsigned& x : v) x = unsigned(random.below(60));
  on_every_schedule([&] {
    const OnDevice<unsigned> values(v);
    OnDevice<unsigned> results(kWarpResults * 32);
    warp_functions(kCudaStream, values.span().data(), results.span().data());
    const std::vector<unsigned> got = results.values();
    unsigned ballot = 0, sum = 0, low = 0;
    for (unsigned l = 0; l < 32; ++l) {
      ballot |= unsigned(v[l] % 3 == 0) << l;
      sum += v[l];
      if (l < 16) low += v[l];
    }
    for (unsigned l = 0; l < 32; ++l) {
      unsigned same = 0;
      for (unsigned other = 0; other < 32; ++other) same |= unsigned(v[other] % 4 == v[l] % 4) << other;
      const unsigned expected[kWarpResults] = {v[5],
                                               v[l / 8 * 8 + (l + 3) % 8],
                                               v[l ^ 6],
                                               v[l + 3 < 32 ? l + 3 : l],
                                               v[l >= 3 ? l - 3 : l],
                                               ballot,
                                               std::count(v.begin(), v.end(), 7u) > 0,
                                               1,
                                               same,
                                               sum,
                                               l < 16 ? low : sum - low};
      for (unsigned k = 0; k < kWarpResults; ++k) {
        INFO("result " << k << " of lane " << l);
        CHECK(got[k * 32 + l] == expected[k]);
      }
    }
  });
}

TEST_CASE("emulator: mma multiplies the matrices whose fragments it is given", "[cuda][emulator]") {
  Random random(5);
  const auto values = [&](int n) {
    std::vector<float> v(static_cast<std::size_t>(n));
    for (float& x : v) x = float(random.uniform(-1, 1));
    return v;
  };
  const auto product = [](const std::vector<float>& a, const std::vector<float>& b, std::vector<float> d,
                          std::size_t depth) {
    for (std::size_t i = 0; i < 16; ++i)
      for (std::size_t j = 0; j < 8; ++j) {
        double sum = d[i * 8 + j];
        for (std::size_t k = 0; k < depth; ++k) sum += double(a[i * depth + k]) * b[k * 8 + j];
        d[i * 8 + j] = float(sum);
      }
    return d;
  };
  const auto largest_gap = [](const std::vector<float>& a, const std::vector<float>& b) {
    double gap = 0;
    for (std::size_t i = 0; i < a.size(); ++i) gap = std::max(gap, std::abs(double(a[i]) - b[i]));
    return gap;
  };
  {
    std::vector<float> a = values(16 * 16), b = values(16 * 8);
    const std::vector<float> d = values(16 * 8);
    std::vector<bf16> narrow_a, narrow_b;
    for (float& x : a) narrow_a.emplace_back(x), x = float(narrow_a.back());
    for (float& x : b) narrow_b.emplace_back(x), x = float(narrow_b.back());
    OnDevice<bf16> device_a(narrow_a), device_b(narrow_b);
    OnDevice<float> device_d(d);
    multiply_bf16(kCudaStream, device_a.span().data(), device_b.span().data(), device_d.span().data());
    CHECK(largest_gap(device_d.values(), product(a, b, d, 16)) < 1e-5);
  }
  {
    // Multiples of 1/512 are tf32 numbers: nothing is rounded.
    std::vector<float> a = values(16 * 8), b = values(8 * 8);
    for (auto* v : {&a, &b})
      for (float& x : *v) x = std::round(x * 512) / 512;
    const std::vector<float> d = values(16 * 8);
    OnDevice<float> device_a(a), device_b(b), device_d(d);
    multiply_tf32(kCudaStream, device_a.span().data(), device_b.span().data(), device_d.span().data());
    CHECK(largest_gap(device_d.values(), product(a, b, d, 8)) < 1e-5);
    // Others lose the 13 lowest bits.
    OnDevice<float> third(std::vector<float>(16 * 8, 1.0f / 3)), ones(std::vector<float>(8 * 8, 1.0f)),
        zeros(std::vector<float>(16 * 8, 0.0f));
    multiply_tf32(kCudaStream, third.span().data(), ones.span().data(), zeros.span().data());
    CHECK(zeros.values()[0] != 8.0f / 3);
    CHECK(std::abs(zeros.values()[0] - 8.0f / 3) < 1e-3);
  }
}

TEST_CASE("emulator: a warpgroup multiplies boxes of either layout", "[cuda][emulator]") {
  std::vector<bf16> a, b;
  for (int i = 0; i < 64 * 64; ++i) a.emplace_back(float(i * 7 % 13 - 6));
  for (int i = 0; i < 64 * 128; ++i) b.emplace_back(float(i * 5 % 17 - 8));
  std::vector<float> d(64 * 128);
  for (std::size_t i = 0; i < d.size(); ++i) d[i] = float(i % 11);
  const OnDevice<bf16> device_a(a), device_b(b);
  for (const bool b_outer : {false, true}) {
    std::vector<float> expected = d;
    for (std::size_t row = 0; row < 64; ++row)
      for (std::size_t column = 0; column < 128; ++column)
        for (std::size_t k = 0; k < 64; ++k)
          expected[row * 128 + column] +=
              float(a[row * 64 + k]) * float(b_outer ? b[column * 64 + k] : b[k * 128 + column]);
    on_every_schedule([&] {
      OnDevice<float> device_d(d);
      multiply_wgmma(kCudaStream, device_a.span().data(), device_b.span().data(), b_outer,
                     device_d.span().data());
      CHECK(device_d.values() == expected);
    });
  }
}

TEST_CASE("emulator: ldmatrix hands out rows, and columns when it transposes", "[cuda][emulator]") {
  std::vector<std::uint16_t> tile(32 * 8);
  for (std::size_t i = 0; i < tile.size(); ++i) tile[i] = std::uint16_t(i * 7 + 1);
  const OnDevice<std::uint16_t> device(tile);
  OnDevice<unsigned> x4(32 * 4), x4_trans(32 * 4), x2(32 * 2);
  load_matrices(kCudaStream, device.span().data(), x4.span().data(), x4_trans.span().data(),
                x2.span().data());
  const std::vector<unsigned> four = x4.values(), four_trans = x4_trans.values(), two = x2.values();
  const auto at = [&](std::size_t matrix, std::size_t row, std::size_t column) {
    return unsigned(tile[(matrix * 8 + row) * 8 + column]);
  };
  for (std::size_t lane = 0; lane < 32; ++lane) {
    const std::size_t g = lane / 4, t = lane % 4;
    for (std::size_t m = 0; m < 4; ++m)
      CHECK(four[lane * 4 + m] == (at(m, g, 2 * t) | at(m, g, 2 * t + 1) << 16));
    for (std::size_t m = 0; m < 4; ++m)
      CHECK(four_trans[lane * 4 + m] == (at(m, 2 * t, g) | at(m, 2 * t + 1, g) << 16));
    for (std::size_t m = 0; m < 2; ++m)
      CHECK(two[lane * 2 + m] == (at(m, 2 * t, g) | at(m, 2 * t + 1, g) << 16));
  }
}

TEST_CASE("emulator: cp.async lands at the wait for its group, and fills up with zeros", "[cuda][emulator]") {
  const OnDevice<unsigned> source(std::vector<unsigned>{11, 12, 13, 14, 21, 22, 23, 24, 31, 32, 33, 34});
  on_every_schedule([&] {
    OnDevice<unsigned> seen(16);
    copy_in_groups(kCudaStream, source.span().data(), seen.span().data());
    CHECK(seen.values() == std::vector<unsigned>{0, 0, 0, 0, 11, 0, 0, 0, 11, 21, 0, 0, 11, 21, 31, 0});
  });
}

TEST_CASE("emulator: a schedule decides the order of blocks, and a seed repeats it", "[cuda][emulator]") {
  const Restored restored;
  const auto order = [](emu::Schedule schedule, std::uint64_t seed) {
    emu::config().schedule = schedule;
    emu::config().seed = seed;
    OnDevice<int> next(std::vector<int>{0}), blocks(20);
    note_order(kCudaStream, 20, next.span().data(), blocks.span().data());
    return blocks.values();
  };
  std::vector<int> reversed = counted(20);
  std::reverse(reversed.begin(), reversed.end());
  CHECK(order(emu::Schedule::forward, 1) == counted(20));
  CHECK(order(emu::Schedule::reverse, 1) == reversed);
  std::vector<int> shuffled = order(emu::Schedule::random, 7);
  CHECK(shuffled != counted(20));
  std::sort(shuffled.begin(), shuffled.end());
  CHECK(shuffled == counted(20));
}

TEST_CASE("emulator: lazy streams show a missing wait, and events order streams", "[cuda][emulator]") {
  const Restored restored;
  emu::config().lazy_streams = true;
  cudaStream_t a, b;
  cudaEvent_t event;
  REQUIRE(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking) == cudaSuccess);
  REQUIRE(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking) == cudaSuccess);
  REQUIRE(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
  const Stream first{{DeviceType::cuda, 0}, a}, second{{DeviceType::cuda, 0}, b};
  for (const bool waits : {false, true}) {
    OnDevice<int> x(std::vector<int>(40, 1)), y(std::vector<int>(40, 0)), z(std::vector<int>(40, 0));
    add_one(first, 40, x.span().data(), y.span().data());
    REQUIRE(cudaEventRecord(event, a) == cudaSuccess);
    CHECK(cudaEventQuery(event) == cudaErrorNotReady);
    if (waits) REQUIRE(cudaStreamWaitEvent(b, event, 0) == cudaSuccess);
    add_one(second, 40, y.span().data(), z.span().data());
    REQUIRE(cudaStreamSynchronize(b) == cudaSuccess);
    CHECK((cudaStreamQuery(a) == cudaSuccess) == waits);
    CHECK(z.values() == std::vector<int>(40, waits ? 3 : 1));
    CHECK(cudaEventQuery(event) == cudaSuccess);  // values() waited for all streams
  }
  CHECK(cudaEventDestroy(event) == cudaSuccess);
  CHECK(cudaStreamDestroy(a) == cudaSuccess);
  CHECK(cudaStreamDestroy(b) == cudaSuccess);
}

TEST_CASE("emulator: a copy from pinned memory reads it late, from other memory at once",
          "[cuda][emulator]") {
  const Restored restored;
  emu::config().lazy_streams = true;
  cudaStream_t stream;
  REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
  int* pinned = nullptr;
  REQUIRE(cudaHostAlloc(&pinned, sizeof(int), cudaHostAllocDefault) == cudaSuccess);
  int pageable = *pinned = 1;
  OnDevice<int> from_pinned(1), from_pageable(1);
  REQUIRE(cudaMemcpyAsync(from_pinned.span().data(), pinned, sizeof(int), cudaMemcpyHostToDevice, stream) ==
          cudaSuccess);
  REQUIRE(cudaMemcpyAsync(from_pageable.span().data(), &pageable, sizeof(int), cudaMemcpyHostToDevice,
                          stream) == cudaSuccess);
  pageable = *pinned = 2;
  CHECK(from_pinned.values() == std::vector<int>{2});
  CHECK(from_pageable.values() == std::vector<int>{1});
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
  CHECK(cudaFreeHost(pinned) == cudaErrorInvalidValue);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess);
  cudaGetLastError();
}

TEST_CASE("emulator: device memory has an end, and addresses that were never given out are refused",
          "[cuda][emulator]") {
  const Restored restored;
  emu::config().device_bytes = 1 << 20;
  void* big = nullptr;
  void* small = nullptr;
  REQUIRE(cudaMalloc(&big, 900 << 10) == cudaSuccess);
  CHECK(cudaMalloc(&small, 200 << 10) == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  std::size_t free = 0, total = 0;
  CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess);
  CHECK(free == total - (900 << 10));
  CHECK(cudaMemset(big, 0, (900 << 10) + 1) == cudaErrorInvalidValue);
  CHECK(cudaFree(static_cast<char*>(big) + 256) == cudaErrorInvalidDevicePointer);
  CHECK(cudaFree(big) == cudaSuccess);
  CHECK(cudaFree(big) == cudaErrorInvalidDevicePointer);
  cudaGetLastError();
}

TEST_CASE("emulator: statistics tell sectors from bytes and wavefronts from words", "[cuda][emulator]") {
  if (!emu::checked_build()) return;
  OnDevice<float> from(std::vector<float>(1024, 1.0f)), to(32);
  const auto stats = [&](int step, int shared_step) {
    return emu::stats_of(
        [&] { step_through(kCudaStream, step, shared_step, from.span().data(), to.span().data()); });
  };
  // A read and a write of 32 neighbouring floats: four sectors each. Shared memory written and read once.
  emu::AccessStats s = stats(1, 1);
  CHECK(s.device_requests == 2);
  CHECK(s.sectors == 8);
  CHECK(s.ideal_sectors == 8);
  CHECK(s.shared_requests == 2);
  CHECK(s.wavefronts == 2);
  CHECK(s.ideal_wavefronts == 2);
  s = stats(2, 1);  // every other float: eight sectors read
  CHECK(s.sectors == 12);
  CHECK(s.sector_ratio() == 1.5);
  s = stats(8, 2);  // a sector a lane; two words a bank
  CHECK(s.sectors == 36);
  CHECK(s.wavefront_ratio() == 2.0);
  CHECK(stats(1, 32).wavefront_ratio() == 32.0);
  CHECK(stats(1, 31).wavefront_ratio() == 1.0);
}

}  // namespace atrous::tests
