#include "atrous/core/arena.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "atrous/core/dry_run.h"
#include "atrous/core/error.h"
#include "atrous/core/memory.h"
#include "atrous/core/memory_source.h"

namespace atrous {
namespace detail {

// What a run asked for, in order, and where that lies. Shared by the arena and the tensors in it: the block
// goes with the last of them.
class ArenaPlan : public std::enable_shared_from_this<ArenaPlan> {
 public:
  ArenaPlan() : rehearsed_(in_dry_run()) {}
  ~ArenaPlan() { let_go(); }
  ArenaPlan(const ArenaPlan&) = delete;
  ArenaPlan& operator=(const ArenaPlan&) = delete;

  // In the rehearsal: addresses without memory that nobody counts, and the number of the request, -1 for one
  // of a pause.
  std::pair<std::int64_t, void*> rehearse(std::size_t bytes, bool counts) {
    const std::lock_guard lock(mutex_);
    void* const data = addresses_->allocate(bytes);
    ATROUS_CHECK(MemoryError, data, "arena", "no addresses for ", bytes, " bytes");
    if (!counts) return {-1, data};
    requests_.push_back({bytes, events_.size(), kForever, 0});
    events_.push_back({true, requests_.size() - 1});
    return {std::int64_t(requests_.size()) - 1, data};
  }
  void end_rehearsed(std::int64_t number, void* data) {
    const std::lock_guard lock(mutex_);
    addresses_->release(data);
    if (ended_ || number < 0) return;
    requests_[std::size_t(number)].freed = events_.size();
    events_.push_back({false, std::size_t(number)});
  }

  // The next request of the run: its number and its place, null for one that the heap serves.
  std::pair<std::int64_t, void*> take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const std::size_t number = follow(true, [&](std::size_t i) { return requests_[i].bytes == bytes; });
    if (diverged_) return {-1, nullptr};
    const Request& r = requests_[number];
    if (r.freed == kForever) return {-1, nullptr};
    return {std::int64_t(number), static_cast<char*>(block_) + r.offset};
  }

  void give_back(std::int64_t number) {
    const std::lock_guard lock(mutex_);
    if (!ended_) follow(false, [&](std::size_t i) { return i == std::size_t(number); });
  }

  // The rehearsal is over: finds the places.
  void settle() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    std::vector<std::size_t> largest, placed;
    for (std::size_t i = 0; i < requests_.size(); ++i)
      if (requests_[i].freed != kForever) largest.push_back(i);
    std::stable_sort(largest.begin(), largest.end(),
                     [&](std::size_t a, std::size_t b) { return requests_[a].bytes > requests_[b].bytes; });
    for (const std::size_t i : largest) {
      Request& r = requests_[i];
      const std::size_t size = place_size(r.bytes);
      std::size_t at = 0;
      for (const std::size_t j : placed) {  // in the order of their offsets
        const Request& other = requests_[j];
        if (other.freed < r.made || r.freed < other.made) continue;
        if (at + size <= other.offset) break;
        at = std::max(at, other.offset + place_size(other.bytes));
      }
      r.offset = at;
      placed.insert(
          std::upper_bound(placed.begin(), placed.end(), at,
                           [&](std::size_t value, std::size_t j) { return value < requests_[j].offset; }),
          i);
      bytes_ = std::max(bytes_, at + size);
    }
  }

  void begin() {
    if (bytes_) block_ = (rehearsed_ ? rehearse_allocate : allocate)(bytes_, kCpu);
    next_ = 0, diverged_ = ended_ = false;
  }
  // Whether it went as planned, to the end.
  bool end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    if (diverged_ || next_ < events_.size()) return false;  // some may be alive: the block goes with the last
    let_go();
    return true;
  }

  std::size_t bytes() const { return bytes_; }
  bool rehearsed() const { return rehearsed_; }

 private:
  static constexpr std::size_t kForever = ~std::size_t(0);

  struct Request {
    std::size_t bytes, made, freed;  // the last two: events
    std::size_t offset;
  };
  struct Event {
    bool made;
    std::size_t request;
  };

  void let_go() {
    if (block_) (rehearsed_ ? rehearse_deallocate : deallocate)(block_, kCpu);
    block_ = nullptr;
  }

  static std::size_t place_size(std::size_t bytes) {
    return round_up(bytes, bytes >= 16 * kPage ? kPage : kAlign);
  }

  // Takes the next event, if it is the one that was planned. A request that nobody frees in the run has no
  // second event.
  template <class Fits>
  std::size_t follow(bool made, const Fits& fits) {
    if (diverged_ || next_ == events_.size() || events_[next_].made != made ||
        !fits(events_[next_].request)) {
      diverged_ = true;
      return 0;
    }
    return events_[next_++].request;
  }

  const bool rehearsed_;  // made in a DryRun of somebody else
  std::mutex mutex_;
  std::vector<Request> requests_;
  std::vector<Event> events_;
  std::size_t bytes_ = 0, next_ = 0;
  void* block_ = nullptr;
  bool diverged_ = false, ended_ = false;
  const std::unique_ptr<MemorySource> addresses_ = reserved_memory();
};

}  // namespace detail

using detail::ArenaPlan;

namespace {

thread_local ArenaPlan* t_current = nullptr;
thread_local ArenaPlan* t_rehearsed = nullptr;

}  // namespace

Arena::Arena() = default;
Arena::~Arena() = default;

bool Arena::usable() { return !t_current && !t_rehearsed && !memory_checks(kCpu); }
bool Arena::planned() const { return plan_ && plan_->rehearsed() == in_dry_run(); }
bool Arena::planning() { return t_rehearsed; }
std::int64_t Arena::bytes() const { return plan_ ? std::int64_t(plan_->bytes()) : 0; }

Arena::Pause::Pause() : before_(std::exchange(t_current, nullptr)) {}
Arena::Pause::~Pause() { t_current = before_; }

struct Arena::Rehearsal::Parts {
  std::shared_ptr<ArenaPlan> plan = std::make_shared<ArenaPlan>();
  std::optional<DryRun> rehearsal;
};

Arena::Rehearsal::Rehearsal(Arena& arena) : parts_(std::make_unique<Parts>()), arena_(arena) {
  if (!in_dry_run()) parts_->rehearsal.emplace();
  t_current = t_rehearsed = parts_->plan.get();
}
Arena::Rehearsal::~Rehearsal() { t_current = t_rehearsed = nullptr; }
void Arena::Rehearsal::settle() {
  parts_->plan->settle();
  arena_.plan_ = parts_->plan;
}

Arena::Replay::Replay(Arena& arena) : arena_(arena) {
  arena.plan_->begin();
  t_current = arena.plan_.get();
}
Arena::Replay::~Replay() {
  t_current = nullptr;
  if (!arena_.plan_->end()) arena_.plan_.reset();
}

namespace detail {

ArenaPlace::ArenaPlace(std::size_t bytes, Device device) {
  if (!(t_current || t_rehearsed) || !bytes || !device.is_cpu()) return;
  if (t_rehearsed) {
    std::tie(request_, data_) = t_rehearsed->rehearse(bytes, t_current);
    rehearsed_ = true;
    plan_ = t_rehearsed->shared_from_this();
    return;
  }
  std::tie(request_, data_) = t_current->take(bytes);
  if (request_ >= 0) plan_ = t_current->shared_from_this();
}
ArenaPlace::~ArenaPlace() {
  if (!plan_) return;
  if (rehearsed_)
    plan_->end_rehearsed(request_, data_);
  else
    plan_->give_back(request_);
}

}  // namespace detail
}  // namespace atrous
