#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "atrous/core/random.h"
#include "atrous/core/span.h"

// Memory for kernel tests: results that start as garbage and have guard words behind them, and random inputs.

namespace atrous::tests {

/// Memory of a result: NaN (the largest value for integers), and guard words behind. It starts on a line of
/// 64 bytes, as a tensor's does: kernels that write past the cache do so only there.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t size) : memory_(std::size_t(size + 2 * kGuards), T(77)), size_(size) {
    while (reinterpret_cast<std::uintptr_t>(memory_.data() + start_) % 64 != 0) ++start_;
    const T garbage = std::numeric_limits<T>::has_quiet_NaN ? std::numeric_limits<T>::quiet_NaN()
                                                            : std::numeric_limits<T>::max();
    std::fill_n(memory_.begin() + start_, size, garbage);
  }
  Span<T> span() { return {memory_.data() + start_, size_}; }
  T operator[](std::int64_t i) const { return memory_.at(std::size_t(start_ + i)); }
  std::int64_t size() const { return size_; }
  std::vector<T> values() const { return {memory_.begin() + start_, memory_.begin() + start_ + size_}; }
  /// Whether nothing was written behind the result.
  bool intact() const {
    return std::all_of(memory_.begin() + start_ + size_, memory_.end(), [](T v) { return v == T(77); });
  }

 private:
  static constexpr std::int64_t kGuards = 64;
  std::vector<T> memory_;
  std::int64_t start_ = 0, size_;
};

/// Uniform in [-1, 1); the same numbers, which a float holds, for every T.
template <class T>
std::vector<T> random_values(std::int64_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<T> v(std::size_t(n), T(0));
  for (T& x : v) x = T(float(random.uniform(-1, 1)));
  return v;
}

}  // namespace atrous::tests
