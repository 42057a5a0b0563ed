#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "atrous/core/device.h"

// One block of memory for all that a repeated computation makes and lets go again: a network's activations
// and scratch, image after image. Which places in it they get is planned ahead from a rehearsal (dry_run.h),
// by their sizes and lives: the largest first, each as low as it fits beside those that live at the same
// time.

namespace atrous {

namespace detail {
class ArenaPlan;
}

/// The memory of one computation on the CPU: a block of the heap (core/memory.h; huge pages), taken when a
/// run begins and given back when it ends. While nothing changes (sizes, number of threads, choice of
/// kernels) all lies in it but what the computation returns or leaves behind. A run that allocates or frees
/// in another order than the rehearsal takes the rest from the heap, and the next one is planned anew: never
/// do two living tensors share a place. One thread at a time.
class Arena {
 public:
  Arena();
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// compute(), its memory from the arena. Called twice the first time, once in a DryRun, so compute() must
  /// leave nothing changed that a rehearsal should not change: see planning(). Inside another arena's run,
  /// and while memory is checked (set_memory_checks), just compute().
  template <class Compute>
  auto run(const Compute& compute) {
    if (!usable()) return compute();
    if (!planned()) {
      Rehearsal rehearsal(*this);
      [[maybe_unused]] const auto result = compute();
      rehearsal.settle();  // while what the computation returns is alive
    }
    const Replay replay(*this);
    return compute();
  }

  /// Bytes of the block; 0 before the first run, and after one that did not go as planned.
  std::int64_t bytes() const;

  /// Whether the calling thread is in the rehearsal of an arena: what it makes is good for nothing, and not
  /// to be kept.
  static bool planning();

  /// While one lives, its thread allocates as if there were no arena: for what is kept from run to run.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    detail::ArenaPlan* before_;
  };

 private:
  class Rehearsal {
   public:
    explicit Rehearsal(Arena& arena);
    ~Rehearsal();
    void settle();

   private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
    Arena& arena_;
  };
  class Replay {
   public:
    explicit Replay(Arena& arena);
    ~Replay();

   private:
    Arena& arena_;
  };
  static bool usable();
  bool planned() const;

  std::shared_ptr<detail::ArenaPlan> plan_;
};

namespace detail {

/// A tensor's place in an arena, if it has one.
class ArenaPlace {
 public:
  /// The next of the run that the calling thread is in; none if there is no run, or no place for it.
  ArenaPlace(std::size_t bytes, Device device);
  ~ArenaPlace();
  ArenaPlace(const ArenaPlace&) = delete;
  ArenaPlace& operator=(const ArenaPlace&) = delete;

  /// Null if there is none: the heap serves it.
  void* data() const { return data_; }

 private:
  std::shared_ptr<ArenaPlan> plan_;
  void* data_ = nullptr;
  std::int64_t request_ = -1;
  bool rehearsed_ = false;
};

}  // namespace detail
}  // namespace atrous
