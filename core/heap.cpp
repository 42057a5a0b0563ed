#include "atrous/core/heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace atrous::detail {
namespace {

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

// Addresses without memory, which the system maps page by page when they are touched; null if it refuses.
char* reserve_addresses(std::size_t bytes) {
  void* block =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return nullptr;
  madvise(block, bytes, MADV_HUGEPAGE);
  return static_cast<char*>(block);
}

}  // namespace

Heap::~Heap() {
  for (const Range& r : ranges_) release(r);
}

void* Heap::take(void* stream, std::size_t size, std::size_t room, bool& grew) {
  room = std::min(room, most_ - std::min(most_, held_));
  const auto gap = gaps_.lower_bound({stream, size, nullptr});
  if (gap != gaps_.end() && std::get<0>(*gap) == stream) return cut(std::get<2>(*gap), size, room, grew);
  return source_ ? take_from_source(stream, size, room, grew) : take_at_end(stream, size, room, grew);
}

void Heap::give_back(void* block) noexcept {
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

std::size_t Heap::gap() const { return noted_ ? kGap : 0; }

void Heap::note(void* begin, std::size_t bytes, bool usable) const {
  if (noted_) (usable ? allow : forbid)(begin, bytes);
}

void Heap::trim() {
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

bool Heap::joins(Pieces::iterator a, Pieces::iterator b) {
  return a->second.free && b->second.free && !b->second.first && a->second.stream == b->second.stream &&
         a->first + a->second.size == b->first;
}

void Heap::join(Pieces::iterator a, Pieces::iterator b) noexcept {
  gaps_.erase(key(a));
  gaps_.erase(key(b));
  a->second.size += b->second.size;
  a->second.held += b->second.held;
  pieces_.erase(b);
}

void* Heap::cut(char* begin, std::size_t size, std::size_t room, bool& grew) {
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

Heap::Pieces::iterator Heap::last_of(const Range& r) {
  const auto behind = pieces_.lower_bound(r.top);
  if (behind == pieces_.begin()) return pieces_.end();
  const auto last = std::prev(behind);
  return last->first >= r.begin ? last : pieces_.end();
}

void* Heap::take_at_end(void* stream, std::size_t size, std::size_t room, bool& grew) {
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

bool Heap::add_range(std::size_t least) {
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

void* Heap::take_from_source(void* stream, std::size_t size, std::size_t room, bool& grew) {
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

void Heap::release_free_ranges() {
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

void Heap::release(const Range& r) {
  if (source_) return source_->release(r.begin);
  note(r.begin, std::size_t(r.top - r.begin), true);
  for (const auto& [begin, size] : mapped_)
    if (begin <= r.begin && r.begin < begin + size) munmap(begin, size);
}

}  // namespace atrous::detail
