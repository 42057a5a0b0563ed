#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace atrous::examples {

/// One line that says how far a long job is, how fast it goes and when it will end: rewritten in place on a
/// terminal, a plain line now and then in a log.
class Progress {
 public:
  /// `done` of `total` units are already behind (a resumed run); `unit` is their name, "step".
  Progress(std::string what, std::string unit, std::int64_t total, std::int64_t done = 0);
  ~Progress();
  /// To be called after each unit. `note` is appended: "loss 0.53".
  void update(std::int64_t done, const std::string& note);

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_, unit_;
  std::int64_t total_, first_;
  bool terminal_, open_ = false;
  Clock::time_point start_, shown_;
};

/// "12 s", "3 min 05 s", "1 h 02 min"
std::string duration(double seconds);

}  // namespace atrous::examples
