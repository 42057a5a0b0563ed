#include "atrous/core/memory.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "atrous/core/cuda_backend.h"
#include "atrous/core/error.h"
#include "atrous/core/heap.h"
#include "atrous/core/memory_source.h"
#include "atrous/core/recycled.h"
#include "atrous/core/stream.h"

namespace atrous {
namespace {

using namespace detail;

constexpr std::size_t kLarge = std::size_t(1) << 20;  // blocks from here on lie in the heap
constexpr std::size_t kGuard = 256;                   // bytes before and behind a checked block
constexpr unsigned char kPattern = 0xff;

// The smallest size class that holds n bytes: steps of an eighth of the power of two below n, at least one
// alignment.
std::size_t size_class(std::size_t n) {
  n = std::max(n, kAlign);
  return round_up(n, std::max(kAlign, std::bit_floor(n) / 8));
}

// Keeps what is freed. On a CUDA device a free block belongs to the stream that it was allocated under: given
// out again there, whatever still reads or writes it comes before its next use by the order of the stream.
class Allocator {
 public:
  // `most`: bytes that the heap may hold.
  Allocator(Device device, std::unique_ptr<MemorySource> source, std::size_t most = kAddresses)
      : device_(device), source_(std::move(source)), most_(most), heap_(new_heap()) {}

  void* allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    ATROUS_CHECK(MemoryError, bytes < kAddresses, "memory", "a block of ", bytes, " bytes was asked for");
    const bool checked = checks_;
    const std::size_t all = bytes + (checked ? 2 * kGuard : 0);
    const bool large = all >= kLarge;
    const std::size_t size = large ? round_up(all + heap_->gap(), kPage) : size_class(all);
    const Key key{current_stream(device_).handle, size};
    auto* block = static_cast<unsigned char*>(large ? take_large(key) : take(key));
    unsigned char* user = checked ? block + kGuard : block;
    try {
      live_[user] = {key, bytes, checked, large ? heap_ : nullptr};
      if (checked) source_->fill(block, kPattern, size - (large ? heap_->gap() : 0));
    } catch (...) {
      live_.erase(user);
      if (large)
        heap_->give_back(block);
      else
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
    if (info.counted) stats_.in_use -= std::int64_t(info.key.size);
    if (info.heap) return info.heap->give_back(block);
    if (!info.counted) return source_->release(block);
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
    MemoryStats all = stats_;
    all.cached = cached();
    return all;
  }
  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.in_use;
  }
  // Forgets what was freed, and counts from nothing on: blocks that are still alive are of no interest, and
  // keep their heap.
  void restart() {
    const std::lock_guard lock(mutex_);
    trim_locked();
    stats_ = {};
    heap_ = new_heap();
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
  bool checks() {
    const std::lock_guard lock(mutex_);
    return checks_;
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
    std::shared_ptr<Heap> heap;  // of a large block
    bool counted = true;         // in stats_; false for what is left of an earlier rehearsal
  };

  std::shared_ptr<Heap> new_heap() {
    return std::make_shared<Heap>(device_.is_cpu() ? nullptr : source_.get(), most_);
  }

  // Bytes that are free and kept, of both kinds.
  std::int64_t cached() const { return stats_.cached + std::int64_t(heap_->free_held()); }
  // Bytes that may be held in addition.
  std::size_t room() const {
    if (!cap_) return kAddresses;
    return std::size_t(std::max<std::int64_t>(0, cap_ - stats_.in_use - cached()));
  }

  bool guard_intact(const unsigned char* guard) noexcept {
    unsigned char bytes[kGuard];
    try {
      source_->read(bytes, guard, kGuard);
    } catch (...) {  // the device has failed; whoever uses it next is told
      return true;
    }
    return std::all_of(bytes, bytes + kGuard, [](unsigned char c) { return c == kPattern; });
  }

  void* take_large(const Key& key) {
    bool grew = false;
    void* block = heap_->take(key.stream, key.size, room(), grew);
    if (!block) {
      trim_locked();
      grew = true;
      block = heap_->take(key.stream, key.size, room(), grew);
    }
    ATROUS_CHECK(MemoryError, block || !cap_ || room() >= key.size, "memory", key.size,
                 " bytes asked for on ", device_, ", ", stats_.in_use, " in use, and the cap is ", cap_);
    ATROUS_CHECK(MemoryError, block, "memory", device_, " refused ", key.size, " bytes; ", stats_.in_use,
                 " are in use");
    stats_.system_calls += grew;
    heap_->note(block, key.size - heap_->gap(), true);
    return block;
  }

  void* take(const Key& key) {
    if (const auto found = free_.find(key); found != free_.end() && !found->second.empty()) {
      void* block = found->second.back();
      found->second.pop_back();
      stats_.cached -= std::int64_t(key.size);
      return block;
    }
    const std::size_t size = key.size;
    if (room() < size) trim_locked();
    ATROUS_CHECK(MemoryError, room() >= size, "memory", size, " bytes asked for on ", device_, ", ",
                 stats_.in_use, " in use, and the cap is ", cap_);
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
    heap_->trim();
  }

  const Device device_;
  const std::unique_ptr<MemorySource> source_;
  const std::size_t most_;
  std::mutex mutex_;
  std::map<Key, std::vector<void*>> free_;
  std::shared_ptr<Heap> heap_;
  std::unordered_map<void*, Live, std::hash<void*>, std::equal_to<>, Recycled<std::pair<void* const, Live>>>
      live_;
  MemoryStats stats_;  // without what is free in the heap
  std::int64_t cap_ = 0, damaged_ = 0;
  bool checks_ = false;
};

// Never destroyed: tensors of static lifetime may be freed after it would have been.
Allocator& cpu_allocator() {
  static auto* allocator = new Allocator(kCpu, host_memory(), machine_memory());
  return *allocator;
}

Allocator& cuda_allocator(Device device) {
  static std::mutex mutex;
  static auto* all = new std::map<int, std::unique_ptr<Allocator>>;
  const std::lock_guard lock(mutex);
  auto& allocator = (*all)[device.index];
  if (!allocator) {
    check_usable(device);
    allocator = std::make_unique<Allocator>(device, cuda_memory(device));
  }
  return *allocator;
}

// One a device, for all rehearsals: a tensor may outlive its own.
class RehearsedAllocators {
 public:
  Allocator& of(Device device) {
    const std::lock_guard lock(mutex_);
    auto& allocator = all_[{device.type, device.index}];
    if (!allocator) allocator = std::make_unique<Allocator>(device, reserved_memory());
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

bool memory_checks(Device device) { return allocator_of(device).checks(); }

namespace detail {
void* allocate(std::size_t bytes, Device device) { return allocator_of(device).allocate(bytes); }
void deallocate(void* block, Device device) noexcept { allocator_of(device).deallocate(block); }
void* rehearse_allocate(std::size_t bytes, Device device) { return rehearsed().of(device).allocate(bytes); }
void rehearse_deallocate(void* block, Device device) noexcept { rehearsed().of(device).deallocate(block); }
void begin_rehearsal() { rehearsed().restart(); }
MemoryStats rehearsal_stats(Device device) { return rehearsed().of(device).stats(); }
}  // namespace detail

}  // namespace atrous
