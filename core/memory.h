#pragma once

#include <cstddef>
#include <cstdint>

#include "atrous/core/device.h"

// The allocator behind every tensor: memory is mapped once and stays warm, which is worth more than any
// single kernel, as touching fresh pages is slower than arithmetic. Each device has its own.
//
// Blocks below 1 MiB, once freed, are kept for requests of the same size class (eight classes for each power
// of two, so at most an eighth is wasted). Larger ones are cut from one piece of addresses that grows at its
// end, in huge pages where the system has them: a request takes the smallest free gap that holds it, and
// neighbours that are free become one gap, so that what is held stays near the most that was in use at once.
// A CUDA device has many such pieces, each as large as a request that found no gap; those that are wholly
// free go back before another is asked for.
//
// On a CUDA device a freed block goes to the next allocation under the same stream (core/stream.h), and needs
// no wait. A tensor that is used under another stream than the one it was made under must outlive that use:
// wait for it with an Event before letting it go.

namespace atrous {

struct MemoryStats {
  std::int64_t in_use = 0;        ///< bytes that tensors hold now, rounded up to their size classes
  std::int64_t cached = 0;        ///< bytes that are free and kept
  std::int64_t peak = 0;          ///< the largest in_use since the start or the last reset_memory_peak()
  std::int64_t requests = 0;      ///< allocations asked for
  std::int64_t system_calls = 0;  ///< allocations that the cache could not serve
};

MemoryStats memory_stats(Device device = kCpu);
void reset_memory_peak(Device device = kCpu);

/// Bytes that in_use and cached together may reach; 0 for no limit. A request above it first empties the
/// cache, then throws MemoryError and leaves everything as it was.
void set_memory_cap(std::int64_t bytes, Device device = kCpu);

/// Gives every cached block back to the system.
void trim_memory(Device device = kCpu);

/// For tests: from now on every block is filled with NaN patterns (bytes 0xff) and stands between guard
/// words. A block that was written outside its bounds is found when it is freed and counted in
/// damaged_blocks().
void set_memory_checks(bool on, Device device = kCpu);
std::int64_t damaged_blocks(Device device = kCpu);
bool memory_checks(Device device = kCpu);

namespace detail {
/// At least `bytes` bytes, aligned to 64. Throws MemoryError.
void* allocate(std::size_t bytes, Device device);
void deallocate(void* block, Device device) noexcept;
/// The same in a DryRun: addresses that nobody else has, and no memory until they are touched.
void* rehearse_allocate(std::size_t bytes, Device device);
void rehearse_deallocate(void* block, Device device) noexcept;
/// Counts from nothing on.
void begin_rehearsal();
MemoryStats rehearsal_stats(Device device);
}  // namespace detail

}  // namespace atrous
