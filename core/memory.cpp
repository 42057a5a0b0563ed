#include "atrous/core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "atrous/core/error.h"

namespace atrous {
namespace {

constexpr std::size_t kAlign = 64;
constexpr std::size_t kHugePage = std::size_t(2) << 20;
constexpr std::size_t kAddresses = std::size_t(1) << 47;  // of a process: no system has more to give
constexpr std::size_t kGuard = 64;                        // bytes before and behind a checked block
constexpr unsigned char kPattern = 0xff;

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

// The smallest size class that holds n bytes: steps of an eighth of the power of two below n, at least one
// alignment.
std::size_t size_class(std::size_t n) {
  n = std::max(n, kAlign);
  return round_up(n, std::max(kAlign, std::bit_floor(n) / 8));
}

// Null if the system refuses. Only whole huge pages are asked for: a block's tail would waste up to 2 MiB.
void* system_allocate(std::size_t bytes) {
  void* block = nullptr;
  if (posix_memalign(&block, bytes >= kHugePage ? kHugePage : kAlign, bytes) != 0) return nullptr;
  if (bytes >= kHugePage) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return block;
}

class CpuAllocator {
 public:
  void* allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    ATROUS_CHECK(MemoryError, bytes < kAddresses, "memory", "a block of ", bytes, " bytes was asked for");
    const bool checked = checks_;
    const std::size_t size = size_class(bytes + (checked ? 2 * kGuard : 0));
    auto* block = static_cast<unsigned char*>(take(size));
    unsigned char* user = checked ? block + kGuard : block;
    try {
      live_[user] = {size, bytes, checked};
    } catch (...) {
      std::free(block);
      throw;
    }
    ++stats_.requests;
    stats_.in_use += std::int64_t(size);
    stats_.peak = std::max(stats_.peak, stats_.in_use);
    if (checked) std::memset(block, kPattern, size);
    return user;
  }

  void deallocate(void* user) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(user);
    assert(found != live_.end());
    const Live info = found->second;
    live_.erase(found);
    auto* block = static_cast<unsigned char*>(user);
    if (info.checked) {
      const auto clean = [](const unsigned char* p, std::size_t n) {
        return std::all_of(p, p + n, [](unsigned char c) { return c == kPattern; });
      };
      if (!clean(block - kGuard, kGuard) || !clean(block + info.bytes, kGuard)) ++damaged_;
      block -= kGuard;
    }
    stats_.in_use -= std::int64_t(info.size);
    try {
      free_[info.size].push_back(block);
      stats_.cached += std::int64_t(info.size);
    } catch (...) {  // no room for the list: the block goes back
      std::free(block);
    }
  }

  void trim() {
    const std::lock_guard lock(mutex_);
    trim_locked();
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.in_use;
  }
  void set_cap(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    cap_ = bytes;
  }
  void set_checks(bool on) {
    const std::lock_guard lock(mutex_);
    checks_ = on;
  }
  std::int64_t damaged() {
    const std::lock_guard lock(mutex_);
    return damaged_;
  }

 private:
  struct Live {
    std::size_t size, bytes;
    bool checked;
  };

  void* take(std::size_t size) {
    if (const auto found = free_.find(size); found != free_.end() && !found->second.empty()) {
      void* block = found->second.back();
      found->second.pop_back();
      stats_.cached -= std::int64_t(size);
      return block;
    }
    const auto fits = [&] { return !cap_ || stats_.in_use + stats_.cached + std::int64_t(size) <= cap_; };
    if (!fits()) trim_locked();
    ATROUS_CHECK(MemoryError, fits(), "memory", size, " bytes asked for, ", stats_.in_use,
                 " in use, and the cap is ", cap_);
    ++stats_.system_calls;
    void* block = system_allocate(size);
    if (!block) {
      trim_locked();
      block = system_allocate(size);
    }
    ATROUS_CHECK(MemoryError, block, "memory", "the system refused ", size, " bytes; ", stats_.in_use,
                 " are in use");
    return block;
  }

  void trim_locked() {
    for (auto& [size, blocks] : free_)
      for (void* block : blocks) std::free(block);
    free_.clear();
    stats_.cached = 0;
  }

  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;  // by size class
  std::unordered_map<void*, Live> live_;
  MemoryStats stats_;
  std::int64_t cap_ = 0, damaged_ = 0;
  bool checks_ = false;
};

// Never destroyed: tensors of static lifetime may be freed after it would have been.
CpuAllocator& cpu_allocator() {
  static auto* allocator = new CpuAllocator;
  return *allocator;
}

CpuAllocator& allocator_of(Device device) {
  ATROUS_CHECK(DeviceError, device.is_cpu(), "memory", "no memory on ", device, " in this build");
  return cpu_allocator();
}

}  // namespace

MemoryStats memory_stats(Device device) { return allocator_of(device).stats(); }
void reset_memory_peak(Device device) { allocator_of(device).reset_peak(); }
void set_memory_cap(std::int64_t bytes, Device device) { allocator_of(device).set_cap(bytes); }
void trim_memory(Device device) { allocator_of(device).trim(); }
void set_memory_checks(bool on) { cpu_allocator().set_checks(on); }
std::int64_t damaged_blocks() { return cpu_allocator().damaged(); }

namespace detail {
void* allocate(std::size_t bytes, Device device) { return allocator_of(device).allocate(bytes); }
void deallocate(void* block, Device) noexcept { cpu_allocator().deallocate(block); }
}  // namespace detail

}  // namespace atrous
