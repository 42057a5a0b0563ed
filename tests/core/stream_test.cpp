#include "atrous/core/stream.h"

#include <vector>

#include "atrous/core/memory.h"
#include "atrous/core/tensor.h"
#include "tests/support/catch.h"

// On the CPU, and on every CUDA device that this program finds: under the emulator there is one.

namespace atrous::tests {
namespace {

std::vector<Device> devices() {
  std::vector<Device> all = {kCpu};
  for (int i = 0; i < cuda_device_count(); ++i) all.push_back({DeviceType::cuda, i});
  return all;
}

Tensor numbers(std::int64_t n) {
  std::vector<float> v(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) v[std::size_t(i)] = float(i % 8191);
  return Tensor::from({n}, v);
}

}  // namespace

TEST_CASE("stream: a scope chooses it and gives the old one back", "[core][stream]") {
  for (const Device device : devices()) {
    const Stream before = current_stream(device);
    const OwnedStream own(device);
    {
      const StreamScope scope(own);
      CHECK(current_stream(device).handle == Stream(own).handle);
      {
        const StreamScope inner(before);
        CHECK(current_stream(device).handle == before.handle);
      }
      CHECK(current_stream(device).handle == Stream(own).handle);
    }
    CHECK(current_stream(device).handle == before.handle);
    own.synchronize();
  }
}

TEST_CASE("event: measures time and orders streams", "[core][stream]") {
  for (const Device device : devices()) {
    INFO(device);
    const OwnedStream first(device), second(device);
    Event begin(device), end(device);
    begin.record(first);
    Tensor t;
    {
      const StreamScope scope(first);
      t = numbers(1000).to(device);
    }
    end.record(first);
    end.make_wait(second);
    {
      const StreamScope scope(second);
      CHECK(identical(t, numbers(1000)));
    }
    CHECK(begin.seconds_until(end) >= 0);
    synchronize(device);
  }
}

TEST_CASE("tensor: goes to a device and comes back with the same bits", "[core][stream]") {
  // The last is larger than all staging buffers together, and no multiple of one.
  for (const Device device : devices())
    for (const std::int64_t n : {0, 1, 1023, 5'000'011}) {
      INFO(device << ", " << n);
      const Tensor host = numbers(n);
      const Tensor there = host.to(device);
      CHECK(there.device() == device);
      CHECK(identical(there.to(kCpu), host));
      CHECK(identical(there.clone(), host));
      Tensor zeros = Tensor::zeros({n}, Dtype::f32, device);
      CHECK(identical(zeros, Tensor::zeros({n})));
      zeros.copy_from(there);
      CHECK(identical(zeros, host));
      zeros.fill(3);
      CHECK(identical(zeros, Tensor::full({n}, 3)));
      CHECK(identical(there.to(Dtype::f64), host.to(Dtype::f64)));
    }
}

TEST_CASE("memory: every device counts, caches and caps its own", "[core][memory]") {
  // Small: the heap of large blocks holds whole segments, and gaps for AddressSanitizer.
  constexpr std::int64_t kBlock = 1 << 19;
  for (const Device device : devices()) {
    INFO(device);
    trim_memory(device);
    const MemoryStats before = memory_stats(device);
    const void* first;
    {
      const Tensor a = Tensor::empty({kBlock}, Dtype::u8, device);
      first = a.data();
      CHECK(memory_stats(device).in_use == before.in_use + kBlock);
    }
    CHECK(memory_stats(device).cached == before.cached + kBlock);
    CHECK(Tensor::empty({kBlock}, Dtype::u8, device).data() == first);
    {
      // A block of another stream is not taken: its work may not have finished.
      const OwnedStream other(device);
      const StreamScope scope(other);
      const bool taken = Tensor::empty({kBlock}, Dtype::u8, device).data() == first;
      CHECK(taken == device.is_cpu());
    }
    set_memory_cap(memory_stats(device).in_use + (1 << 20), device);
    CHECK_THROWS_AS(Tensor::empty({3 << 20}, Dtype::u8, device), MemoryError);
    set_memory_cap(0, device);

    set_memory_checks(true, device);
    const std::int64_t damaged = damaged_blocks(device);
    { const Tensor checked = Tensor::full({100}, 1, Dtype::f32, device); }
    CHECK(damaged_blocks(device) == damaged);
    set_memory_checks(false, device);
    trim_memory(device);
    CHECK(memory_stats(device).cached == 0);
  }
}

}  // namespace atrous::tests
