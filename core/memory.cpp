#include "atrous/core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "atrous/core/config.h"
#include "atrous/core/cuda_backend.h"
#include "atrous/core/error.h"

namespace atrous {
namespace {

constexpr std::size_t kAlign = 64;
constexpr std::size_t kHugePage = std::size_t(2) << 20;
constexpr std::size_t kAddresses = std::size_t(1) << 47;  // of a process: no system has more to give
constexpr std::size_t kGuard = 256;                       // bytes before and behind a checked block
constexpr unsigned char kPattern = 0xff;

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

// The smallest size class that holds n bytes: steps of an eighth of the power of two below n, at least one
// alignment.
std::size_t size_class(std::size_t n) {
  n = std::max(n, kAlign);
  return round_up(n, std::max(kAlign, std::bit_floor(n) / 8));
}

// Where an allocator has its blocks from.
class Source {
 public:
  virtual ~Source() = default;
  /// Null if there is no room.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* block) noexcept = 0;
  virtual void fill(void* to, unsigned char value, std::size_t bytes) = 0;
  virtual void read(void* to, const void* from, std::size_t bytes) = 0;
};

class CpuSource final : public Source {
 public:
  // Only whole huge pages are asked for: a block's tail would waste up to 2 MiB.
  void* allocate(std::size_t bytes) override {
    void* block = nullptr;
    if (posix_memalign(&block, bytes >= kHugePage ? kHugePage : kAlign, bytes) != 0) return nullptr;
    if (bytes >= kHugePage) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
    return block;
  }
  void release(void* block) noexcept override { std::free(block); }
  void fill(void* to, unsigned char value, std::size_t bytes) override { std::memset(to, value, bytes); }
  void read(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
};

// Reached in builds with CUDA alone: elsewhere device_count() is 0.
class CudaSource final : public Source {
 public:
  explicit CudaSource(Device device) : device_(device) {}
  void* allocate(std::size_t bytes) override {
    if constexpr (ATROUS_WITH_CUDA) return cuda_backend::allocate(bytes, device_.index);
    return nullptr;
  }
  void release(void* block) noexcept override {
    if constexpr (ATROUS_WITH_CUDA) cuda_backend::release(block, device_.index);
  }
  void fill(void* to, unsigned char value, std::size_t bytes) override {
    if constexpr (ATROUS_WITH_CUDA) cuda_backend::fill_bytes(to, value, bytes, current_stream(device_));
  }
  void read(void* to, const void* from, std::size_t bytes) override {
    if constexpr (ATROUS_WITH_CUDA) cuda_backend::copy_out(to, from, bytes, current_stream(device_));
  }

 private:
  Device device_;
};

// Addresses of the host for whatever device a DryRun plays: the system maps no page before it is touched.
class ReservedSource final : public Source {
 public:
  void* allocate(std::size_t bytes) override {
    void* block =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    sizes_[block] = bytes;
    return block;
  }
  void release(void* block) noexcept override {
    const auto found = sizes_.find(block);
    munmap(block, found->second);
    sizes_.erase(found);
  }
  void fill(void* to, unsigned char value, std::size_t bytes) override { std::memset(to, value, bytes); }
  void read(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }

 private:
  std::unordered_map<void*, std::size_t> sizes_;
};

// Keeps what is freed. On a CUDA device a free block belongs to the stream that it was allocated under: given
// out again there, whatever still reads or writes it comes before its next use by the order of the stream.
class Allocator {
 public:
  Allocator(Device device, std::unique_ptr<Source> source) : device_(device), source_(std::move(source)) {}

  void* allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    ATROUS_CHECK(MemoryError, bytes < kAddresses, "memory", "a block of ", bytes, " bytes was asked for");
    const bool checked = checks_;
    const std::size_t size = size_class(bytes + (checked ? 2 * kGuard : 0));
    const Key key{current_stream(device_).handle, size};
    auto* block = static_cast<unsigned char*>(take(key));
    unsigned char* user = checked ? block + kGuard : block;
    try {
      live_[user] = {key, bytes, checked};
      if (checked) source_->fill(block, kPattern, size);
    } catch (...) {
      live_.erase(user);
      source_->release(block);
      throw;
    }
    ++stats_.requests;
    stats_.in_use += std::int64_t(size);
    stats_.peak = std::max(stats_.peak, stats_.in_use);
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
      if (!guard_intact(block - kGuard) || !guard_intact(block + info.bytes)) ++damaged_;
      block -= kGuard;
    }
    if (!info.counted) return source_->release(block);
    stats_.in_use -= std::int64_t(info.key.size);
    try {
      free_[info.key].push_back(block);
      stats_.cached += std::int64_t(info.key.size);
    } catch (...) {  // no room for the list: the block goes back
      source_->release(block);
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
  // Forgets what was freed, and counts from nothing on: blocks that are still alive are of no interest.
  void restart() {
    const std::lock_guard lock(mutex_);
    trim_locked();
    stats_ = {};
    for (auto& [user, live] : live_) live.counted = false;
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
  struct Key {
    void* stream;
    std::size_t size;
    auto operator<=>(const Key&) const = default;
  };
  struct Live {
    Key key;
    std::size_t bytes;
    bool checked;
    bool counted = true;  // in stats_; false for what is left of an earlier rehearsal
  };

  bool guard_intact(const unsigned char* guard) noexcept {
    unsigned char bytes[kGuard];
    try {
      source_->read(bytes, guard, kGuard);
    } catch (...) {  // the device has failed; whoever uses it next is told
      return true;
    }
    return std::all_of(bytes, bytes + kGuard, [](unsigned char c) { return c == kPattern; });
  }

  void* take(const Key& key) {
    if (const auto found = free_.find(key); found != free_.end() && !found->second.empty()) {
      void* block = found->second.back();
      found->second.pop_back();
      stats_.cached -= std::int64_t(key.size);
      return block;
    }
    const std::size_t size = key.size;
    const auto fits = [&] { return !cap_ || stats_.in_use + stats_.cached + std::int64_t(size) <= cap_; };
    if (!fits()) trim_locked();
    ATROUS_CHECK(MemoryError, fits(), "memory", size, " bytes asked for on ", device_, ", ", stats_.in_use,
                 " in use, and the cap is ", cap_);
    ++stats_.system_calls;
    void* block = source_->allocate(size);
    if (!block) {
      trim_locked();
      block = source_->allocate(size);
    }
    ATROUS_CHECK(MemoryError, block, "memory", device_, " refused ", size, " bytes; ", stats_.in_use,
                 " are in use");
    return block;
  }

  void trim_locked() {
    for (auto& [key, blocks] : free_)
      for (void* block : blocks) source_->release(block);
    free_.clear();
    stats_.cached = 0;
  }

  const Device device_;
  const std::unique_ptr<Source> source_;
  std::mutex mutex_;
  std::map<Key, std::vector<void*>> free_;
  std::unordered_map<void*, Live> live_;
  MemoryStats stats_;
  std::int64_t cap_ = 0, damaged_ = 0;
  bool checks_ = false;
};

// Never destroyed: tensors of static lifetime may be freed after it would have been.
Allocator& cpu_allocator() {
  static auto* allocator = new Allocator(kCpu, std::make_unique<CpuSource>());
  return *allocator;
}

Allocator& cuda_allocator(Device device) {
  static std::mutex mutex;
  static auto* all = new std::map<int, std::unique_ptr<Allocator>>;
  const std::lock_guard lock(mutex);
  auto& allocator = (*all)[device.index];
  if (!allocator) {
    check_usable(device);
    allocator = std::make_unique<Allocator>(device, std::make_unique<CudaSource>(device));
  }
  return *allocator;
}

// One a device, for all rehearsals: a tensor may outlive its own.
class RehearsedAllocators {
 public:
  Allocator& of(Device device) {
    const std::lock_guard lock(mutex_);
    auto& allocator = all_[{device.type, device.index}];
    if (!allocator) allocator = std::make_unique<Allocator>(device, std::make_unique<ReservedSource>());
    return *allocator;
  }
  void restart() {
    const std::lock_guard lock(mutex_);
    for (auto& [key, allocator] : all_) allocator->restart();
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<DeviceType, int>, std::unique_ptr<Allocator>> all_;
};

RehearsedAllocators& rehearsed() {
  static auto* all = new RehearsedAllocators;
  return *all;
}

Allocator& allocator_of(Device device) { return device.is_cpu() ? cpu_allocator() : cuda_allocator(device); }

}  // namespace

MemoryStats memory_stats(Device device) { return allocator_of(device).stats(); }
void reset_memory_peak(Device device) { allocator_of(device).reset_peak(); }
void set_memory_cap(std::int64_t bytes, Device device) { allocator_of(device).set_cap(bytes); }
void trim_memory(Device device) { allocator_of(device).trim(); }
void set_memory_checks(bool on, Device device) { allocator_of(device).set_checks(on); }
std::int64_t damaged_blocks(Device device) { return allocator_of(device).damaged(); }

namespace detail {
void* allocate(std::size_t bytes, Device device) { return allocator_of(device).allocate(bytes); }
void deallocate(void* block, Device device) noexcept { allocator_of(device).deallocate(block); }
void* rehearse_allocate(std::size_t bytes, Device device) { return rehearsed().of(device).allocate(bytes); }
void rehearse_deallocate(void* block, Device device) noexcept { rehearsed().of(device).deallocate(block); }
void begin_rehearsal() { rehearsed().restart(); }
MemoryStats rehearsal_stats(Device device) { return rehearsed().of(device).stats(); }
}  // namespace detail

}  // namespace atrous
