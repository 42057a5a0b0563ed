#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "atrous/core/recycled.h"

// One team of threads for the whole program. Work is cut statically: thread t of k takes the elements [n*t/k,
// n*(t+1)/k); long work may be handed out as threads come for it (WorkShares). A result must not depend on
// where the cuts are: every output is made by one body in one order, and partial sums are cut by the shape
// alone. Then 1 and 2 threads give the same bits.

namespace atrous {

/// Threads that parallel_for uses, the caller included. Starts as the number of processors that this process
/// may use.
int threads();
/// Throws ValueError unless 1 <= count <= 1024, and inside of a parallel_for.
void set_threads(int count);

/// Sets the number of threads for as long as one lives.
class ThreadsScope {
 public:
  explicit ThreadsScope(int count) : before_(threads()) { set_threads(count); }
  ~ThreadsScope() { set_threads(before_); }
  ThreadsScope(const ThreadsScope&) = delete;
  ThreadsScope& operator=(const ThreadsScope&) = delete;

 private:
  int before_;
};

/// While one lives, parallel_for in this thread runs inline: for threads of a program's own (loaders), which
/// would otherwise take the team from the main thread.
class SerialScope {
 public:
  SerialScope();
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

namespace detail {
using ParallelBody = void (*)(void* context, std::int64_t begin, std::int64_t end);
void parallel_for(std::int64_t n, std::int64_t grain, ParallelBody body, void* context);
}  // namespace detail

/// Work that is worth a thread of its own, counted in steps as small as a multiply-add or the copy of an
/// element: below, waking the thread and waiting for it costs more than it saves.
inline constexpr std::int64_t kPartWork = 1 << 15;

/// The grain of a loop whose elements take `work` such steps each.
constexpr std::int64_t grain_of(std::int64_t work) {
  return work < kPartWork ? kPartWork / (work > 0 ? work : 1) : 1;
}

/// Calls body(begin, end) on parts that cover 0..n-1, at most one part a thread, none smaller than `grain`
/// (unless n is). A call from inside a body runs inline. An exception of a body is thrown again here (of the
/// lowest part that threw). In a DryRun the body is not called.
template <class Body>
void parallel_for(std::int64_t n, std::int64_t grain, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  detail::parallel_for(
      n, grain,
      [](void* context, std::int64_t begin, std::int64_t end) {
        (*static_cast<Plain*>(context))(begin, end);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

/// The same with a grain of one: each element is a large piece of work (kPartWork; grain_of() where it may be
/// less).
template <class Body>
void parallel_for(std::int64_t n, Body&& body) {
  parallel_for(n, 1, body);
}

/// Elements 0..n-1 for `parts` threads that need not be equally fast. Each takes pieces from the front of its
/// own part, the elements that parallel_for would give it; then what others have left, from the back. So a
/// thread that is slow or comes late keeps the others waiting for no longer than a piece.
///
///   WorkShares shares(n, parts);
///   parallel_for(parts, [&](std::int64_t first, std::int64_t last) {
///     for (std::int64_t part = first; part < last; ++part)
///       while (const auto piece = shares.take(part, 4, 8)) { ... piece.begin, piece.end ... }
///   });
class WorkShares {
 public:
  struct Piece {
    std::int64_t begin, end;
    explicit operator bool() const { return begin < end; }
  };

  WorkShares(std::int64_t n, std::int64_t parts);
  /// The next `most` elements of one part, fewer towards its end, but at least `least` if there are. Empty
  /// when nothing is left in any part.
  Piece take(std::int64_t part, std::int64_t least, std::int64_t most);

 private:
  // The first element left in the lower half, the end in the upper one, both in units of scale_. No two lie
  // in one line of the cache.
  struct Share {
    std::atomic<std::uint64_t> left{0};
    std::uint64_t apart[7];
  };
  const std::int64_t n_, scale_;
  RecycledVector<Share> shares_;
};

/// Calls body(part, begin, end) on such pieces of 0..n-1, a quarter to a sixteenth of a part each; the pieces
/// of one part come one after the other, so that it may have memory of its own. At most `most_parts` parts,
/// fewer where an element takes few of kPartWork's steps.
template <class Body>
void share_out(std::int64_t n, std::int64_t most_parts, std::int64_t work, Body&& body) {
  const std::int64_t by_work = work < kPartWork ? 1 + n * work / kPartWork : n;
  const std::int64_t parts = std::max<std::int64_t>(1, std::min({n, most_parts, by_work}));
  WorkShares shares(n, parts);
  parallel_for(parts, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t part = first; part < last; ++part)
      while (const WorkShares::Piece piece = shares.take(part, n / (16 * parts), n / (4 * parts)))
        body(part, piece.begin, piece.end);
  });
}

}  // namespace atrous
