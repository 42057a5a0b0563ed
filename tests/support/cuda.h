#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <vector>

#include "atrous/core/cuda_check.h"
#include "atrous/core/device.h"
#include "atrous/core/dtype.h"
#include "atrous/core/span.h"
#ifdef ATROUS_CUDA_EMULATED
#include "tests/support/cuda_emulator/emulator.h"
#include "tests/support/cuda_emulator/sanitizer.h"
#endif

// Support of kernel tests on CUDA. The same tests run on the emulator and, where there is one, on a device.
//
//   on_every_schedule([&] {
//     const OnDevice<float> x(values);
//     OnDevice<float> y(x.size());
//     kernels::cuda::relu_forward<float>(kCudaStream, x.span(), y.span());
//     CHECK(y.values() == expected);
//     CHECK(y.intact());
//   });

namespace atrous::tests {

inline constexpr Stream kCudaStream{{DeviceType::cuda, 0}, nullptr};

/// Memory of the device: a copy of values of the host, or a result full of NaN bits that nothing has written.
/// Guard bytes behind it.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(std::int64_t size) : size_(size) { allocate(); }
  explicit OnDevice(const std::vector<T>& values) : size_(std::int64_t(values.size())) {
    allocate();
    if (size_ > 0)
      ATROUS_CUDA_CHECK("test",
                        cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { static_cast<void>(cudaFree(data_)); }

  std::int64_t size() const { return size_; }
  Span<T> span() { return {data_, size_}; }
  Span<const T> span() const { return {data_, size_}; }
  /// A copy on the host, after everything before it on every stream.
  std::vector<T> values() const {
    std::vector<T> v(static_cast<std::size_t>(size_));
    if (size_ > 0)
      ATROUS_CUDA_CHECK("test", cudaMemcpy(v.data(), data_, v.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }
  /// Whether nothing was written behind the values.
  bool intact() const {
    if (!guarded()) return true;
    unsigned char guards[kGuards];
    ATROUS_CUDA_CHECK("test", cudaMemcpy(guards, end(), kGuards, cudaMemcpyDeviceToHost));
    for (const unsigned char guard : guards)
      if (guard != kGuard) return false;
    return true;
  }

 private:
  static constexpr std::size_t kGuards = 256;
  static constexpr unsigned char kGuard = 0xa5;
  // The emulator fills fresh memory with NaN bits itself; its checked build reports reads of bytes that
  // nothing wrote, and accesses behind an allocation, and AddressSanitizer the latter: there, no guards and
  // no filling.
#ifdef ATROUS_CUDA_EMULATED
  static bool guarded() { return !emu::checked_build() && !ATROUS_EMU_ASAN; }
#else
  static bool guarded() { return true; }
#endif
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }
  unsigned char* end() const { return reinterpret_cast<unsigned char*>(data_) + bytes(); }
  void allocate() {
    const std::size_t total = bytes() + (guarded() ? kGuards : 0);
    if (total == 0) return;
    ATROUS_CUDA_CHECK("test", cudaMalloc(&data_, total));
    if (!guarded()) return;
    ATROUS_CUDA_CHECK("test", cudaMemset(data_, 0xff, bytes()));
    ATROUS_CUDA_CHECK("test", cudaMemset(end(), kGuard, kGuards));
  }

  T* data_ = nullptr;
  std::int64_t size_;
};

/// Calls `run` under several orders of threads and blocks on the emulator, once on a device and under
/// AddressSanitizer. Results must not differ: kernels are bitwise repeatable.
template <class Run>
void on_every_schedule(const Run& run) {
#ifdef ATROUS_CUDA_EMULATED
  emu::Config& config = emu::config();
  const emu::Config before = config;
  const auto once = [&](emu::Schedule schedule, std::uint64_t seed, int resident_blocks) {
    config = before;
    config.schedule = schedule;
    config.seed = seed;
    config.resident_blocks = resident_blocks;
    config.yield_at_atomics = schedule == emu::Schedule::random ? 128 : 0;
    run();
  };
  try {
    if (!ATROUS_EMU_ASAN) {
      once(emu::Schedule::forward, 1, 1);
      once(emu::Schedule::reverse, 1, 2);
    }
    once(emu::Schedule::random, before.seed, 4);
  } catch (...) {
    config = before;
    throw;
  }
  config = before;
#else
  run();
#endif
}

}  // namespace atrous::tests
