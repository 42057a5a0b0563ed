#pragma once

#include <cstddef>
#include <memory>

#include "atrous/core/device.h"

// Where memory comes from: the host, a CUDA device, or addresses that a rehearsal plays with.

namespace atrous::detail {

inline constexpr std::size_t kAlign = 64;
inline constexpr std::size_t kPage = 4096;
inline constexpr std::size_t kHugePage = std::size_t(2) << 20;
inline constexpr std::size_t kAddresses = std::size_t(1) << 47;  // of a process: no system has more to give

inline std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

/// Where an allocator has its blocks from.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  /// Null if there is no room.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* block) noexcept = 0;
  virtual void fill(void* to, unsigned char value, std::size_t bytes) = 0;
  virtual void read(void* to, const void* from, std::size_t bytes) = 0;
};

std::unique_ptr<MemorySource> host_memory();
std::unique_ptr<MemorySource> cuda_memory(Device device);
/// Addresses of the host for whatever device a DryRun plays: the system maps no page before it is touched.
std::unique_ptr<MemorySource> reserved_memory();

/// All that this machine could hold.
std::size_t machine_memory();

}  // namespace atrous::detail
