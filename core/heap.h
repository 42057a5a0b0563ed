#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "atrous/core/memory_source.h"
#include "atrous/core/recycled.h"

// The allocator's large blocks (core/memory.h): gaps join, so that what is held stays near what is in use.

namespace atrous::detail {

/// Large blocks, cut from ranges of addresses. The host's heap is one range, which grows at its end; a CUDA
/// device's has a range for each block of its source. A range is a row of pieces, each in use or a gap.
class Heap {
 public:
  /// `most`: bytes that it may hold. A source of null: the host's addresses.
  Heap(MemorySource* source, std::size_t most)
      : source_(source), most_(most), noted_(!source && most < kAddresses) {}
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  /// A piece of `size` bytes, a multiple of kPage. Null if that took more than `room` bytes beyond what is
  /// held, or if there are none; `grew` says whether the system was asked.
  void* take(void* stream, std::size_t size, std::size_t room, bool& grew);

  /// Joins what was taken to the gaps beside it.
  void give_back(void* block) noexcept;

  /// Bytes behind a block that nobody may touch.
  std::size_t gap() const;
  /// Tells AddressSanitizer, of the host's memory: what is rehearsed or lies on a device it need not know.
  void note(void* begin, std::size_t bytes, bool usable) const;
  /// Bytes of gaps that the system has given.
  std::size_t free_held() const { return free_held_; }

  /// Gives the memory of all gaps back.
  void trim();

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
  using Pieces = std::map<char*, Piece, std::less<>, Recycled<std::pair<char* const, Piece>>>;
  using Gap = std::tuple<void*, std::size_t, char*>;

  static Gap key(Pieces::iterator piece) { return {piece->second.stream, piece->second.size, piece->first}; }

  static bool joins(Pieces::iterator a, Pieces::iterator b);
  void join(Pieces::iterator a, Pieces::iterator b) noexcept;

  // The first `size` bytes of a gap. What has memory in it is not known: none of those, as far as it can be.
  void* cut(char* begin, std::size_t size, std::size_t room, bool& grew);

  Pieces::iterator last_of(const Range& r);

  void* take_at_end(void* stream, std::size_t size, std::size_t room, bool& grew);

  // Fewer addresses where the system does not like to give so many.
  bool add_range(std::size_t least);

  void* take_from_source(void* stream, std::size_t size, std::size_t room, bool& grew);

  void release_free_ranges();

  void release(const Range& r);

  MemorySource* source_;
  std::size_t most_, held_ = 0, free_held_ = 0;
  bool noted_;
  std::vector<Range> ranges_;
  std::vector<std::pair<char*, std::size_t>> mapped_;  // what the host's ranges were cut from
  Pieces pieces_;
  std::set<Gap, std::less<>, Recycled<Gap>> gaps_;
};

}  // namespace atrous::detail
