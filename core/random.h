#pragma once

#include <cmath>
#include <cstdint>

#include "atrous/core/host_device.h"

// Counter-based random numbers: number i of a stream is a function of (seed, stream, i) alone. So a kernel
// draws any element without a state, in any order, on any device and with any number of threads, and the
// numbers are always the same. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011:
// Philox 4x32 with 10 rounds.

namespace atrous {

/// Four words; std::array cannot be indexed in device code.
struct PhiloxWords {
  std::uint32_t words[4];
  ATROUS_HD constexpr std::uint32_t operator[](std::uint64_t i) const { return words[i]; }
  bool operator==(const PhiloxWords&) const = default;
};

/// Four independent 32-bit words for one counter value.
ATROUS_HD constexpr PhiloxWords philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  std::uint32_t k0 = std::uint32_t(seed), k1 = std::uint32_t(seed >> 32);
  std::uint32_t c0 = std::uint32_t(counter), c1 = std::uint32_t(counter >> 32);
  std::uint32_t c2 = std::uint32_t(stream), c3 = std::uint32_t(stream >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t(0xD2511F53u) * c0;
    const std::uint64_t p1 = std::uint64_t(0xCD9E8D57u) * c2;
    c0 = std::uint32_t(p1 >> 32) ^ c1 ^ k0;
    c1 = std::uint32_t(p1);
    c2 = std::uint32_t(p0 >> 32) ^ c3 ^ k1;
    c3 = std::uint32_t(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// The 32-bit word of element i of a stream: word i%4 of counter i/4.
ATROUS_HD constexpr std::uint32_t random_bits(std::uint64_t seed, std::uint64_t stream, std::uint64_t i) {
  return philox(seed, stream, i / 4)[i % 4];
}

/// A uniform number in [0, 1) with 24 random bits: exactly representable as a float.
ATROUS_HD constexpr float uniform_from_bits(std::uint32_t bits) { return float(bits >> 8) * 0x1p-24f; }

/// A generator that hands out the numbers of one stream in order. It is its two numbers and a position: copy
/// it to repeat it.
class Random {
 public:
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  std::uint32_t bits() { return random_bits(seed_, stream_, position_++); }
  /// Uniform in [0, 1).
  float uniform() { return uniform_from_bits(bits()); }
  /// Uniform in [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Uniform in 0..n-1 for 1 <= n <= 2^32, by multiply and shift (bias below n / 2^32).
  std::int64_t below(std::int64_t n) {
    return std::int64_t((std::uint64_t(bits()) * std::uint64_t(n)) >> 32);
  }
  /// Normal with mean 0 and standard deviation 1 (Box and Muller, in double; host only).
  double normal() {
    const double u = (double(bits()) + 1.0) * 0x1p-32;  // in (0, 1]
    const double angle = 6.283185307179586476925 * double(bits()) * 0x1p-32;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(angle);
  }
  /// Another stream of the same seed, for a part that draws on its own. Its number is hashed (SplitMix64's
  /// finisher), so that it meets neither the streams that callers number nor the splits of other streams.
  Random split(std::uint64_t stream) const {
    std::uint64_t h = (stream_ + 1) * 0x9E3779B97F4A7C15u + stream;
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
    return Random(seed_, h ^ (h >> 31));
  }

  std::uint64_t seed() const { return seed_; }
  std::uint64_t stream() const { return stream_; }
  std::uint64_t position() const { return position_; }
  void seek(std::uint64_t position) { position_ = position; }

 private:
  std::uint64_t seed_, stream_, position_ = 0;
};

}  // namespace atrous
