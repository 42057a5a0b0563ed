#pragma once

#include <cstdint>
#include <memory>

#include "atrous/core/device.h"
#include "bench/support/number.h"

// What a CUDA device can do, measured in the same run as the kernels. Exists in builds with CUDA only.

namespace atrous::bench {

/// c = a b by cuBLAS on random numbers. Row-major a [m, k], b [k, n], c [m, n].
class CublasGemm {
 public:
  CublasGemm(std::int64_t m, std::int64_t n, std::int64_t k, Number number, Device device);
  ~CublasGemm();
  CublasGemm(const CublasGemm&) = delete;
  CublasGemm& operator=(const CublasGemm&) = delete;

  void run();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Keeps a device busy with arithmetic that touches little memory, while the host fills its queue.
class BusyWork {
 public:
  explicit BusyWork(Device device);
  /// Work for about so many seconds.
  void run(double seconds);

 private:
  struct Shared;
  Shared& shared_;
};

}  // namespace atrous::bench
