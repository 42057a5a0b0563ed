#include "atrous/core/memory.h"

#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "atrous/core/config.h"
#include "atrous/core/cuda_backend.h"
#include "atrous/core/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace atrous {
namespace {

constexpr std::size_t kAlign = 64;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t(2) << 20;
constexpr std::size_t kLarge = std::size_t(1) << 20;      // blocks from here on lie in the heap
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

// In an AddressSanitizer build, what of the heap may be touched; there blocks have a gap behind them. And how
// many addresses a heap reserves at a time.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kGap = kAlign;
constexpr std::size_t kHeapAddresses = std::size_t(1) << 28;  // its own notes on them take an eighth at once
void forbid(void* begin, std::size_t bytes) { ASAN_POISON_MEMORY_REGION(begin, bytes); }
void allow(void* begin, std::size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(begin, bytes); }
#else
constexpr std::size_t kGap = 0;
constexpr std::size_t kHeapAddresses = kAddresses / 8;
void forbid(void*, std::size_t) {}
void allow(void*, std::size_t) {}
#endif

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
  void* allocate(std::size_t bytes) override {
    void* block = nullptr;
    return posix_memalign(&block, kAlign, bytes) == 0 ? block : nullptr;
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

// Addresses without memory, which the system maps page by page when they are touched; null if it refuses.
char* reserve_addresses(std::size_t bytes) {
  void* block =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return nullptr;
  madvise(block, bytes, MADV_HUGEPAGE);
  return static_cast<char*>(block);
}

// All that this machine could hold.
std::size_t machine_memory() {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return kAddresses;
  return (std::size_t(info.totalram) + std::size_t(info.totalswap)) * info.mem_unit;
}

// Large blocks, cut from ranges of addresses. The host's heap is one range, which grows at its end; a CUDA
// device's has a range for each block of its source. A range is a row of pieces, each in use or a gap.
class Heap {
 public:
  // `most`: bytes that it may hold. A source of null: the host's addresses.
  Heap(Source* source, std::size_t most)
      : source_(source), most_(most), noted_(!source && most < kAddresses) {}
  ~Heap() {
    for (const Range& r : ranges_) release(r);
  }
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // A piece of `size` bytes, a multiple of kPage. Null if that took more than `room` bytes beyond what is
  // held, or if there are none; `grew` says whether the system was asked.
  void* take(void* stream, std::size_t size, std::size_t room, bool& grew) {
    room = std::min(room, most_ - std::min(most_, held_));
    const auto gap = gaps_.lower_bound({stream, size, nullptr});
    if (gap != gaps_.end() && std::get<0>(*gap) == stream) return cut(std::get<2>(*gap), size, room, grew);
    return source_ ? take_from_source(stream, size, room, grew) : take_at_end(stream, size, room, grew);
  }

  void give_back(void* block) noexcept {
    auto piece = pieces_.find(static_cast<char*>(block));
    piece->second.free = true;
    free_held_ += piece->second.held;
    note(block, piece->second.size, false);
    if (const auto next = std::next(piece); next != pieces_.end() && joins(piece, next)) join(piece, next);
    if (piece != pieces_.begin())
      if (const auto before = std::prev(piece); joins(before, piece)) {
        join(before, piece);
        piece = before;
      }
    try {
      gaps_.insert(key(piece));
    } catch (...) {  // no memory for the note: the gap is lost until a neighbour is freed
    }
  }

  // Bytes behind a block that nobody may touch.
  std::size_t gap() const { return noted_ ? kGap : 0; }
  // Tells AddressSanitizer, of the host's memory: what is rehearsed or lies on a device it need not know.
  void note(void* begin, std::size_t bytes, bool usable) const {
    if (noted_) (usable ? allow : forbid)(begin, bytes);
  }
  // Bytes of gaps that the system has given.
  std::size_t free_held() const { return free_held_; }

  // Gives the memory of all gaps back.
  void trim() {
    if (source_) return release_free_ranges();
    for (auto& [begin, piece] : pieces_) {
      if (!piece.free || piece.held == 0) continue;
      madvise(begin, piece.size, MADV_DONTNEED);
      held_ -= piece.held, free_held_ -= piece.held;
      piece.held = 0;
    }
    for (Range& r : ranges_)
      if (const auto last = last_of(r); last != pieces_.end() && last->second.free) {
        gaps_.erase(key(last));
        r.top = last->first;
        pieces_.erase(last);
      }
  }

 private:
  struct Range {
    char *begin, *top, *limit;  // pieces lie from begin to top
  };
  struct Piece {
    std::size_t size, held;  // held: at most so much of it has memory; all of it, if it is in use
    void* stream;
    bool free;
    bool first;  // of its range
  };
  using Pieces = std::map<char*, Piece>;
  using Gap = std::tuple<void*, std::size_t, char*>;

  static Gap key(Pieces::iterator piece) { return {piece->second.stream, piece->second.size, piece->first}; }

  static bool joins(Pieces::iterator a, Pieces::iterator b) {
    return a->second.free && b->second.free && !b->second.first && a->second.stream == b->second.stream &&
           a->first + a->second.size == b->first;
  }
  void join(Pieces::iterator a, Pieces::iterator b) noexcept {
    gaps_.erase(key(a));
    gaps_.erase(key(b));
    a->second.size += b->second.size;
    a->second.held += b->second.held;
    pieces_.erase(b);
  }

  // The first `size` bytes of a gap. What has memory in it is not known: none of those, as far as it can be.
  void* cut(char* begin, std::size_t size, std::size_t room, bool& grew) {
    const auto at = pieces_.find(begin);
    Piece& piece = at->second;
    const std::size_t rest = piece.size - size, rest_held = std::min(rest, piece.held);
    const std::size_t growth = size + rest_held - piece.held;
    if (growth > room) return nullptr;
    if (rest > 0) {
      const auto behind =
          pieces_.emplace(begin + size, Piece{rest, rest_held, piece.stream, true, false}).first;
      gaps_.insert(key(behind));
    }
    gaps_.erase(key(at));
    held_ += growth;
    free_held_ = free_held_ - piece.held + rest_held;
    grew = growth > 0;
    piece.size = piece.held = size;
    piece.free = false;
    return begin;
  }

  Pieces::iterator last_of(const Range& r) {
    const auto behind = pieces_.lower_bound(r.top);
    if (behind == pieces_.begin()) return pieces_.end();
    const auto last = std::prev(behind);
    return last->first >= r.begin ? last : pieces_.end();
  }

  void* take_at_end(void* stream, std::size_t size, std::size_t room, bool& grew) {
    if (ranges_.empty() && !add_range(size)) return nullptr;
    for (;;) {
      Range& r = ranges_.back();
      auto last = last_of(r);
      const bool extends = last != pieces_.end() && last->second.free && last->second.stream == stream;
      char* const begin = extends ? last->first : r.top;
      if (size > std::size_t(r.limit - begin)) {
        if (!add_range(size)) return nullptr;
        continue;
      }
      const std::size_t before = extends ? last->second.held : 0;
      if (size - before > room) return nullptr;
      if (extends)
        gaps_.erase(key(last));
      else
        last = pieces_.emplace(begin, Piece{0, 0, stream, true, begin == r.begin}).first;
      last->second.size = last->second.held = size;
      last->second.free = false;
      r.top = begin + size;
      held_ += size - before;
      free_held_ -= before;
      grew = true;
      return begin;
    }
  }

  // Fewer addresses where the system does not like to give so many.
  bool add_range(std::size_t least) {
    for (std::size_t size = std::max(kHeapAddresses, round_up(least, kHugePage)); size >= least; size /= 2)
      if (char* begin = reserve_addresses(size)) {
        char* const aligned = begin + (kHugePage - std::uintptr_t(begin) % kHugePage) % kHugePage;
        if (std::size_t(begin + size - aligned) < least) {
          munmap(begin, size);
          continue;
        }
        ranges_.push_back({aligned, aligned, begin + size});
        mapped_.emplace_back(begin, size);
        return true;
      }
    return false;
  }

  void* take_from_source(void* stream, std::size_t size, std::size_t room, bool& grew) {
    release_free_ranges();
    const std::size_t whole = round_up(size, kHugePage);
    if (whole > room) return nullptr;
    auto* begin = static_cast<char*>(source_->allocate(whole));
    if (!begin) return nullptr;
    ranges_.push_back({begin, begin + whole, begin + whole});
    const auto piece = pieces_.emplace(begin, Piece{whole, whole, stream, true, true}).first;
    gaps_.insert(key(piece));
    held_ += whole, free_held_ += whole;
    void* block = cut(begin, size, room, grew);
    grew = true;
    return block;
  }

  void release_free_ranges() {
    std::erase_if(ranges_, [&](const Range& r) {
      const auto piece = pieces_.find(r.begin);
      if (!piece->second.free || r.begin + piece->second.size != r.top) return false;
      held_ -= piece->second.held, free_held_ -= piece->second.held;
      gaps_.erase(key(piece));
      pieces_.erase(piece);
      release(r);
      return true;
    });
  }

  void release(const Range& r) {
    if (source_) return source_->release(r.begin);
    note(r.begin, std::size_t(r.top - r.begin), true);
    for (const auto& [begin, size] : mapped_)
      if (begin <= r.begin && r.begin < begin + size) munmap(begin, size);
  }

  Source* source_;
  std::size_t most_, held_ = 0, free_held_ = 0;
  bool noted_;
  std::vector<Range> ranges_;
  std::vector<std::pair<char*, std::size_t>> mapped_;  // what the host's ranges were cut from
  Pieces pieces_;
  std::set<Gap> gaps_;
};

// Keeps what is freed. On a CUDA device a free block belongs to the stream that it was allocated under: given
// out again there, whatever still reads or writes it comes before its next use by the order of the stream.
class Allocator {
 public:
  // `most`: bytes that the heap may hold.
  Allocator(Device device, std::unique_ptr<Source> source, std::size_t most = kAddresses)
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
  const std::unique_ptr<Source> source_;
  const std::size_t most_;
  std::mutex mutex_;
  std::map<Key, std::vector<void*>> free_;
  std::shared_ptr<Heap> heap_;
  std::unordered_map<void*, Live> live_;
  MemoryStats stats_;  // without what is free in the heap
  std::int64_t cap_ = 0, damaged_ = 0;
  bool checks_ = false;
};

// Never destroyed: tensors of static lifetime may be freed after it would have been.
Allocator& cpu_allocator() {
  static auto* allocator = new Allocator(kCpu, std::make_unique<CpuSource>(), machine_memory());
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
