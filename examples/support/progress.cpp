#include "examples/support/progress.h"

#include <unistd.h>

#include <cstdio>

namespace atrous::examples {

std::string duration(double seconds) {
  char text[64];
  const auto s = static_cast<long>(seconds + 0.5);
  if (s < 60)
    std::snprintf(text, sizeof text, "%ld s", s);
  else if (s < 3600)
    std::snprintf(text, sizeof text, "%ld min %02ld s", s / 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%ld h %02ld min", s / 3600, s / 60 % 60);
  return text;
}

Progress::Progress(std::string what, std::string unit, std::int64_t total, std::int64_t done)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      first_(done),
      terminal_(isatty(STDOUT_FILENO) != 0),
      start_(Clock::now()),
      shown_(start_) {}

Progress::~Progress() {
  if (open_) std::printf("\n");
  std::fflush(stdout);
}

void Progress::update(std::int64_t done, const std::string& note) {
  const auto now = Clock::now();
  const bool last = done >= total_;
  const auto pause = terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(10000);
  if (!last && now - shown_ < pause) return;
  shown_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = seconds > 0 ? double(done - first_) / seconds : 0;
  const std::string left = rate > 0 && !last ? ", " + duration(double(total_ - done) / rate) + " left" : "";
  std::printf("%s%s %ld/%ld %s, %.2f/s%s%s%s%s", terminal_ ? "\r\033[K" : "", what_.c_str(), long(done),
              long(total_), unit_.c_str(), rate, left.c_str(), note.empty() ? "" : ", ", note.c_str(),
              terminal_ ? "" : "\n");
  open_ = terminal_;
  std::fflush(stdout);
}

}  // namespace atrous::examples
