#include "atrous/core/parallel.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "atrous/core/dry_run.h"
#include "atrous/core/error.h"

namespace atrous {
namespace {

// A thread that waits spins for 0.1 ms (25 ns a turn on Zen 4): longer than the serial gap between two
// kernels. Then it lets others have its processor, and takes it back if nobody wants it, for another
// millisecond: longer than one thread is ahead of the other where the host disturbs one. Then it sleeps, and
// to wake it takes tens of microseconds.
constexpr int kSpins = 4000, kYields = 2000;

// Turn i of a wait; false when it is time to sleep.
bool stays_awake(int i) {
  if (i >= kSpins + kYields) return false;
  if (i >= kSpins) return sched_yield() == 0;
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
  return true;
}

int processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, int(std::thread::hardware_concurrency()));
}

// Keeps the calling thread off a processor from now on, if the process may run on others.
void keep_off(int processor) {
  cpu_set_t set;
  if (sched_getaffinity(getpid(), sizeof set, &set) != 0) return;
  CPU_CLR(unsigned(processor), &set);
  if (CPU_COUNT(&set) > 0) sched_setaffinity(0, sizeof set, &set);
}

// Threads wait for the epoch to move; the caller waits for `left` to reach zero. Both spin first, then sleep.
// A worker that finds itself on the processor of a thread before it keeps off that one until it meets
// another: a scheduler may wake it there again and again while others idle, and both take twice as long.
class Team {
 public:
  // A system that refuses more threads leaves a smaller team: results do not depend on its size.
  explicit Team(int threads) : processor_of_(std::size_t(threads)), spreads_(threads <= processors()) {
    workers_.reserve(std::size_t(threads));
    try {
      for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
    } catch (const std::system_error&) {
    }
  }
  ~Team() {
    quit_ = true;
    epoch_.fetch_add(1);
    epoch_.notify_all();
    for (auto& worker : workers_) worker.join();
  }
  int size() const { return int(workers_.size()) + 1; }

  void run(std::int64_t n, int parts, detail::ParallelBody body, void* context) {
    job_ = {n, parts, body, context};
    errors_.assign(std::size_t(parts), nullptr);
    left_.store(int(workers_.size()), std::memory_order_relaxed);
    spread(0);
    epoch_.fetch_add(1, std::memory_order_acq_rel);
    epoch_.notify_all();
    part(0);
    for (int i = 0, left; (left = left_.load(std::memory_order_acquire)) != 0; ++i) {
      if (!stays_awake(i)) left_.wait(left, std::memory_order_acquire);
    }
    for (const auto& error : errors_)
      if (error) std::rethrow_exception(error);
  }

  // Whether this thread runs loops inline: in a SerialScope, or in the body of a parallel_for.
  static thread_local bool inside;
  static thread_local bool in_body;

 private:
  struct Job {
    std::int64_t n = 0;
    int parts = 0;
    detail::ParallelBody body = nullptr;
    void* context = nullptr;
  };

  void spread(int t) {
    if (!spreads_) return;
    const int processor = sched_getcpu();
    for (int other = 0; other < t; ++other)
      if (processor_of_[std::size_t(other)].load(std::memory_order_relaxed) == processor) {
        keep_off(processor);
        break;
      }
    processor_of_[std::size_t(t)].store(sched_getcpu(), std::memory_order_relaxed);
  }

  void part(int t) {
    if (t >= job_.parts) return;
    inside = in_body = true;
    try {
      // 128-bit products: n * parts may pass 63 bits for sizes that are themselves legal.
      const auto cut = [&](int i) { return std::int64_t(__int128(job_.n) * i / job_.parts); };
      job_.body(job_.context, cut(t), cut(t + 1));
    } catch (...) {
      errors_[std::size_t(t)] = std::current_exception();
    }
    inside = in_body = false;
  }

  void work(int t) {
    for (unsigned seen = 0;;) {
      unsigned epoch;
      for (int i = 0; (epoch = epoch_.load(std::memory_order_acquire)) == seen; ++i) {
        if (!stays_awake(i)) epoch_.wait(seen, std::memory_order_acquire);
      }
      seen = epoch;
      if (quit_) return;
      spread(t);
      part(t);
      if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::vector<std::atomic<int>> processor_of_;  // where each thread last began
  const bool spreads_;                          // there are enough processors
  std::atomic<unsigned> epoch_{0};
  std::atomic<int> left_{0};
  std::atomic<bool> quit_{false};
  Job job_;
  std::vector<std::exception_ptr> errors_;
};

thread_local bool Team::inside = false;
thread_local bool Team::in_body = false;

// The team is made at first use and held for one parallel_for at a time: a second thread of the user's
// program that arrives meanwhile runs its loop inline instead of waiting. Never destroyed, so that no worker
// outlives what it waits on at exit.
struct Pool {
  std::mutex busy;
  std::atomic<int> wanted = processors();
  std::unique_ptr<Team> team;
};
Pool& pool() {
  static auto* p = new Pool;
  return *p;
}

}  // namespace

int threads() { return pool().wanted; }

SerialScope::SerialScope() : before_(Team::inside) { Team::inside = true; }
SerialScope::~SerialScope() { Team::inside = before_; }

void set_threads(int count) {
  ATROUS_CHECK(ValueError, count >= 1 && count <= 1024, "threads", count,
               " threads asked for; 1 to 1024 are allowed");
  ATROUS_CHECK(ValueError, !Team::in_body, "threads", "set_threads() inside of a parallel_for");
  const std::lock_guard lock(pool().busy);
  if (count != pool().wanted) pool().team.reset();
  pool().wanted = count;
}

void detail::parallel_for(std::int64_t n, std::int64_t grain, ParallelBody body, void* context) {
  if (n <= 0 || in_dry_run()) return;
  const std::int64_t most = n / std::max<std::int64_t>(grain, 1);  // parts that are large enough
  if (most > 1 && !Team::inside) {
    Pool& p = pool();
    const std::unique_lock lock(p.busy, std::try_to_lock);
    if (lock.owns_lock() && p.wanted > 1) {
      if (!p.team) p.team = std::make_unique<Team>(p.wanted);
      p.team->run(n, int(std::min<std::int64_t>(most, p.team->size())), body, context);
      return;
    }
  }
  const bool before = std::exchange(Team::in_body, true);
  struct Restore {
    bool before;
    ~Restore() { Team::in_body = before; }
  } restore{before};
  body(context, 0, n);
}

WorkShares::WorkShares(std::int64_t n, std::int64_t parts)
    : n_(n), scale_(1 + (n >> 32)), shares_(std::size_t(parts)) {
  const std::int64_t units = (n + scale_ - 1) / scale_;
  const auto cut = [&](std::int64_t i) { return std::uint64_t(__int128(units) * i / parts); };
  for (std::int64_t i = 0; i < parts; ++i)
    shares_[std::size_t(i)].left.store(cut(i) | cut(i + 1) << 32, std::memory_order_relaxed);
}

WorkShares::Piece WorkShares::take(std::int64_t part, std::int64_t least, std::int64_t most) {
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    std::atomic<std::uint64_t>& left = shares_[(std::size_t(part) + i) % shares_.size()].left;
    std::uint64_t now = left.load(std::memory_order_relaxed);
    for (;;) {
      std::int64_t begin = std::int64_t(now & 0xffffffff), end = std::int64_t(now >> 32);
      if (begin == end) break;
      const std::int64_t count =
          std::min(end - begin,
                   std::max<std::int64_t>({1, least / scale_, std::min(most / scale_, (end - begin) / 2)}));
      const bool own = i == 0;
      const std::int64_t cut = own ? begin + count : end - count;
      if (!left.compare_exchange_weak(now,
                                      std::uint64_t(own ? cut : begin) | std::uint64_t(own ? end : cut) << 32,
                                      std::memory_order_relaxed))
        continue;
      (own ? end : begin) = cut;
      return {begin * scale_, std::min(n_, end * scale_)};
    }
  }
  return {0, 0};
}

}  // namespace atrous
